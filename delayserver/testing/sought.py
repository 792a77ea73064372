"""What an assertion looks for among messages, and the sentences in which it says what it found instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypedDict, TypeVar

from ..content import Content
from ..message import Message, instant_of, milliseconds
from .layer import Delivered

MAX_LINES = 20
MAX_CONTENT_CHARACTERS = 80
UNITS = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1))


class SoughtDelivered(TypedDict, total=False):
    """What shall be so of a message; what is left out may be anything.

    channel, group
        its target
    type
        the type in its content
    content
        items that its content has, among others
    """

    channel: str | None
    group: str | None
    type: str
    content: Content


class Sought(SoughtDelivered, total=False):
    """As `SoughtDelivered`; and of what waits:

    key
        its key; None where it has none
    delay
        how long from now it is due, exactly: whole milliseconds or a timedelta
    eta
        when it is due, exactly: an aware datetime
    """

    key: str | None
    delay: int | timedelta
    eta: datetime


M = TypeVar("M", Message, Delivered)


def found(messages: Sequence[M], sought: Mapping[str, Any], allowed: type, now: int) -> list[M]:
    """Those that are as `sought`, which may have the names of the TypedDict `allowed`; `now` in milliseconds."""
    unknown = sought.keys() - allowed.__annotations__.keys()
    if unknown:
        names = ", ".join(allowed.__annotations__)
        raise TypeError(f"expected no names but {names}, got {', '.join(sorted(unknown))}")
    return [message for message in messages if _is_as(message, sought, now)]


def _is_as(message: Message | Delivered, sought: Mapping[str, Any], now: int) -> bool:
    for name, value in sought.items():
        match name:
            case "type":
                fits = message.content.get("type") == value
            case "content":
                fits = all(key in message.content and message.content[key] == item for key, item in value.items())
            case "delay":
                fits = instant_of("eta", getattr(message, "eta")) == now + milliseconds("delay", value)  # noqa: B009
            case "eta":
                fits = instant_of("eta", getattr(message, "eta")) == instant_of("eta", value)  # noqa: B009
            case _:
                fits = getattr(message, name) == value
        if not fits:
            return False
    return True


def failure(
    expected: str, sought: Mapping[str, Any], messages: Sequence[M], matching: Sequence[M], line: Callable[[M], str]
) -> str:
    """What was expected, how many came, and all there are; those that match are marked with an arrow."""
    parts = ", ".join(f"{name} {value!r}" for name, value in sought.items())
    head = f"expected {expected}{' with ' + parts if parts else ''}, found {len(matching)}"
    if not messages:
        return f"{head}; there are none at all"
    told = [f"{head}; there are:"]
    for message in messages[:MAX_LINES]:
        mark = "->" if any(message is one for one in matching) else "  "
        told.append(f"{mark} {line(message)}")
    if len(messages) > MAX_LINES:
        told.append(f"   and {len(messages) - MAX_LINES} more")
    return "\n".join(told)


def scheduled_line(message: Message, now: int) -> str:
    """``in 5 min: channel reports, report.build, key 'report:7', {'id': 7}``; `now` in milliseconds."""
    left = instant_of("eta", message.eta) - now
    when = "now" if left == 0 else f"in {span(left)}" if left > 0 else f"overdue for {span(-left)}"
    return f"{when}: {_told(message, message.key)}"


def delivered_line(delivered: Delivered) -> str:
    """``2027-01-15 08:00:00+00:00: channel reports, report.build, {'id': 7}``."""
    return f"{delivered.at}: {_told(delivered)}"


def span(ms: int) -> str:
    """Milliseconds in words, exactly: ``1 h 30 min``."""
    words = []
    for unit, size in UNITS:
        number, ms = divmod(ms, size)
        if number:
            words.append(f"{number} {unit}")
    return " ".join(words)


def _told(message: Message | Delivered, key: str | None = None) -> str:
    target = f"group {message.group}" if message.channel is None else f"channel {message.channel}"
    words = [target, str(message.content.get("type"))]
    if key is not None:
        words.append(f"key {key!r}")
    rest = repr({name: value for name, value in message.content.items() if name != "type"})
    if rest != "{}":
        words.append(rest if len(rest) <= MAX_CONTENT_CHARACTERS else f"{rest[: MAX_CONTENT_CHARACTERS - 3]}...")
    return ", ".join(words)
