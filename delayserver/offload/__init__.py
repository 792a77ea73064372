"""Slow work that another process does: an HTTP request, a call of a function, a command.

=======================  ============================================================================
`options`                what a caller gives
`asked`, `answers`       what is asked for, what comes back, and both on the wire
`guarding`, `addresses`  what may be asked for; which addresses a host may have
`asking`                 the caller's side: one background thread per process
`outbox`                 how both sides send (beside this package)
`answering`              the worker's side: the consumer on ``asgi.offload``
`performing`             an offload, done, in time and in turn
`fetching`, `bodies`     a request; what of its answer is read
`calls`, `commands`      a function; a program
`proxy`                  a server's answer as a response of Django's
=======================  ============================================================================
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from django.http import HttpRequest, HttpResponse
from django.utils.asyncio import async_unsafe

from ..conf import get_offload_settings
from ..errors import OffloadFailed, OffloadRefused, OffloadTimeout
from ..events import OFFLOAD_FAILED, OFFLOAD_REFUSED, emit
from ..sending import asend_later, send_later
from . import proxy
from .answering import OffloadConsumer
from .answers import CallReply, CommandReply, Reply, RequestReply, read_reply
from .asked import Asked, Call, Request
from .asking import get_hub
from .options import AllOptions, Headers, Options, read_command, read_offload, read_request

__all__ = [
    "CallReply",
    "CommandReply",
    "OffloadConsumer",
    "OffloadFailed",
    "OffloadRefused",
    "OffloadTimeout",
    "Reply",
    "RequestReply",
    "call",
    "call_sync",
    "command",
    "command_sync",
    "read_reply",
    "request",
    "request_sync",
    "response",
    "response_sync",
]


async def request(url: str, **options: Unpack[AllOptions]) -> RequestReply | Any:
    """Ask a server, and await its answer as a `RequestReply`: whatever its status is, it is an answer.

    With ``reply_channel``, ``reply_group`` or ``delay`` nobody waits: returns the offload's id.

    `url` is one of a host in ``HOSTS`` or ``PRIVATE_HOSTS``; redirects are followed where they lead to such a one, too.
    See `RequestOptions` and `Options`.

    Raises `OffloadRefused` for what the settings do not allow, `OffloadTimeout` where there is no answer in time, and
    `OffloadFailed` for whatever else went wrong.
    """
    asked, others = read_request(url, options)
    return await _aask(asked, others)


@async_unsafe("await offload.request(...) instead")
def request_sync(url: str, **options: Unpack[AllOptions]) -> RequestReply | Any:
    """As `request`, from code without an event loop."""
    asked, others = read_request(url, options)
    return _ask(asked, others)


async def call(
    path: str, *args: Any, kwargs: Mapping[str, Any] | None = None, **options: Unpack[Options]
) -> CallReply | Any:
    """Call the function with this dotted path in a worker, and await what it returned as a `CallReply`.

    With ``reply_channel``, ``reply_group`` or ``delay`` nobody waits: returns the offload's id.

    An async function runs in the worker's event loop, any other in a thread. `args` and `kwargs`, and what it returns,
    hold what a message may hold. `path` is in ``CALLABLES``. A thread cannot be stopped: after a timeout the function
    goes on, and its result is dropped.

    Raises as `request` does; where the function raised, `OffloadFailed` names the class of the error.
    """
    return await _aask(Call(path=path, args=list(args), kwargs=dict(kwargs or {})), options)


@async_unsafe("await offload.call(...) instead")
def call_sync(
    path: str, *args: Any, kwargs: Mapping[str, Any] | None = None, **options: Unpack[Options]
) -> CallReply | Any:
    """As `call`, from code without an event loop."""
    return _ask(Call(path=path, args=list(args), kwargs=dict(kwargs or {})), options)


async def command(
    name: str, args: Sequence[str] = (), *, input: bytes | None = None, **options: Unpack[Options]
) -> CommandReply | Any:
    """Run the command of this name in ``COMMANDS``, and await how it ended as a `CommandReply`.

    With ``reply_channel``, ``reply_group`` or ``delay`` nobody waits: returns the offload's id.

    `args` come after the command's own words, each as it is: there is no shell. It reads `input`, or nothing. When its
    time is over, it and whatever it started are killed.

    Raises as `request` does; a command that ended with another code than 0 has ended, and is an answer.
    """
    return await _aask(read_command(name, args, input), options)


@async_unsafe("await offload.command(...) instead")
def command_sync(
    name: str, args: Sequence[str] = (), *, input: bytes | None = None, **options: Unpack[Options]
) -> CommandReply | Any:
    """As `command`, from code without an event loop."""
    return _ask(read_command(name, args, input), options)


async def response(
    request: HttpRequest,
    url: str,
    *,
    headers: Headers | None = None,
    timeout: float | None = None,  # noqa: ASYNC109  the worker's, not this coroutine's
) -> HttpResponse:
    """Pass a Django request on to `url`, and a server's answer back.

    Method, body and a few headers (``Accept``, ``Accept-Language``, ``Content-Type``, ``If-Modified-Since``,
    ``If-None-Match``, ``User-Agent``) go on, never cookies and credentials; `headers` are added. Status, body and
    headers come back, but for those of the connection, ``Set-Cookie``, and others that speak for the whole site.

    Raises nothing that has to do with the other server: it is 502 where that could not be asked, or may not be; 504
    where it took too long; 413 where the body is over ``MAX_BODY_BYTES``.
    """
    try:
        passed = proxy.passed_on(request, headers)
        if isinstance(passed, HttpResponse):
            return passed
        reply = await _aask(Request(url=url, **passed), {"timeout": timeout})
    except OffloadFailed as error:
        return _failed(error)
    return proxy.as_response(reply, request.method)


@async_unsafe("await offload.response(...) instead")
def response_sync(
    request: HttpRequest, url: str, *, headers: Headers | None = None, timeout: float | None = None
) -> HttpResponse:
    """As `response`, from code without an event loop."""
    try:
        passed = proxy.passed_on(request, headers)
        if isinstance(passed, HttpResponse):
            return passed
        reply = _ask(Request(url=url, **passed), {"timeout": timeout})
    except OffloadFailed as error:
        return _failed(error)
    return proxy.as_response(reply, request.method)


# -- inside --------------------------------------------------------------------------------------------------------


async def _aask(asked: Asked, options: Options) -> Any:
    offload, delay = read_offload(asked, options), options.get("delay")
    if delay is not None:
        await asend_later(get_offload_settings().channel, offload.message(), delay=delay)
        return offload.id
    if offload.reply_to is None:
        return await asyncio.wrap_future(get_hub().ask(offload))
    await asyncio.wrap_future(get_hub().send(offload))
    return offload.id


def _ask(asked: Asked, options: Options) -> Any:
    offload, delay = read_offload(asked, options), options.get("delay")
    if delay is not None:
        send_later(get_offload_settings().channel, offload.message(), delay=delay)
        return offload.id
    if offload.reply_to is None:
        return get_hub().ask(offload).result()
    get_hub().send(offload).result()
    return offload.id


def _failed(error: OffloadFailed) -> HttpResponse:
    event = OFFLOAD_REFUSED if isinstance(error, OffloadRefused) else OFFLOAD_FAILED
    emit(event, of="response", kind="response", reason=error)
    return proxy.as_failure(error)
