"""A server's answer as a response of Django's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError

from ..conf import get_offload_settings
from ..errors import OffloadFailed, OffloadTimeout
from .answers import RequestReply
from .asked import METHODS, pairs

PASSED_ON = ("Accept", "Accept-Language", "Content-Type", "If-Modified-Since", "If-None-Match", "User-Agent")
HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"),
    *("trailers", "transfer-encoding", "upgrade"),
}
OF_THE_ORIGIN = {  # what speaks for a whole site, and would speak for ours
    *("alt-svc", "clear-site-data", "public-key-pins", "service-worker-allowed", "set-cookie", "set-cookie2"),
    "strict-transport-security",
}
OF_THE_SERVER = {"date", "server"}  # which ours says itself
WITHOUT_LENGTH = {204, 304}


def passed_on(request: HttpRequest, headers: Any) -> dict[str, Any] | HttpResponse:
    """What of a Django request goes on: method, body, some headers, and those that the project adds.

    A response where it cannot.
    """
    if request.method not in METHODS:
        return told(405, "Method Not Allowed")
    try:
        body = request.body
    except RequestDataTooBig:
        return told(413, "Content Too Large")
    except UnreadablePostError:
        return told(400, "Bad Request")
    if len(body) > get_offload_settings().max_body_bytes:
        return told(413, "Content Too Large")
    own = pairs(headers)
    said = {name.lower() for name, _ in own}
    found = [(name, request.headers[name]) for name in PASSED_ON if name in request.headers]
    passed = [(name, value) for name, value in found if value and name.lower() not in said]
    return {"method": request.method, "content": body or None, "headers": [*passed, *own]}


def as_response(reply: RequestReply, method: str | None) -> HttpResponse:
    """Its status, body and headers, without those of the connection, and those that speak for the whole site."""
    try:
        response = HttpResponse(reply.body, status=reply.status)
    except ValueError:  # a status that is none
        return told(502, "Bad Gateway")
    del response.headers["Content-Type"]
    for name, values in _kept(reply.headers).items():
        response.headers[name] = ", ".join(values)
    if reply.body and "content-type" not in response.headers:
        response.headers["Content-Type"] = "application/octet-stream"  # nobody shall guess that it is a page
    if method != "HEAD" and reply.status not in WITHOUT_LENGTH:
        response.headers["Content-Length"] = str(len(reply.body))
    return response


def _kept(headers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """By name; what the ``Connection`` header names is of the connection, too."""
    headers = [(name.lower(), value) for name, value in headers]
    named = {part.strip().lower() for name, value in headers if name == "connection" for part in value.split(",")}
    kept: dict[str, list[str]] = {}
    for name, value in headers:
        if name not in HOP_BY_HOP | OF_THE_ORIGIN | OF_THE_SERVER | named | {"content-length"}:
            kept.setdefault(name, []).append(value)
    return kept


def as_failure(error: OffloadFailed) -> HttpResponse:
    """No inner details: who sees it is a visitor. The log has them."""
    return told(504, "Gateway Timeout") if isinstance(error, OffloadTimeout) else told(502, "Bad Gateway")


def told(status: int, text: str) -> HttpResponse:
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")
