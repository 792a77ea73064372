"""What is asked for: a request, a call or a command, and around it the offload, with its wire form.

Wrong parts are refused when one is made, by a caller or from a message; `check` says what the settings do not allow.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, ClassVar

from ..content import Content, shown
from ..errors import InvalidMessage, OffloadRefused
from ..message import Target
from ..offload_settings import OffloadSettings, name_of
from .guarding import check_callable, check_command, check_url

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
MAX_HEADERS, MAX_HEADER_BYTES = 100, 32_768
MAX_WORDS, MAX_WORD_BYTES = 200, 65_536  # of a command's arguments, together
OWN_HEADERS = frozenset(  # ours to set: with another's, the two ends would read one request in two ways
    {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect"}
    | {"proxy-authorization", "proxy-connection"}
)

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def expect(fits: bool, expected: str, got: object) -> None:
    """`OffloadRefused` where it does not fit."""
    if not fits:
        raise OffloadRefused(f"expected {expected}, got {shown(got)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP request; `headers` are pairs, in their order."""

    kind: ClassVar[str] = "request"
    url: str
    method: str = "GET"
    headers: list[tuple[str, str]] = field(default_factory=list)
    content: bytes | None = None

    def __post_init__(self) -> None:
        expect(isinstance(self.url, str), "url to be a str", self.url)
        expect(isinstance(self.method, str), "method to be a str", self.method)
        expect(self.method in METHODS, f"method to be one of {', '.join(sorted(METHODS))}", self.method)
        expect(self.content is None or isinstance(self.content, bytes), "content to be bytes", self.content)
        for name, value in self.headers:
            _check_header(name, value)
        size = sum(len(name) + len(value) for name, value in self.headers)
        most = f"at most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} characters together"
        expect(len(self.headers) <= MAX_HEADERS and size <= MAX_HEADER_BYTES, most, self.headers)

    def check(self, settings: OffloadSettings) -> None:
        check_url(self.url, settings)
        if len(self.content or b"") > settings.max_body_bytes:
            raise OffloadRefused(f"the body of the request is over {name_of('MAX_BODY_BYTES')}")

    def fields(self) -> Content:
        headers = [list(pair) for pair in self.headers]
        return {"url": self.url, "method": self.method, "headers": headers, "content": self.content}

    @classmethod
    def parse(cls, message: Content) -> Request:
        return cls(
            url=message.get("url"),  # type: ignore[arg-type]  # checked when it is made, as all that follows
            method=message.get("method", "GET"),
            headers=pairs(message.get("headers")),
            content=message.get("content"),
        )


def pairs(headers: Any) -> list[tuple[str, str]]:
    """Headers given as a mapping or as pairs, or none."""
    items = headers.items() if isinstance(headers, Mapping) else headers
    if items is None:
        return []
    expect(not isinstance(items, str | bytes), "headers to be a mapping or pairs of str", headers)
    try:
        return [(name, value) for name, value in items]
    except (TypeError, ValueError):
        raise OffloadRefused(f"expected headers to be a mapping or pairs of str, got {shown(headers)}") from None


