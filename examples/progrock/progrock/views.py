"""What the second tab asks for: a run, as a piece of the page that shows itself."""

from django.shortcuts import render
from django.views.decorators.http import require_POST

from .consumers import POLLER, RockPoller

NAMES = [
    "Close to the Due",
    "Selling asgi by the Pound",
    "In the Court of the Cron King",
    "Larks' Tongues in Async",
    "Thick as a Queue",
]


@require_POST
async def start(request):
    number = request.POST.get("number", "")
    name = NAMES[int(number) % len(NAMES)] if number.isdecimal() and len(number) < 10 else NAMES[0]
    progress = await RockPoller.start(POLLER)
    return render(request, "progrock/run.html", {"progress": progress, "name": name})
