"""The only reader of time.

Two servers whose own clocks disagree must still agree on what is due, so the time that counts is the
store's (Redis ``TIME``, the database's ``now()``). `StoreClock` knows it from readings: each reading bounds
how far the store's clock is ahead of this process's monotonic one, and bounds from several readings are
intersected. A step of the store's clock shows as a contradiction and starts afresh; a step of the host's
own wall clock changes nothing.
"""

from __future__ import annotations

import time
from typing import Protocol

NANOSECONDS_PER_MS = 1_000_000


class Clock(Protocol):
    """Time in whole milliseconds since the epoch, UTC."""

    def now(self) -> int:
        """The present, never ahead of the store's clock: what is due by this is due."""

    def due(self, delay: int) -> int:
        """The first instant that is surely `delay` milliseconds from now: never early."""

    def seconds_until(self, due: int) -> float:
        """How long to sleep until `now()` has reached `due`; 0.0 when it has."""


class SystemClock:
    """The host's wall clock, where the store lives in this process or on this host's disk."""

    def now(self) -> int:
        return time.time_ns() // NANOSECONDS_PER_MS

    def due(self, delay: int) -> int:
        return -(-time.time_ns() // NANOSECONDS_PER_MS) + delay

    def seconds_until(self, due: int) -> float:
        return max(0.0, (due * NANOSECONDS_PER_MS - time.time_ns()) / 1e9)


class StoreClock:
    """The store's clock, as far as readings of it bound it.

    `learn(before, reading, after)` takes one reading: `before` and `after` are `ticks()` around the round
    trip, `reading` is what the store answered, in nanoseconds since the epoch. Until the first reading the
    clock cannot be asked.
    """

    FRESH_SECONDS = 30.0  # no more than a lease, see `age`
    QUICK_NANOSECONDS = 1_000_000_000
    TRIES = 3
    DRIFT = 500e-6  # how much faster one clock may run than the other: as much as NTP will ever slew

    def __init__(self) -> None:
        self._behind: int | None = None  # the store is at least this many ns ahead of our ticks
        self._ahead = 0  # and at most this many
        self._asked_at = self._read_at = 0  # before and after the last reading

    @staticmethod
    def ticks() -> int:
        return ticks()

    @property
    def is_read(self) -> bool:
        return self._behind is not None

    @property
    def stale(self) -> bool:
        """Whether it is time for another reading."""
        return self.age > self.FRESH_SECONDS

    @property
    def age(self) -> float:
        """Seconds since the last reading was asked for; infinite before the first.

        It may have come late, since this process was stopped meanwhile, say: `now()` is then too slow, but by no more
        than this.
        """
        return float("inf") if self._behind is None else (self.ticks() - self._asked_at) / 1e9

    def learn(self, before: int, reading: int, after: int, *, last: bool = True) -> bool:
        """Learn from a reading that was quick, or is the `last` that will be tried; whether it did.

        One that was not, as where this process was stopped meanwhile, would make the clock as much too slow.
        """
        if after - before > self.QUICK_NANOSECONDS and not last:
            return False
        behind, ahead = reading - after, reading - before
        if self._behind is not None and not self.stale:
            drift = round((after - self._read_at) * self.DRIFT)
            behind, ahead = max(behind, self._behind - drift), min(ahead, self._ahead + drift)
            if behind > ahead:  # the two contradict each other: a clock was set
                behind, ahead = reading - after, reading - before
        self._behind, self._ahead, self._asked_at, self._read_at = behind, ahead, before, after
        return True

    def _earliest(self) -> int:
        if self._behind is None:
            raise RuntimeError("the store's clock was asked before it was read")
        return self.ticks() + self._behind

    def at(self, ticks: int) -> int:
        """The store's clock at a tick of ours, at the earliest."""
        if self._behind is None:
            raise RuntimeError("the store's clock was asked before it was read")
        return (ticks + self._behind) // NANOSECONDS_PER_MS

    def now(self) -> int:
        return self._earliest() // NANOSECONDS_PER_MS

    def due(self, delay: int) -> int:
        latest = self._earliest() + self._ahead - (self._behind or 0)
        return -(-latest // NANOSECONDS_PER_MS) + delay

    def seconds_until(self, due: int) -> float:
        return max(0.0, (due * NANOSECONDS_PER_MS - self._earliest()) / 1e9)


def ticks() -> int:
    """Nanoseconds that only ever rise, also while this process is stopped."""
    return time.monotonic_ns()


def monotonic() -> float:
    """Seconds that only ever rise: for rates and back-off, never for what is due."""
    return time.monotonic()


def microseconds() -> int:
    """The host's wall clock in microseconds: for the order of ids, never for what is due."""
    return time.time_ns() // 1000
