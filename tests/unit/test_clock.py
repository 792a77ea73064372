"""A clock is never ahead of the store's, and nothing is due early by it, however slow or wild the way there is."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from delayserver.clock import NANOSECONDS_PER_MS, Clock, StoreClock, SystemClock
from delayserver.loops.dispatch import LEASE_MS
from delayserver.redis_link import RedisLink, Script

from ..support.clock import NOW, FakeClock

SECOND = 1_000_000_000


class Ticking(StoreClock):
    """A store's clock and our own ticks, both in the test's hand; in nanoseconds."""

    def __init__(self, ahead: int = NOW * NANOSECONDS_PER_MS) -> None:
        super().__init__()
        self.passed = 0
        self.ahead = ahead

    def ticks(self) -> int:  # type: ignore[override]
        return self.passed

    @property
    def store(self) -> int:
        """What the store's clock says at this instant."""
        return self.passed + self.ahead

    def read(self, there: int = 0, back: int = 0) -> None:
        """One reading, which takes so long each way."""
        before = self.passed
        self.passed += there
        reading = self.store
        self.passed += back
        self.learn(before, reading, self.passed)


latencies = st.integers(0, 3 * SECOND)
pauses = st.integers(0, 20 * SECOND)
readings = st.lists(st.tuples(latencies, latencies, pauses), min_size=1, max_size=10)


def check_bounds(clock: Ticking) -> None:
    assert clock.now() * NANOSECONDS_PER_MS <= clock.store
    for delay in (0, 1, 86_400_000):
        assert clock.due(delay) * NANOSECONDS_PER_MS >= clock.store + delay * NANOSECONDS_PER_MS


@hypothesis.settings(max_examples=200)
@hypothesis.given(taken=readings, ahead=st.integers(-SECOND, 1 << 62))
def test_now_is_never_ahead_and_due_never_behind_however_long_a_reading_takes(
    taken: Sequence[tuple[int, int, int]], ahead: int
) -> None:
    clock = Ticking(ahead)
    for there, back, pause in taken:
        clock.read(there, back)
        check_bounds(clock)
        clock.passed += pause
        check_bounds(clock)


@hypothesis.given(taken=readings)
def test_the_best_reading_counts_while_it_is_fresh(taken: Sequence[tuple[int, int, int]]) -> None:
    clock = Ticking()
    clock.read(1_000, 1_000)
    read_at = clock.passed
    for there, back, _ in taken[:3]:
        clock.read(there, back)
    drift = (clock.passed - read_at) * StoreClock.DRIFT
    assert clock.store - clock.now() * NANOSECONDS_PER_MS <= NANOSECONDS_PER_MS + 2_000 + drift


@hypothesis.given(step=st.integers(10 * SECOND, 10**6 * SECOND), sign=st.sampled_from([-1, 1]))
def test_a_step_of_the_stores_clock_is_seen_at_the_next_reading(step: int, sign: int) -> None:
    clock = Ticking()
    clock.read(1_000_000, 1_000_000)
    clock.ahead += sign * step
    clock.read(1_000_000, 1_000_000)
    check_bounds(clock)
    assert clock.store - clock.now() * NANOSECONDS_PER_MS < 3 * NANOSECONDS_PER_MS


def test_a_step_back_within_the_latency_does_no_harm_for_longer_than_a_reading_is_fresh() -> None:
    clock = Ticking()
    clock.read(2 * SECOND, 2 * SECOND)
    clock.ahead -= SECOND
    clock.passed += int(StoreClock.FRESH_SECONDS * SECOND) + 1
    clock.read(SECOND, SECOND)
    check_bounds(clock)


def test_a_reading_is_fresh_for_half_a_minute() -> None:
    clock = Ticking()
    assert clock.stale
    assert clock.age == float("inf")
    clock.read()
    assert not clock.stale
    clock.passed += 30 * SECOND
    assert (clock.stale, clock.age) == (False, 30.0)
    clock.passed += 1
    assert clock.stale


