"""A clock that stands still until it is told to go on."""

from __future__ import annotations


class FakeClock:
    """A `delayserver.clock.Clock` in the test's hand; `now` in milliseconds since the epoch (2027-01-15 08:00 UTC)."""

    def __init__(self, now: int = 1_800_000_000_000) -> None:
        self._now = now

    def advance(self, ms: int) -> None:
        self._now += ms

    def now(self) -> int:
        return self._now

    def due(self, delay: int) -> int:
        return self._now + delay

    def seconds_until(self, due: int) -> float:
        return max(0, due - self._now) / 1000
