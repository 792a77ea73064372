"""The store's clock is the one that counts: never ahead, and never early."""

from __future__ import annotations

import time

import pytest

from delayserver.stores.base import Store

from ..support.clock import stop_during_a_reading
from .places import Place, in_thread


async def test_the_clock_is_right_and_never_ahead(store: Store) -> None:
    clock = await store.aread_clock()
    for _ in range(200):
        now = clock.now()
        after = time.time() * 1000
        assert after - 1_000 < now <= after


async def test_what_is_due_after_a_delay_is_never_due_early(store: Store) -> None:
    clock = await store.aread_clock()
    for delay in (0, 1, 1_000):
        before = time.time() * 1000
        due = clock.due(delay)
        assert before + delay <= due < before + delay + 1_000


async def test_now_reaches_due_when_it_was_said_to(store: Store) -> None:
    clock = await store.aread_clock()
    due = clock.due(20)
    time.sleep(clock.seconds_until(due))
    assert 0 <= clock.now() - due < 1_000
    assert clock.seconds_until(due) == 0.0


async def test_a_plain_thread_can_read_the_clock_of_a_store_that_was_never_opened(place: Place) -> None:
    clock = await in_thread(place.store().read_clock)
    assert time.time() * 1000 - 1_000 < clock.now() <= time.time() * 1000


async def test_the_clock_is_right_also_after_a_stop_while_it_was_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_during_a_reading(monkeypatch, seconds=32)
    clock = await in_thread(place.store().read_clock)
    assert time.time() * 1000 - 1_000 < clock.now() <= time.time() * 1000
