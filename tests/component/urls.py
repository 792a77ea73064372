"""What stands where a project includes ``delayserver.urls``."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def progress(request: HttpRequest, token: str) -> HttpResponse:
    return HttpResponse(token)


included = ([path("progress/<token>/", progress, name="progress")], "delayserver")
urlpatterns = [
    path("", include(included)),
    path("exports/<int:number>/part/", progress, name="export-part"),  # of the example in docs/how-to/htmx.md
]
