"""Which message is being handled, for what is called from deep inside a handler."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any


class Current:
    """A message, once it is known, and the channel that it came from."""

    __slots__ = ("channel", "message")

    def __init__(self, channel: str, message: Mapping[str, Any] | None = None) -> None:
        self.channel, self.message = channel, message


CURRENT: ContextVar[Current | None] = ContextVar("delayserver_current", default=None)


def received(message: Mapping[str, Any]) -> None:
    """It is the message that is being handled."""
    current = CURRENT.get()
    if current is not None:
        current.message = message
