"""`Retry`: how often a message is handed over again until its consumer acks it, and how long apart."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

from .content import shown
from .errors import InvalidMessage

MAX_ATTEMPTS = 1_000
MAX_WAIT = timedelta(days=365)
MAX_GIVE_UP_ON = 20
MAX_CLASS_NAME = 200


@dataclass(frozen=True, slots=True)
class Retry:
    """Hand over until acked, at most `max_attempts` times; then the message is a dead letter.

    max_attempts
        how many hand-overs in all, 1 to 1 000
    backoff
        the wait before the second attempt; it doubles with each further one
    max_wait
        the doubling ends here
    jitter
        each wait is lengthened by a random part of itself, up to this fraction (0.0 to 1.0)
    ack_timeout
        how long a consumer may take before the message counts as lost and is due again; from hand-over, or under
        ``runtasks`` from when its handler begins, and renewed while that runs
    give_up_on
        errors after which no attempt helps, so that the message is a dead letter at once: exception classes, which
        stand for their subclasses too, or their dotted names; at most 20. What is kept, and read here, are the
        names: ``("builtins.ValueError", "shop.errors.Refused")``
    """

    max_attempts: int = 5
    backoff: timedelta = timedelta(seconds=1)
    max_wait: timedelta = timedelta(hours=1)
    jitter: float = 0.1
    ack_timeout: timedelta = timedelta(seconds=30)
    give_up_on: tuple[type[BaseException] | str, ...] = ()

    def __post_init__(self) -> None:
        if type(self.max_attempts) is not int or not 1 <= self.max_attempts <= MAX_ATTEMPTS:
            raise InvalidMessage(
                f"expected retry max_attempts to be a whole number from 1 to {MAX_ATTEMPTS},"
                f" got {shown(self.max_attempts)}"
            )
        if type(self.jitter) not in (int, float) or not 0 <= self.jitter <= 1:
            raise InvalidMessage(f"expected retry jitter to be a number from 0 to 1, got {shown(self.jitter)}")
        for name in ("backoff", "max_wait", "ack_timeout"):
            value = getattr(self, name)
            if not isinstance(value, timedelta) or not _MS <= value <= MAX_WAIT:
                raise InvalidMessage(
                    f"expected retry {name} to be a timedelta from a millisecond to a year"
                    f" (on the wire: whole milliseconds), got {shown(value)}"
                )
        object.__setattr__(self, "give_up_on", _class_names(self.give_up_on))

    def wait(self, attempt: int, chance: Callable[[], float] = random.random) -> int:
        """Milliseconds from the failure of attempt `attempt` (from 1) to the next."""
        doubled = min(self.max_wait // _MS, (self.backoff // _MS) << min(attempt - 1, 60))
        return round(doubled * (1 + self.jitter * chance()))

    @property
    def ack_timeout_ms(self) -> int:
        return self.ack_timeout // _MS

    def gives_up_on(self, error: BaseException) -> bool:
        """Whether no further attempt shall be made after this error."""
        return any(_name_of(one) in self.give_up_on for one in type(error).__mro__)

    @classmethod
    def parse(cls, wire: object) -> Retry:
        """From the wire: a dict of the fields above, times in whole milliseconds, classes as a list of names."""
        if not isinstance(wire, Mapping):
            raise InvalidMessage(f"expected retry to be a dict, got {type(wire).__name__}")
        names = {field.name for field in fields(cls)}
        if not wire.keys() <= names:
            raise InvalidMessage(f"expected retry to have no keys but {', '.join(sorted(names))}")
        options = dict(wire)
        for name in options.keys() & {"backoff", "max_wait", "ack_timeout"}:
            if type(options[name]) is not int or not 0 < options[name] <= MAX_WAIT // _MS:
                raise InvalidMessage(f"expected retry {name} to be whole milliseconds above zero and up to a year")
            options[name] = timedelta(milliseconds=options[name])
        return cls(**options)

    def to_wire(self) -> dict[str, Any]:
        wire: dict[str, Any] = {
            "max_attempts": self.max_attempts,
            "backoff": self.backoff // _MS,
            "max_wait": self.max_wait // _MS,
            "jitter": self.jitter,
            "ack_timeout": self.ack_timeout_ms,
        }
        # Left out where there are none: what was stored without it keeps its bytes, by which a store finds it.
        return {**wire, "give_up_on": [*self.give_up_on]} if self.give_up_on else wire


_MS = timedelta(milliseconds=1)


def _class_names(given: object) -> tuple[str, ...]:
    """Exception classes and dotted names as dotted names, each once; `InvalidMessage` for anything else."""
    if not isinstance(given, (tuple, list)) or len(given) > MAX_GIVE_UP_ON:
        got = f"{len(given)} of them" if isinstance(given, (tuple, list)) else type(given).__name__
        raise InvalidMessage(
            f"expected retry give_up_on to be a tuple of at most {MAX_GIVE_UP_ON} exception classes, got {got}"
        )
    return tuple(dict.fromkeys(map(_class_name, given)))


def _class_name(given: object) -> str:
    if isinstance(given, type) and issubclass(given, BaseException):
        name = _name_of(given)
    elif isinstance(given, str):
        name = given
    else:
        raise InvalidMessage(
            "expected retry give_up_on to hold exception classes or their dotted names (on the wire: names),"
            f" got {type(given).__name__}"
        )
    if not (len(name) <= MAX_CLASS_NAME and name.isprintable() and "." in name and all(name.split("."))):
        raise InvalidMessage(
            "expected retry give_up_on to name each class with its module, as in builtins.ValueError,"
            f" in at most {MAX_CLASS_NAME} printable characters, got {name[:60]!r}"
        )
    return name


def _name_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