def _check_header(name: object, value: object) -> None:
    """Its value is not shown: it may be a password."""
    expect(isinstance(name, str) and bool(_TOKEN.fullmatch(name)), "the name of a header", name)
    if not isinstance(value, str) or not _FIELD.fullmatch(value):
        raise OffloadRefused(f"expected header {name} to be a line of Latin-1 text")
    if str(name).lower() in OWN_HEADERS:
        raise OffloadRefused(f"expected headers without {name}, which belongs to the connection")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a function by its dotted path."""

    kind: ClassVar[str] = "call"
    path: str
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expect(isinstance(self.path, str), "path to be a str", self.path)
        expect(isinstance(self.args, list), "args to be a list", self.args)
        is_named = isinstance(self.kwargs, dict) and all(isinstance(name, str) for name in self.kwargs)
        expect(is_named, "kwargs to be a dict with str keys", self.kwargs)

    def check(self, settings: OffloadSettings) -> None:
        check_callable(self.path, settings)

    def fields(self) -> Content:
        return {"path": self.path, "args": self.args, "kwargs": self.kwargs}

    @classmethod
    def parse(cls, message: Content) -> Call:
        args, kwargs = message.get("args", []), message.get("kwargs", {})
        return cls(path=message.get("path"), args=args, kwargs=kwargs)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command by its name in the settings, with more words for it and what it reads."""

    kind: ClassVar[str] = "command"
    name: str
    args: list[str] = field(default_factory=list)
    input: bytes | None = None

    def __post_init__(self) -> None:
        expect(isinstance(self.name, str), "name to be a str", self.name)
        is_words = isinstance(self.args, list) and all(isinstance(word, str) for word in self.args)
        expect(is_words, "args to be a list of str", self.args)
        expect(not any("\0" in word for word in self.args), "args without a NUL", self.args)
        most = f"at most {MAX_WORDS} args of {MAX_WORD_BYTES} characters together"
        expect(len(self.args) <= MAX_WORDS and sum(map(len, self.args)) <= MAX_WORD_BYTES, most, self.args)
        expect(self.input is None or isinstance(self.input, bytes), "input to be bytes", self.input)

    def check(self, settings: OffloadSettings) -> None:
        check_command(self.name, settings)
        if len(self.input or b"") > settings.max_body_bytes:
            raise OffloadRefused(f"the input of the command is over {name_of('MAX_BODY_BYTES')}")

    def fields(self) -> Content:
        return {"name": self.name, "args": self.args, "input": self.input}

    @classmethod
    def parse(cls, message: Content) -> Command:
        return cls(
            name=message.get("name"),  # type: ignore[arg-type]
            args=message.get("args", []),
            input=message.get("input"),
        )


Asked = Request | Call | Command
KINDS: dict[str, type[Request] | type[Call] | type[Command]] = {
    f"offload.{kind.kind}": kind for kind in (Request, Call, Command)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offload:
    """One piece of work for a worker.

    `timeout` is in seconds from when it is begun; after `deadline` (ms since the epoch) it is not begun. Its answer
    goes to `reply_to`, if anywhere.
    """

    asked: Asked
    timeout: float
    id: str = field(default_factory=lambda: os.urandom(16).hex())
    deadline: int | None = None
    reply_to: Target | None = None

    def message(self) -> Content:
        """As it travels to the worker."""
        content = {"type": f"offload.{self.asked.kind}", "id": self.id, "timeout": self.timeout, **self.asked.fields()}
        if self.deadline is not None:
            content["deadline"] = self.deadline
        if self.reply_to is not None:
            content[f"reply_{self.reply_to.kind}"] = self.reply_to.name
        return content

    def seconds_left(self, now: int) -> float:
        """How long it may take, begun now; 0.0 or less where nobody waits for it any more."""
        return self.timeout if self.deadline is None else min(self.timeout, (self.deadline - now) / 1000)


def read_timeout(timeout: Any, settings: OffloadSettings) -> float:
    """Seconds, or the default for None."""
    if timeout is None:
        return settings.timeout
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool) and isfinite(timeout)
    expect(is_number and timeout > 0, "timeout to be a number of seconds over 0", timeout)
    if timeout > settings.max_timeout:
        raise OffloadRefused(f"a timeout of {timeout} s is over {name_of('MAX_TIMEOUT')} ({settings.max_timeout} s)")
    return float(timeout)


def read_target(channel: Any, group: Any) -> Target | None:
    """Where an answer shall go; `OffloadRefused` where both are given, or one is no name."""
    expect(channel is None or group is None, "one of reply_channel and reply_group", (channel, group))
    try:
        if channel is not None:
            return Target("channel", channel)
        return None if group is None else Target("group", group)
    except InvalidMessage as error:
        raise OffloadRefused(f"reply_channel or reply_group: {error}") from None
