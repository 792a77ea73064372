"""Progress for clients without WebSockets: one state as JSON, each time it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.signing import BadSignature, SignatureExpired
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified, JsonResponse
from django.utils.cache import patch_cache_control
from django.utils.http import parse_etags, quote_etag
from django.views import View

from .consumers import ProgressConsumer
from .errors import StoreUnavailable
from .progress import Progress
from .progress.tokens import Token
from .progress.watching import attend


class ProgressView(View):
    """The frame that a WebSocket would get now; 404 and 403 where that would be closed with 4404 and 4403.

    `consumer` is the class whose `has_permission` is asked: ``ProgressView.as_view(consumer=MyProgressConsumer)``. Its
    scope is that of the request under ASGI, and else has its ``user`` and ``session``, as the former does here.
    """

    http_method_names = ["get", "head", "options"]
    consumer: type[ProgressConsumer] = ProgressConsumer

    async def get(self, request: HttpRequest, token: str) -> HttpResponse:
        response = await self._answer(request, token)
        patch_cache_control(response, private=True, no_cache=True)
        return response

    async def _answer(self, request: HttpRequest, text: str) -> HttpResponse:
        try:
            token = Token.read(text)
            progress = await Progress.aget(token.id, user=token.user)
        except SignatureExpired:
            return _refused(403, "this token has expired")
        except BadSignature:
            return _refused(404, "there is no such progress")
        except StoreUnavailable:
            return _refused(503, "the store did not answer: try again")
        if progress is None:
            return _refused(404, "there is no such progress")
        if not await self.consumer().is_permitted(await _scope(request), progress):
            return _refused(403, "this progress is not for you")
        attend(progress.record)
        return _frame(request, progress)


def _frame(request: HttpRequest, progress: Progress) -> HttpResponse:
    tag = quote_etag(str(progress.version))
    known = parse_etags(request.headers.get("If-None-Match", ""))
    if tag in (one.removeprefix("W/") for one in known):  # a weak one is what compression makes of ours
        return HttpResponseNotModified(headers={"ETag": tag})
    return JsonResponse(progress.frame(), headers={"ETag": tag})


def _refused(status: int, sentence: str) -> JsonResponse:
    return JsonResponse({"error": sentence}, status=status)


async def _scope(request: HttpRequest) -> Mapping[str, Any]:
    """As consumers have it."""
    scope: dict[str, Any] = dict(getattr(request, "scope", {"type": "http", "path": request.path}))
    if hasattr(request, "auser"):
        scope["user"] = await request.auser()
    if hasattr(request, "session"):
        scope["session"] = request.session
    return scope
