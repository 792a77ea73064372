"""``DELAYSERVER["PROGRESS"]``: its names, their defaults, and what is wrong with one. `conf` reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .content import shown

UNKNOWN, WRONG = "delayserver.E019", "delayserver.E020"
LEAST, MOST = timedelta(seconds=1), timedelta(days=3650)
DEFAULTS: Mapping[str, timedelta] = {"RETENTION": timedelta(days=1), "TOKEN_AGE": timedelta(days=1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressSettings:
    """How long a final state is kept, and how long a token is good for."""

    retention: timedelta
    token_age: timedelta

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> ProgressSettings:
        """The setting without faults, with its defaults."""
        return cls(**{name.lower(): _read(given.get(name, DEFAULTS[name])) for name in DEFAULTS})


Wrong = tuple[str, str, str]  # a sentence, the cure, the id of the check
_CURE = "Correct it, or leave it out for the default."


def wrongs(given: object) -> Iterator[Wrong]:
    """Everything wrong with the setting by itself."""
    if not isinstance(given, Mapping):
        yield f"expected DELAYSERVER['PROGRESS'] to be a dict, got {type(given).__name__}", _CURE, WRONG
        return
    for name, value in given.items():
        if name not in DEFAULTS:
            hint = f"Known names: {', '.join(sorted(DEFAULTS))}."
            yield f"DELAYSERVER['PROGRESS'] has an unknown name {name!r}", hint, UNKNOWN
        elif not _is_age(value):
            expected = "a timedelta or a number of seconds, from a second to ten years"
            yield f"expected DELAYSERVER['PROGRESS'][{name!r}] to be {expected}, got {shown(value)}", _CURE, WRONG


def _is_age(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | timedelta):
        return False
    try:
        return LEAST <= _read(value) <= MOST
    except (OverflowError, ValueError):
        return False


def _read(value: timedelta | float) -> timedelta:
    return value if isinstance(value, timedelta) else timedelta(seconds=value)
