"""A page that starts an export, or work that a view moves on itself."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import engines
from django.urls import include, path

from delayserver.progress import Progress

from .consumers import Export, Frail

PAGE = (
    '{% load delayserver %}<!doctype html><html lang="en"><head><title>Export</title></head>'
    '<body><main><h1>Export</h1>{% task_progress progress label="Export" %}</main></body></html>'
)


async def start(request: HttpRequest) -> JsonResponse:
    given: dict[str, Any] = {name: int(text) if text.isdigit() else text for name, text in request.GET.dict().items()}
    key = given.pop("key", None)
    poller, channel = (Frail, "frail") if "breaks_at" in given else (Export, "export")
    progress = await poller.start(channel, given, key=key)
    return JsonResponse({"id": progress.id, "token": progress.token})


def begin(request: HttpRequest) -> JsonResponse:
    """Work that goes on elsewhere, by its id."""
    progress = Progress.create(total=1_000)
    return JsonResponse({"id": progress.id, "token": progress.token})


def finish(request: HttpRequest, id: str) -> JsonResponse:
    progress = Progress.get(id)
    assert progress is not None
    return JsonResponse({"finished": progress.succeed("all")})


def show(request: HttpRequest, id: str) -> HttpResponse:
    progress = Progress.get(id)
    return HttpResponse(engines["django"].from_string(PAGE).render({"progress": progress}, request))


urlpatterns = [
    path("show/<id>/", show),
    path("start/", start),
    path("begin/", begin),
    path("finish/<id>/", finish),
    path("", include("delayserver.urls")),
]
