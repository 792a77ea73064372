"""A view starts the task, and answers at once: 202, and the task's id.

The id is a signed token, which names the task and the session that started it. So it cannot be guessed, and is of no
use to anybody else.
"""

import secrets

from asgiref.sync import sync_to_async
from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from django.http import JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from delayserver.contrib.celery import aprogress_of
from delayserver.progress import Progress

from . import tasks
from .forms import TaskForm

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def index(request):
    request.session.setdefault("visitor", secrets.token_urlsafe(16))
    page = render(request, "task_status/index.html", {"form": TaskForm()})
    page["Content-Security-Policy"] = CSP
    return page


@require_POST
async def start(request):
    form = TaskForm(request.POST)
    if not form.is_valid():
        return JsonResponse({"errors": form.complaints()}, status=400)
    start_on = {"runtasks": start_on_runtasks, "celery": start_on_celery}[form.cleaned_data.pop("worker")]
    try:
        progress = await start_on(request.session["visitor"], **form.cleaned_data)
    except ChannelFull:
        return JsonResponse({"error": "task-status is full: is a worker running?"}, status=503)
    return JsonResponse({"task_id": progress.token}, status=202)


async def start_on_runtasks(visitor, **work):
    """A message to our worker, which carries the id of its progress."""
    progress = await Progress.acreate(user=visitor)
    await get_channel_layer().send("task-status", {"type": "work", "progress": progress.id, **work})
    return progress


async def start_on_celery(visitor, **work):
    """A task for Celery's worker. To send it blocks, so it is sent from a thread."""
    sent = await sync_to_async(tasks.work.delay)(**work)
    return await aprogress_of(sent, user=visitor)
