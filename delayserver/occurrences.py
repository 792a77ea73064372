"""A schedule as it is kept: its `Rule`, and its `Cursor`, which tells how far it has come.

All instants are whole milliseconds since the epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import msgpack

from .backoff import Retry
from .message import Occurrence, Target, Waiting
from .recurrence import Cron, Every

CatchUp = Literal["one", "skip", "all"]
Overlap = Literal["allow", "skip", "queue_one"]
Source = Literal["code", "settings", "row"]

DAY_MS = 86_400_000
MAX_MS = 2**48  # in the year 10889


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a schedule says. Durations are milliseconds, instants milliseconds since the epoch.

    `expires` counts from the instant that an occurrence is due.
    """

    name: str
    recurrence: Every | Cron
    target: Target
    body: bytes  # what it sends, packed
    catch_up: CatchUp = "one"
    catch_up_window: int = DAY_MS
    overlap: Overlap = "allow"
    jitter: int = 0
    starts: int | None = None
    ends: int | None = None
    max_runs: int | None = None
    enabled: bool = True
    expires: int | None = None
    retry: Retry | None = None
    source: Source = "code"
    where: str = ""  # what a person is told
    rhythm: bytes = field(init=False)  # a digest of what decides when it fires: where it changes, it begins anew
    message: bytes = field(init=False)  # and of what it sends

    def __post_init__(self) -> None:
        rhythm = [*self.recurrence.parts, self.starts, self.ends, self.max_runs]
        retry = self.retry and self.retry.to_wire()
        message = [self.target.kind, self.target.name, self.body, self.jitter, self.expires, retry]
        object.__setattr__(self, "rhythm", _digest(rhythm))
        object.__setattr__(self, "message", _digest(message))

    def due(self, instant: int) -> int:
        """When the occurrence of this instant goes out: later by what is chance, and the same on every server."""
        if not self.jitter:
            return instant
        chance = hashlib.blake2b(f"{self.name}:{instant}".encode(), digest_size=8).digest()
        return instant + int.from_bytes(chance, "big") % (self.jitter + 1)

    def occurrence(self, instant: int, seal: Callable[[bytes], bytes] = bytes, home: str = "") -> Waiting:
        """The message of this instant; `seal` makes of its content what lies in the store."""
        occurrence, due = Occurrence(self.name, instant), self.due(instant)
        expires = None if self.expires is None else due + self.expires
        return Waiting(
            occurrence.id,
            due,
            self.target,
            seal(self.body),
            expires=expires,
            retry=self.retry,
            home=home,
            occurrence=occurrence,
        )


class Pause(NamedTuple):
    """Who stopped a schedule, why, and when."""

    by: str
    why: str
    at: int


class Cursor(NamedTuple):
    """How far a schedule has come.

    at
        the next occurrence is the first after this instant
    anchor
        what an interval without an anchor of its own counts from
    waiting
        the occurrence that was put ahead of its time
    last
        the one before it
    runs, skipped
        how many occurrences were put, and how many left out
    rhythm, message
        digests of the rule it goes by
    paused
        where it was stopped by hand
    off
        whether its rule says that it does not run, or is none
    removed
        since when no rule has this name any more
    """

    at: int
    anchor: int
    rhythm: bytes
    message: bytes
    source: Source
    waiting: int | None = None
    last: int | None = None
    runs: int = 0
    skipped: int = 0
    paused: Pause | None = None
    off: bool = False
    removed: int | None = None

    @classmethod
    def begin(cls, rule: Rule, now: int, before: Cursor | None = None) -> Cursor:
        """From now on, by this rule: nothing that it would have done until now is done.

        Counts go on where the rhythm is as it was `before`. What went out ahead of its time is not sent again.
        """
        anew = cls(now, now, rule.rhythm, rule.message, rule.source, off=not rule.enabled)
        if before is None:
            return anew
        ahead = before.waiting is not None and before.waiting > now  # and so taken away
        last = before.last if ahead else before.newest
        sent = now if last is None or last > now + DAY_MS else max(now, last)
        anew = anew._replace(at=sent, last=last, paused=before.paused)
        if before.rhythm != rule.rhythm or before.removed is not None:
            return anew
        return anew._replace(runs=before.runs - ahead, skipped=before.skipped)

    def pack(self) -> bytes:
        return bytes(msgpack.packb(list(self)))

    @classmethod
    def unpack(cls, raw: bytes) -> Cursor | None:
        """None where the bytes are no cursor: anyone can write anything into a store."""
        try:
            cursor = cls(*msgpack.unpackb(raw))
            cursor = cursor._replace(paused=cursor.paused and Pause(*cursor.paused))
        except Exception:  # noqa: BLE001  see above
            return None
        return cursor if cursor._is_sound() else None

    def _is_sound(self) -> bool:
        instants = (self.at, self.anchor, self.runs, self.skipped, self.waiting or 0, self.last or 0, self.removed or 0)
        digests = type(self.rhythm) is type(self.message) is bytes and type(self.off) is bool
        return digests and all(type(one) is int and -1 <= one < MAX_MS for one in instants)

    def ran(self, now: int) -> int:
        """How many occurrences there were; `runs` counts the one that is ahead, too."""
        return self.runs - (self.waiting is not None and self.waiting > now)

    @property
    def newest(self) -> int | None:
        """The occurrence that was put last."""
        return self.last if self.waiting is None else self.waiting


def _digest(parts: list[Any]) -> bytes:
    """Of plain values alone: it lies in stores, and must be the same in every release."""
    return hashlib.blake2b(msgpack.packb(parts), digest_size=8).digest()
