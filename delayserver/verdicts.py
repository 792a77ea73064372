"""What became of a handler: what a consumer may say, and what is seen of it from outside.

`Done`, `Again` and `Fail` are a consumer's own words. `Again` and `Fail` can be returned, or raised from as deep as one
likes. `Raised` and `Unfit` are what nobody said: the handler raised, or there is none for such a message.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from .errors import InvalidMessage
from .message import milliseconds

MAX_REASON_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Done:
    """The work is done. To return nothing says the same; `result` is for pollers."""

    result: object = None


class Again(Exception):
    """Not yet: the same message comes again after `delay` (ms or timedelta), and no attempt is spent.

    Without a delay it comes after the message's own ``retry.backoff``; a message without `retry` after a second. Of a
    poller it is the next step that comes, without a delay after its ``every``.
    """

    def __init__(self, delay: int | timedelta | None = None) -> None:
        self.delay = None if delay is None else milliseconds("delay", delay)
        super().__init__(self.delay)

    def __repr__(self) -> str:
        return f"Again(delay={self.delay})"


class Fail(Exception):
    """It can never be done: the message is a dead letter at once, with this `reason` (1 to 500 characters)."""

    def __init__(self, reason: str) -> None:
        if not isinstance(reason, str) or not reason:
            raise InvalidMessage(f"expected Fail to have a reason, a str, got {type(reason).__name__}")
        self.reason = reason[:MAX_REASON_LENGTH]
        super().__init__(self.reason)

    def __repr__(self) -> str:
        return f"Fail({self.reason!r})"


@dataclass(frozen=True, slots=True)
class Raised:
    """The handler raised."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Unfit:
    """No handler takes such a message; `error` is what said so, if anything did."""

    reason: str
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Unsaid:
    """Nobody says anything of it: it is a copy of what runs elsewhere."""


Outcome = Done | Again | Fail | Raised | Unfit | Unsaid
DONE = Done()


def verdict_of(returned: object) -> Outcome:
    """What a handler's return value says."""
    return returned if isinstance(returned, Done | Again | Fail | Unsaid) else DONE
