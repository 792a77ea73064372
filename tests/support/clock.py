"""The instant at which tests begin, and the clock that stands still there until it is told to go on."""

from __future__ import annotations

from delayserver.testing import FakeClock

__all__ = ["NOW", "FakeClock"]

NOW = 1_800_000_000_000  # 2027-01-15 08:00:00 UTC, where a FakeClock begins
