"""The views start tasks and answer at once: 202, and the task's id.

A GET will do, so that the address bar does; where starting costs something, ask for a POST.
"""

import uuid
from datetime import timedelta

from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from django.conf import settings
from django.http import JsonResponse
from django.shortcuts import render

from delayserver import Retry, asend_later

from .consumers import tell_watchers

TASKS, HELLO = "background-tasks", "background-hello"
LONGEST = 60  # seconds
# Under runworker the ack timeout counts on while a message waits for its turn, and each time is an attempt.
RETRY = Retry(max_attempts=10, backoff=timedelta(seconds=1), jitter=0, ack_timeout=timedelta(seconds=5))
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def index(request):
    page = render(request, "background_tasks/index.html", {"worker": settings.WORKER, "longest": LONGEST})
    page["Content-Security-Policy"] = CSP
    return page


async def hello(request, name):
    """Fire and forget."""
    return await started(HELLO, "hello", f"Hello, {name}", to=name)


async def start_task_a(request):
    return await started(TASKS, "task.a", "Task a")


async def start_task_b(request, seconds):
    if seconds > LONGEST:
        return refused(seconds)
    return await started(TASKS, "task.b", f"Task b, {seconds} s", seconds=seconds)


async def start_task_a_later(request, seconds):
    """The delay server sends it when it is due, even if this process is gone by then."""
    if seconds > LONGEST:
        return refused(seconds)
    message = await told_as_asked("task.a", f"Task a, {seconds} s later")
    await asend_later(TASKS, message, delay=timedelta(seconds=seconds))
    return accepted(message)


async def start_task_c(request):
    """With `retry` it stays in the store until it is done: an error, or the worker's death, is not the end of it."""
    message = await told_as_asked("task.c", "Task c, which fails twice")
    await asend_later(TASKS, message, delay=0, retry=RETRY)
    return accepted(message)


async def started(channel, kind, name, **more):
    """Send it to a worker now, as Channels does without a delay server."""
    message = await told_as_asked(kind, name, **more)
    try:
        await get_channel_layer().send(channel, message)
    except ChannelFull:
        error = f"{channel} is full: is a worker running?"
        await tell_watchers("refused", {"task": message["task"], "name": name, "error": error})
        return JsonResponse({"error": error}, status=503)
    return accepted(message)


async def told_as_asked(kind, name, **more):
    """The message of a task, once the page knows of the task."""
    about = {"task": uuid.uuid4().hex, "name": name}
    await tell_watchers("asked", about)
    return {"type": kind, **about, **more}


def accepted(message):
    return JsonResponse({"task": message["task"], "name": message["name"]}, status=202)


def refused(seconds):
    return JsonResponse({"error": f"expected at most {LONGEST} seconds, got {seconds}"}, status=400)
