"""The alarm rings when it is told to, when its time is over and not before, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from delayserver.loops import alarm
from delayserver.loops.alarm import Alarm


@pytest.fixture(params=["timerfd", "event loop"])
async def ringing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Alarm]:
    """With the system's exact timer, and as it is where there is none."""
    if request.param == "event loop":
        monkeypatch.setattr(alarm, "_LIBC", None)
    alarm_ = Alarm()
    yield alarm_
    alarm_.close()


async def test_it_rings_by_itself_when_the_time_is_over_and_not_before(ringing: Alarm) -> None:
    for seconds in (0.0015, 0.02, 0.0004):
        ringing.reset()
        start = time.perf_counter()
        await asyncio.wait_for(ringing.wait(seconds), 5)
        # An event loop's clock has a resolution of its own, by which its timers may be early.
        assert time.perf_counter() - start >= seconds - time.get_clock_info("monotonic").resolution - 1e-6


async def test_it_rings_at_once_when_told(ringing: Alarm) -> None:
    ringing.reset()
    asyncio.get_running_loop().call_soon(ringing.ring)
    await asyncio.wait_for(ringing.wait(3600), 5)


async def test_what_rang_before_it_waits_is_not_missed(ringing: Alarm) -> None:
    ringing.ring()
    await asyncio.wait_for(ringing.wait(3600), 5)


async def test_a_wait_that_was_cut_short_does_not_ring_into_the_next(ringing: Alarm) -> None:
    ringing.ring()
    await ringing.wait(0.01)
    ringing.reset()
    start = time.perf_counter()
    await asyncio.wait_for(ringing.wait(0.05), 5)
    assert time.perf_counter() - start >= 0.049


async def test_it_leaves_no_descriptor_behind() -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    for _ in range(10):
        one = Alarm()
        await one.wait(0.0001)
        one.close()
        one.close()
    assert descriptors() == before
