"""What a caller gives, read: the options of each kind of offload, and the offload that they make."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypedDict
from urllib.parse import urlencode

from ..conf import get_offload_settings, get_settings
from ..content import Content, pack
from ..errors import InvalidMessage, OffloadRefused
from ..layers import get_layer
from .asked import Asked, Command, Offload, Request, pairs, read_target, read_timeout

Headers = Mapping[str, str] | Iterable[tuple[str, str]]


class Options(TypedDict, total=False):
    """How long it may take, where the answer goes, and when it is begun.

    timeout
        seconds, at most ``MAX_TIMEOUT``; left out, ``TIMEOUT``. They begin when it is sent; delayed or with a target
        for the answer, when a worker begins
    reply_channel, reply_group
        one of the two gets the answer, as a message of type ``offload.reply``; nobody waits
    delay
        whole milliseconds or a timedelta: it is sent later, by the delay server; nobody waits
    """

    timeout: float | None
    reply_channel: str | None
    reply_group: str | None
    delay: int | timedelta | None


class RequestOptions(TypedDict, total=False):
    """What an HTTP request says.

    method
        GET, HEAD, OPTIONS, POST, PUT, PATCH or DELETE
    headers
        a mapping, or pairs of name and value
    content, json, data
        one of them, as the body: bytes or str; what JSON can hold; a mapping or pairs for a form
    """

    method: str
    headers: Headers | None
    content: bytes | str | None
    json: Any
    data: Any


class AllOptions(RequestOptions, Options, total=False):
    """`RequestOptions` and `Options`."""


def read_request(url: str, options: AllOptions) -> tuple[Request, Options]:
    """What is asked, and the options that every offload has."""
    given: dict[str, Any] = {**options}
    method, headers = given.pop("method", "GET"), pairs(given.pop("headers", None))
    bodies = {name: given.pop(name, None) for name in ("content", "json", "data")}
    content, kind = _body(bodies)
    if kind and "content-type" not in {str(name).lower() for name, _ in headers}:
        headers.append(("Content-Type", kind))
    others: Any = given
    return Request(url=url, method=method, headers=headers, content=content), others


def _body(bodies: Mapping[str, Any]) -> tuple[bytes | None, str | None]:
    """The body, and its content type where that is known."""
    given = [name for name, value in bodies.items() if value is not None]
    if len(given) > 1:
        raise OffloadRefused(f"expected one of content, json and data, got {' and '.join(given)}")
    content, json, data = bodies["content"], bodies["json"], bodies["data"]
    if json is not None:
        return jsonlib.dumps(json).encode(), "application/json"
    if data is not None:
        return urlencode(data, doseq=True).encode(), "application/x-www-form-urlencoded"
    return content.encode() if isinstance(content, str) else content, None


def read_command(name: str, args: Sequence[str], input: bytes | None) -> Command:
    if isinstance(args, str):
        raise OffloadRefused("expected args to be a list of str, got a str: there is no shell to split it")
    return Command(name=name, args=list(args), input=input)


def read_offload(asked: Asked, options: Options) -> Offload:
    """Refused where it could not be done, before anything goes out."""
    settings = get_offload_settings()
    unknown = options.keys() - Options.__annotations__.keys()
    if unknown:
        raise TypeError(f"offload has no option {min(unknown)!r}")
    asked.check(settings)
    timeout = read_timeout(options.get("timeout"), settings)
    reply_to = read_target(options.get("reply_channel"), options.get("reply_group"))
    offload = Offload(asked=asked, timeout=timeout, reply_to=reply_to)
    _check_message(offload.message())
    return offload


def _check_message(content: Content) -> None:
    try:
        pack(content, get_settings().max_message_bytes)
        get_layer(get_settings().channel_layer).check(content)
    except InvalidMessage as error:
        raise OffloadRefused(f"it cannot be sent: {error}") from None
