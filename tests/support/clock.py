"""The instant at which tests begin, the clock that stands still there until it is told to go on, and a stop while a
store's clock is read.
"""

from __future__ import annotations

import pytest

from delayserver.clock import StoreClock
from delayserver.testing import FakeClock

__all__ = ["NOW", "FakeClock", "stop_during_a_reading"]

NOW = 1_800_000_000_000  # 2027-01-15 08:00:00 UTC, where a FakeClock begins


def stop_during_a_reading(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """As if the next reading was taken so long ago, and this process was stopped before it saw the answer."""
    learn, ago = StoreClock.learn, seconds * 1_000_000_000

    def learn_late(clock: StoreClock, before: int, reading: int, after: int, *, last: bool = True) -> bool:
        nonlocal ago
        before, reading, ago = before - ago, reading - ago, 0
        return learn(clock, before, reading, after, last=last)

    monkeypatch.setattr(StoreClock, "learn", learn_late)