@hypothesis.given(back=st.integers(0, 60 * SECOND), pause=st.integers(0, 60 * SECOND))
def test_a_clock_is_not_slower_than_it_is_old_and_so_while_it_is_fresh_no_lease_seems_over(
    back: int, pause: int
) -> None:
    clock = Ticking()
    clock.read(back=back)
    clock.passed += pause
    slow = clock.store - clock.now() * NANOSECONDS_PER_MS
    assert slow <= clock.age * SECOND + NANOSECONDS_PER_MS
    assert clock.stale or slow <= (LEASE_MS + 1) * NANOSECONDS_PER_MS


def test_a_clock_cannot_be_asked_before_it_was_read() -> None:
    for ask in (StoreClock().now, lambda: StoreClock().due(0), lambda: StoreClock().seconds_until(NOW)):
        with pytest.raises(RuntimeError, match="before it was read"):
            ask()


@hypothesis.given(there=latencies, back=latencies, wait=st.integers(-10_000, 10_000))
def test_after_the_seconds_until_due_now_has_reached_it(there: int, back: int, wait: int) -> None:
    clock = Ticking()
    clock.read(there, back)
    due = clock.now() + wait
    seconds = clock.seconds_until(due)
    assert seconds >= 0
    clock.passed += round(seconds * SECOND) + 1_000  # a float tells no nanoseconds
    assert clock.now() >= due
    assert clock.seconds_until(due) == 0.0


def test_a_step_of_the_hosts_wall_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = StoreClock()
    clock.learn(clock.ticks(), NOW * NANOSECONDS_PER_MS, clock.ticks())
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert NOW - 1 <= clock.now() < NOW + 60_000


@pytest.mark.parametrize("fraction", [0, 1, 499_999, 500_000, 999_999])
def test_the_systems_clock_is_never_ahead_and_never_early(monkeypatch: pytest.MonkeyPatch, fraction: int) -> None:
    at = NOW * NANOSECONDS_PER_MS + fraction
    monkeypatch.setattr(time, "time_ns", lambda: at)
    clock = SystemClock()
    assert clock.now() == NOW
    assert clock.due(0) == NOW + (fraction > 0)
    assert clock.due(5) - clock.due(0) == 5
    assert clock.seconds_until(NOW) == 0.0
    assert clock.seconds_until(NOW + 2) == pytest.approx(0.002 - fraction / 1e9, abs=1e-9)


def test_the_tests_clock_is_a_clock() -> None:
    clock: Clock = FakeClock()
    assert (clock.now(), clock.due(5), clock.seconds_until(NOW + 1_500)) == (NOW, NOW + 5, 1.5)


def test_time_as_the_store_tells_it_does_not_run_backwards_by_itself() -> None:
    clock = Ticking()
    clock.read(5, 5)
    seen = []
    for _ in range(100):
        clock.passed += 123_457
        seen.append(clock.now())
    assert all(one <= next_one for one, next_one in itertools.pairwise(seen))


class StoppedDuringTheFirstReading(RedisLink):
    """Redis's clock is our ticks; the process is stopped for 32 s before it sees the first answer."""

    def __init__(self, ticks: list[int]) -> None:
        super().__init__({"address": "redis://127.0.0.1:1"})
        self._ticks, self._answers = ticks, 0

    async def arun(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        reading = divmod(self._ticks[0] // 1_000, 1_000_000)
        self._answers += 1
        self._ticks[0] += 32 * SECOND if self._answers == 1 else NANOSECONDS_PER_MS
        return reading


async def test_a_reading_during_which_the_process_was_stopped_is_taken_again() -> None:
    ticks = [1_000 * SECOND]

    class Ours(StoreClock):
        @staticmethod
        def ticks() -> int:
            return ticks[0]

    clock = Ours()
    await StoppedDuringTheFirstReading(ticks).alearn(clock, "key")
    assert abs(clock.now() - ticks[0] // NANOSECONDS_PER_MS) <= 2
