"""Dispatch hands over what is due, once, in order, and decides what becomes of everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from delayserver.backoff import Retry
from delayserver.events import EXPIRED, HANDED_OVER, counts
from delayserver.layers.base import Delivery, Failed, Full, Late, Outcome, Refused
from delayserver.loops.delivering import FAILED_PAUSE_MS, PATIENCE_SECONDS
from delayserver.loops.dispatch import (
    BATCH,
    LOCKED_SECONDS,
    LOOK_SECONDS,
    Dispatch,
)
from delayserver.loops.pacing import FIRST_PAUSE_MS, LAST_PAUSE_MS
from delayserver.message import Target
from delayserver.stores.memory import MemoryStore

from ..support.clock import FakeClock
from .conftest import FakeLayer, numbers, put

RETRY = Retry(max_attempts=2, ack_timeout=timedelta(seconds=10))


@pytest.fixture
def dispatch(store: MemoryStore, layer: FakeLayer) -> Dispatch:
    return Dispatch(store, layer, lease=30_000)


async def test_nothing_waits_so_it_only_looks_now_and_then(dispatch: Dispatch) -> None:
    assert await dispatch.run_once() == LOOK_SECONDS


async def test_it_sleeps_exactly_until_the_next_is_due(dispatch: Dispatch, store: MemoryStore) -> None:
    put(store, delay=1_234)
    assert await dispatch.run_once() == 1.234


async def test_what_is_due_but_locked_by_a_transaction_is_not_asked_for_without_a_pause(
    dispatch: Dispatch, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def claim_nothing(*_: object, **__: object) -> list[object]:
        return []

    put(store)
    monkeypatch.setattr(store, "claim", claim_nothing)
    assert await dispatch.run_once() == LOCKED_SECONDS


async def test_a_message_goes_out_when_it_is_due_and_not_before(
    dispatch: Dispatch, store: MemoryStore, layer: FakeLayer, clock: FakeClock
) -> None:
    put(store, delay=200)
    clock.advance(199)
    await dispatch.run_once()
    assert layer.sent == []
    clock.advance(1)
    assert await dispatch.run_once() == 0
    assert [sent.content for sent in layer.sent] == [{"type": "probe", "n": 0}]
    assert await store.count() == 0


async def test_what_is_due_goes_out_in_order_batch_by_batch(
    dispatch: Dispatch, store: MemoryStore, layer: FakeLayer
) -> None:
    for n in range(BATCH + 10):
        put(store, n)
    assert await dispatch.run_once() == 0
    assert len(layer.sent) == BATCH
    await dispatch.run_once()
    assert numbers(layer) == list(range(BATCH + 10))


async def test_what_meets_a_full_channel_waits_in_order_and_others_go_out(
    dispatch: Dispatch, store: MemoryStore, layer: FakeLayer, clock: FakeClock
) -> None:
    layer.capacity = 3
    for n in range(6):
        put(store, n)
    put(store, 7, channel="other")
    await dispatch.run_once()
    assert numbers(layer) == [0, 1, 2]
    assert numbers(layer, "other") == [7]
    put(store, 6)  # comes later, and must not overtake
    layer.capacity = 10
    await dispatch.run_once()
    assert numbers(layer) == [0, 1, 2]
    clock.advance(FIRST_PAUSE_MS)
    await until_idle(dispatch, clock)
    assert numbers(layer) == [0, 1, 2, 3, 4, 5, 6]
    assert await store.count() == 0


async def until_idle(dispatch: Dispatch, clock: FakeClock) -> None:
    """Let the time pass that it wants to sleep, until it sleeps as long as it ever does."""
    while (seconds := await dispatch.run_once()) < LOOK_SECONDS:
        clock.advance(round(seconds * 1000))


async def test_what_waits_behind_a_full_channel_costs_nothing_and_is_looked_at_less_and_less(
    dispatch: Dispatch, store: MemoryStore, layer: FakeLayer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer.capacity = 0
    for n in range(1_000):
        put(store, n)
    while await dispatch.run_once() == 0:
        pass
    tried: list[int] = []
    deliver = layer.deliver

    async def counting(lane: Hashable, batch: Sequence[Delivery]) -> list[Outcome]:
        tried.append(len(batch))
        return await deliver(lane, batch)

    monkeypatch.setattr(layer, "deliver", counting)
    pauses = []
    for _ in range(30):
        pause = await dispatch.run_once()
        pauses.append(pause)
        clock.advance(round(pause * 1000))
    assert max(tried) <= 4
    assert max(pauses) == LAST_PAUSE_MS / 1000


async def test_a_burst_goes_out_in_order_as_room_appears(
    dispatch: Dispatch, store: MemoryStore, layer: FakeLayer, clock: FakeClock
) -> None:
    layer.capacity = 100
    for n in range(2_000):
        put(store, n)
    seen: list[int] = []
    for _ in range(5_000):
        pause = await dispatch.run_once()
        clock.advance(max(1, round(pause * 1000)))
        seen += numbers(layer)[:30]  # a reader takes some
        del layer.sent[:30]
        if len(seen) == 2_000:
            break
    assert seen == list(range(2_000))
    assert await store.count() == 0


async def test_a_slow_target_holds_up_no_other_and_keeps_its_order(
    dispatch: Dispatch, store: MemoryStore, layer: FakeLayer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = asyncio.Event()
    deliver = layer.deliver

    async def slow(lane: Hashable, batch: Sequence[Delivery]) -> list[Outcome]:
        if lane == Target("channel", "slow"):
            await answers.wait()
        return await deliver(lane, batch)

    monkeypatch.setattr(layer, "deliver", slow)
    for n in range(3):
        put(store, n, channel="slow")
        put(store, n, channel="quick")
    await asyncio.wait_for(dispatch.run_once(), 50 * PATIENCE_SECONDS)
    assert numbers(layer, "quick") == [0, 1, 2]
    put(store, 3, channel="slow")
    put(store, 3, channel="quick")
    await asyncio.wait_for(dispatch.run_once(), 50 * PATIENCE_SECONDS)
    assert numbers(layer, "quick") == [0, 1, 2, 3]
    assert numbers(layer, "slow") == []
    answers.set()
    await dispatch.aclose()
    clock.advance(LAST_PAUSE_MS)
    await until_idle(dispatch, clock)
    assert numbers(layer, "slow") == [0, 1, 2, 3]
    assert await store.count() == 0


async def test_a_full_channel_costs_no_attempt(
    dispatch: Dispatch, store: MemoryStore, layer: FakeLayer, clock: FakeClock
) -> None:
    put(store, retry=RETRY)
    for _ in range(5):
        layer.outcomes = [Full()]
        await dispatch.run_once()
        clock.advance(LAST_PAUSE_MS)
    await dispatch.run_once()
    assert layer.sent[0].content["__delay__"]["attempt"] == 1


async def test_a_layer_that_cannot_be_reached_is_tried_again(
    dispatch: Dispatch, store: MemoryStore, layer: FakeLayer, clock: FakeClock
) -> None:
    put(store)
    layer.outcomes = [Failed(OSError("away"))]
    await dispatch.run_once()
    assert layer.sent == []
    clock.advance(FAILED_PAUSE_MS)
    await dispatch.run_once()
    assert numbers(layer) == [0]


async def test_a_layer_that_raises_gives_everything_back(
    dispatch: Dispatch, store: MemoryStore, layer: FakeLayer, clock: FakeClock
) -> None:
    for n in range(3):
        put(store, n)
    layer.outcomes = [RuntimeError("nobody planned this")]
    await dispatch.run_once()
    clock.advance(FAILED_PAUSE_MS)
    await dispatch.run_once()
    assert numbers(layer) == [0, 1, 2]


async def test_what_the_layer_refuses_becomes_a_dead_letter(
    dispatch: Dispatch, store: MemoryStore, layer: FakeLayer
) -> None:
    put(store)
    layer.outcomes = [Refused("it does not like it")]
    await dispatch.run_once()
    [letter] = await store.dead_letters(10)
    assert letter.reason == "it does not like it"
    assert letter.source == "sink"
    assert await store.count() == 0


async def test_an_expired_message_is_dropped(
    dispatch: Dispatch, store: MemoryStore, layer: FakeLayer, clock: FakeClock
) -> None:
    put(store, 1, delay=100, expires=150)
    put(store, 2, delay=100, expires=200)
    clock.advance(200)
    await dispatch.run_once()
    assert numbers(layer) == [2]
    assert await store.count() == 0


async def test_what_expires_while_others_of_its_lane_go_out_is_dropped_and_counted_once(
    dispatch: Dispatch, store: MemoryStore, layer: FakeLayer, clock: FakeClock
) -> None:
    for n in range(4):
        put(store, n, expires=199)
    put(store, 4)
    put(store, 5, expires=60_000)
    layer.send_ms = 100
    before = counts.copy()
    await until_idle(dispatch, clock)
    assert numbers(layer) == [0, 1, 4, 5]
    assert (counts - before)[EXPIRED.name] == 2
    assert (counts - before)[HANDED_OVER.name] == 4
    assert await store.count() == 0


async def test_until_its_last_millisecond_a_message_goes_out(
    dispatch: Dispatch, store: MemoryStore, layer: FakeLayer, clock: FakeClock
) -> None:
    for n in range(3):
        put(store, n, expires=200)
    layer.send_ms = 100
    await until_idle(dispatch, clock)
    assert numbers(layer) == [0, 1, 2]


async def test_what_expires_in_a_lane_that_is_left_to_itself_is_dropped_and_counted_once(
    dispatch: Dispatch, store: MemoryStore, layer: FakeLayer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = asyncio.Event()
    deliver = layer.deliver

    async def slow(lane: Hashable, batch: Sequence[Delivery]) -> list[Outcome]:
        await answers.wait()
        return await deliver(lane, batch)

    monkeypatch.setattr(layer, "deliver", slow)
    put(store, 1, expires=200)
    put(store, 2, expires=200, retry=RETRY)
    put(store, 3)
    before = counts.copy()
    await dispatch.run_once()
    clock.advance(201)
    answers.set()
    await dispatch.aclose()
    await until_idle(dispatch, clock)
    assert numbers(layer) == [3]
    assert (counts - before)[EXPIRED.name] == 2
    assert await store.count() == 0


async def test_what_expired_while_its_server_slept_is_counted_by_the_one_that_drops_it(
    dispatch: Dispatch, store: MemoryStore, layer: FakeLayer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, expires=1_000)
    claim = store.claim

    async def claim_and_let_another_drop_it(now: int, limit: int, lease: int, **_: object) -> object:
        monkeypatch.undo()
        claims = await claim(now, limit, lease)
        clock.advance(lease)
        await Dispatch(store, layer).run_once()
        return claims

    monkeypatch.setattr(store, "claim", claim_and_let_another_drop_it)
    before = counts.copy()
    await dispatch.run_once()
    assert layer.sent == []
    assert (counts - before)[EXPIRED.name] == 1
    assert await store.count() == 0


async def test_with_retry_it_goes_out_again_after_the_ack_timeout_and_then_becomes_a_dead_letter(
    dispatch: Dispatch, store: MemoryStore, layer: FakeLayer, clock: FakeClock
) -> None:
    id = put(store, retry=RETRY)
    for _ in range(3):
        await dispatch.run_once()
        clock.advance(10_000)
    assert [sent.content["__delay__"]["attempt"] for sent in layer.sent] == [1, 2]
    assert {sent.content["__delay__"]["id"] for sent in layer.sent} == {id}
    [letter] = await store.dead_letters(10)
    assert "out of attempts" in letter.reason
    assert await store.count() == 0


async def test_a_server_that_slept_past_its_lease_sends_nothing(
    store: MemoryStore, layer: FakeLayer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store)
    claim = store.claim

    async def claim_and_fall_asleep(now: int, limit: int, lease: int, **_: object) -> object:
        claims = await claim(now, limit, lease)
        clock.advance(lease)
        return claims

    monkeypatch.setattr(store, "claim", claim_and_fall_asleep)
    await Dispatch(store, layer, lease=5_000).run_once()
    assert layer.sent == []
    monkeypatch.undo()
    await Dispatch(store, layer).run_once()
    assert numbers(layer) == [0]


async def test_a_server_that_died_with_a_claim_loses_nothing(
    dispatch: Dispatch, store: MemoryStore, layer: FakeLayer, clock: FakeClock
) -> None:
    put(store)
    await store.claim(clock.now(), 10, 5_000)  # and then its process is killed
    assert await dispatch.run_once() == 5.0
    clock.advance(5_000)
    await dispatch.run_once()
    assert numbers(layer) == [0]


async def test_an_error_in_one_lane_is_no_reason_to_send_the_others_again(
    dispatch: Dispatch, store: MemoryStore, layer: FakeLayer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = dispatch._delivering._outcomes

    async def broken(lane: Hashable, *rest: Any) -> Any:
        if lane == Target("channel", "broken"):
            raise RuntimeError("nobody planned this")
        return await outcomes(lane, *rest)

    monkeypatch.setattr(dispatch._delivering, "_outcomes", broken)
    put(store, 1, channel="broken")
    put(store, 2)
    with pytest.raises(RuntimeError):
        await dispatch.run_once()
    monkeypatch.undo()
    clock.advance(30_000)  # the lease
    await until_idle(dispatch, clock)
    assert numbers(layer) == [2]
    assert numbers(layer, "broken") == [1]


async def test_a_clock_that_is_set_back_does_not_freeze_a_backlog(
    dispatch: Dispatch, store: MemoryStore, layer: FakeLayer, clock: FakeClock
) -> None:
    layer.capacity = 1
    for n in range(3):
        put(store, n)
    while await dispatch.run_once() == 0:
        pass
    clock.advance(-3_600_000)
    layer.capacity = 10
    for _ in range(10):
        clock.advance(round(await dispatch.run_once() * 1000))
    assert numbers(layer) == [0, 1, 2]


async def test_what_is_late_by_the_layer_s_clock_alone_waits_for_no_lease(
    store: MemoryStore, layer: FakeLayer, dispatch: Dispatch, clock: FakeClock
) -> None:
    """The two clocks differ by a little: it expires a moment later by the store's own, and is dropped then."""
    put(store, expires=100)
    layer.outcomes = [Late()]
    await dispatch.run_once()
    assert await store.claim(clock.now(), 1, 1) == []
    clock.advance(20)
    layer.outcomes = [Late()]
    await dispatch.run_once()
    clock.advance(100)
    await dispatch.run_once()
    assert await store.count() == 0
    assert layer.sent == []
