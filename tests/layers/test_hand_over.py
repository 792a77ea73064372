"""Where store and layer share a Redis: what dispatch hands over, channels_redis receives as it was sent, and once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from channels_redis.core import RedisChannelLayer

from delayserver.backoff import Retry
from delayserver.content import pack
from delayserver.events import EXPIRED, HANDED_OVER, counts
from delayserver.layers.base import Delivered, Delivery, Outcome
from delayserver.layers.channels_redis import DELIVER, RedisLayer
from delayserver.loops.dispatch import Dispatch
from delayserver.message import Occurrence, Target, Ticket, Waiting, at_instant
from delayserver.redis_link import RedisLink, Script
from delayserver.stores.base import Acked, Fate, Named, Parcel
from delayserver.stores.moves import Move, Moved, Step
from delayserver.stores.redis import HAND_OVER_CLAIMS, RedisStore
from delayserver.stores.redis_shelf import MAX_ACT_BYTES

from .conftest import put

RETRY = Retry(max_attempts=3, ack_timeout=timedelta(hours=1))


@pytest.fixture
def dispatch(store: RedisStore, layer: RedisLayer) -> Dispatch:
    return Dispatch(store, layer)


def probe(n: int = 0) -> dict[str, Any]:
    return {"type": "probe", "n": n}


async def run(dispatch: Dispatch) -> None:
    """Until there is nothing to do."""
    while await dispatch.run_once() == 0:
        pass


WIDE = {"type": "probe", **{f"key{n}": n for n in range(40)}}


@pytest.mark.parametrize("content", [probe(), WIDE], ids=["small", "wide"])
@pytest.mark.parametrize("target", ["general", "specific"])
async def test_a_channel_gets_it_as_it_was_sent(
    dispatch: Dispatch,
    store: RedisStore,
    layer: RedisLayer,
    channel_layer: RedisChannelLayer,
    target: str,
    content: dict[str, Any],
) -> None:
    channel = "sink" if target == "general" else await channel_layer.new_channel()
    await put(store, layer, content, channel=channel)
    await run(dispatch)
    assert await channel_layer.receive(channel) == content
    assert await store.count() == 0


async def test_a_group_gets_it_as_it_was_sent(
    dispatch: Dispatch, store: RedisStore, layer: RedisLayer, channel_layer: RedisChannelLayer
) -> None:
    channel = await channel_layer.new_channel()
    await channel_layer.group_add("listeners", channel)
    await put(store, layer, probe(), channel=None, group="listeners")
    await run(dispatch)
    assert await channel_layer.receive(channel) == probe()
    assert await store.count() == 0
    await channel_layer.group_discard("listeners", channel)


async def test_with_options_it_arrives_too_and_with_retry_it_stays_until_the_ack_timeout(
    dispatch: Dispatch, store: RedisStore, layer: RedisLayer, channel_layer: RedisChannelLayer
) -> None:
    await put(store, layer, probe(1), expires=60_000)
    id = await put(store, layer, probe(2), retry=RETRY)
    await run(dispatch)
    first, second = [await channel_layer.receive("sink") for _ in range(2)]
    assert first == probe(1)
    details = second.pop("__delay__")
    assert (second, details["id"], details["attempt"]) == (probe(2), id, 1)
    assert await store.count() == 1
    due = await store.next_due()
    assert due is not None
    assert due == pytest.approx(store.clock.now() + 3_600_000, abs=5_000)


@pytest.mark.parametrize("target", ["channel", "group"])
@pytest.mark.parametrize("retry", [None, RETRY])
async def test_an_occurrence_arrives_and_says_which_it_is(
    dispatch: Dispatch,
    store: RedisStore,
    layer: RedisLayer,
    channel_layer: RedisChannelLayer,
    retry: Retry | None,
    target: str,
) -> None:
    await channel_layer.group_add("listeners", "sink")
    due = store.clock.now() - 1
    firing = Occurrence("nightly", due)
    to = Target("channel", "sink") if target == "channel" else Target("group", "listeners")
    body = layer.seal(pack(probe(), 100))
    message = Waiting(firing.id, due, to, body, retry=retry, occurrence=firing)
    held = Move("nightly", b"1", b"2", unless=firing.id)
    assert (await store.put_occurrences([Move("nightly", None, b"1", put=[message]), held]))[1].step is Step.HELD
    await run(dispatch)
    await dispatch.aclose()  # a group may be slow
    came = await channel_layer.receive("sink")
    details = {"id": firing.id, "attempt": 1, "due": due, "scheduled_for": due, "schedule": "nightly"}
    assert came == {**probe(), "__delay__": details}
    assert await store.acancel([Named(firing.id)]) == [retry is not None]  # it waits for its ack
    [moved] = await store.put_occurrences([held])
    assert moved == Moved(Step.DONE, b"2")
    assert await store.count() == 0
    await channel_layer.group_discard("listeners", "sink")


async def test_occurrences_go_out_in_the_one_act_and_in_due_order(
    dispatch: Dispatch, store: RedisStore, layer: RedisLayer, channel_layer: RedisChannelLayer
) -> None:
    """As if the server had unpacked them. What has expired, or is large, is claimed."""
    await layer.open()
    now, mine = store.clock.now(), await channel_layer.new_channel()
    made = {
        name: _occurrence(layer, name, now - 10 + n, channel, content, expires)
        for n, (name, channel, content, expires) in enumerate(
            [
                ("first", "sink", {}, None),
                ("nächtlich", "sink", {"type": "probe", "n": [1, {"deep": None}], "b": "ä"}, now + 60_000),
                ("specific", mine, probe(), None),
                ("expired", "other", probe(), now - 1),
                ("large", "another", {"type": "probe", **{f"k{n}": n for n in range(15)}}, None),
            ]
        )
    }
    await store.put_occurrences([Move(name, None, b"1", put=[message]) for name, message in made.items()])
    if layer.format is not None:
        work = await store.hand_over(layer.format, now, 100, 30_000, [])
        assert work.handed == 3
        assert {claim.message.id for claim in work.claims} == {made["expired"].id, made["large"].id}
        await store.postpone(work.claims, [claim.message.due for claim in work.claims], spend=0)
    await run(dispatch)
    for name in ("first", "nächtlich"):
        assert await channel_layer.receive("sink") == made[name].content(layer.unseal)
    assert await channel_layer.receive(mine) == made["specific"].content(layer.unseal)
    assert await channel_layer.receive("another") == made["large"].content(layer.unseal)
    assert await store.count() == 0
    assert await channel_layer.connection(0).zcard(f"{channel_layer.prefix}other") == 0


def _occurrence(
    layer: RedisLayer, name: str, due: int, channel: str, content: dict[str, Any], expires: int | None
) -> Waiting:
    firing = Occurrence(name, due - 3)
    body = layer.seal(pack({"type": "probe", **content}, 1_000))
    return Waiting(firing.id, due, Target("channel", channel), body, expires=expires, occurrence=firing)


async def test_a_burst_fills_the_channel_as_room_appears_in_due_order(
    dispatch: Dispatch, store: RedisStore, layer: RedisLayer, channel_layer: RedisChannelLayer
) -> None:
    channel_layer.capacity = 20
    channel_layer.channel_capacity = []
    await layer.open()
    for n in range(100):
        await put(store, layer, probe(n))
    seen: list[int] = []
    while len(seen) < 100:
        await dispatch.run_once()
        assert await channel_layer.connection(0).zcard(f"{channel_layer.prefix}sink") <= 20
        if await channel_layer.connection(0).zcard(f"{channel_layer.prefix}sink"):
            seen.append((await channel_layer.receive("sink"))["n"])
    assert seen == list(range(100))
    assert await store.count() == 0


async def test_what_a_pattern_allows_is_what_the_channel_takes(
    dispatch: Dispatch, store: RedisStore, layer: RedisLayer, channel_layer: RedisChannelLayer
) -> None:
    for n in range(120):
        await put(store, layer, probe(n))
    await run(dispatch)
    capacity = channel_layer.get_capacity("sink")
    assert await channel_layer.connection(0).zcard(f"{channel_layer.prefix}sink") == capacity
    assert await store.count() == 120 - capacity


async def test_a_server_that_dies_between_claim_and_hand_over_has_put_nothing_on_the_channel(
    store: RedisStore, layer: RedisLayer, channel_layer: RedisChannelLayer
) -> None:
    await put(store, layer, probe())
    [claim] = await store.claim(store.clock.now() + 5, 10, lease=1)  # and then its process is killed
    [again] = await store.claim(store.clock.now() + 10, 10, lease=30_000)
    late = Parcel(claim, f"{channel_layer.prefix}sink", 100, b"late")
    ours = Parcel(again, f"{channel_layer.prefix}sink", 100, b"ours")
    assert await store.hand_over_claims([late], 60) == [Fate.NOT_OURS]
    assert await store.hand_over_claims([ours, ours], 60) == [Fate.THERE, Fate.NOT_OURS]
    assert await channel_layer.connection(0).zrange(f"{channel_layer.prefix}sink", 0, -1) == [b"ours"]
    assert await store.count() == 0


async def pass_by(instant: int, store: RedisStore, channel_layer: RedisChannelLayer) -> None:
    """Wait until it is over by Redis's clock, and by what we know of that."""
    seconds, microseconds = await channel_layer.connection(0).time()
    while seconds * 1000 + microseconds // 1000 <= instant or store.clock.now() <= instant:
        await asyncio.sleep(0.005)
        seconds, microseconds = await channel_layer.connection(0).time()


async def test_what_expires_between_claim_and_hand_over_is_dropped_with_all_beside_it(
    store: RedisStore, layer: RedisLayer, channel_layer: RedisChannelLayer
) -> None:
    id = await put(store, layer, probe(1), expires=300, retry=RETRY, key="job")
    await put(store, layer, probe(2), expires=60_000)
    now = store.clock.now() + 5
    claims = await store.claim(now, 10, lease=30_000)
    assert await store.postpone(claims, [now, now], spend=1) == [True, True]  # which leaves attempts behind
    claims = await store.claim(now, 10, lease=30_000)
    first = claims[0]
    assert (first.message.id, first.message.attempt) == (id, 1)
    assert first.message.expires is not None
    await pass_by(first.message.expires, store, channel_layer)
    parcels = [Parcel(claim, f"{channel_layer.prefix}sink", 100, f"{n}".encode()) for n, claim in enumerate(claims)]
    assert await store.hand_over_claims(parcels, 60) == [Fate.EXPIRED, Fate.THERE]
    assert await store.hand_over_claims(parcels, 60) == [Fate.NOT_OURS, Fate.NOT_OURS]
    assert await channel_layer.connection(0).keys("*") == [f"{channel_layer.prefix}sink".encode()]
    assert await channel_layer.connection(0).zrange(f"{channel_layer.prefix}sink", 0, -1) == [b"1"]


@pytest.mark.parametrize("target", ["channel", "group"])
async def test_a_server_that_is_stopped_until_a_message_has_expired_drops_it_and_counts_it_once(
    store: RedisStore,
    layer: RedisLayer,
    channel_layer: RedisChannelLayer,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
) -> None:
    arun = RedisLink.arun
    await channel_layer.group_add("listeners", "sink")
    name = {"channel": "sink", "group": None} if target == "channel" else {"channel": None, "group": "listeners"}
    expires = store.clock.due(400)
    await put(store, layer, probe(1), **name, expires=at_instant(expires))
    await put(store, layer, probe(2), **name, expires=60_000)

    async def stopped(link: RedisLink, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        if script in (HAND_OVER_CLAIMS, DELIVER):
            await pass_by(expires, store, channel_layer)
        return await arun(link, script, keys, args)

    monkeypatch.setattr(RedisLink, "arun", stopped)
    dispatch = Dispatch(store, layer)
    before = counts.copy()
    await run(dispatch)
    await dispatch.aclose()  # it was slow
    assert (counts - before)[EXPIRED.name] == 1
    assert (counts - before)[HANDED_OVER.name] == 1
    assert await store.count() == 0
    assert await channel_layer.connection(0).zcard(f"{channel_layer.prefix}sink") == 1
    assert await channel_layer.receive("sink") == probe(2)
    await channel_layer.group_discard("listeners", "sink")


async def test_what_takes_more_than_moving_bytes_is_not_overtaken(
    dispatch: Dispatch, store: RedisStore, layer: RedisLayer, channel_layer: RedisChannelLayer
) -> None:
    for n in range(6):
        await put(store, layer, probe(n), **({"expires": 60_000} if n % 3 == 0 else {}))
    await run(dispatch)
    assert [(await channel_layer.receive("sink"))["n"] for _ in range(6)] == list(range(6))


async def test_with_retry_too_a_key_is_free_from_the_hand_over_on(
    dispatch: Dispatch, store: RedisStore, layer: RedisLayer, channel_layer: RedisChannelLayer
) -> None:
    id = await put(store, layer, probe(1), retry=RETRY, key="job")
    await run(dispatch)
    step = await put(store, layer, probe(2), key="job", delay=60_000)
    assert step != id
    came = await channel_layer.receive("sink")
    assert await store.ack([Ticket(came["__delay__"]["id"], came["__delay__"]["attempt"])]) == [Acked.DONE]
    assert await store.acancel([Named(key="job")]) == [True]
    assert await store.count() == 0


async def test_many_full_channels_that_get_room_are_all_served_soon(
    dispatch: Dispatch,
    store: RedisStore,
    layer: RedisLayer,
    channel_layer: RedisChannelLayer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    channel_layer.capacity, channel_layer.channel_capacity = 1, []
    await layer.open()
    channels = [f"channel-{n}" for n in range(100)]
    for channel in channels:
        for n in range(6):
            await put(store, layer, probe(n), channel=channel)
    while await dispatch.run_once() == 0:
        pass
    assert await store.count() == 500
    channel_layer.capacity = 100
    await layer.open()
    caplog.clear()
    start = time.monotonic()
    while await store.count():
        await asyncio.sleep(min(await dispatch.run_once(), 0.05))
    assert time.monotonic() - start < 10  # each within a pause or two, and not one pause after the other
    assert not [record for record in caplog.records if "takes no more" in record.getMessage()]
    sink = channel_layer.connection(0)
    assert {await sink.zcard(f"{channel_layer.prefix}{channel}") for channel in channels} == {6}


async def test_a_group_that_is_slow_is_not_asked_again_and_again(
    store: RedisStore, layer: RedisLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = asyncio.Event()

    async def slow(lane: Hashable, batch: Sequence[Delivery]) -> list[Outcome]:
        await answers.wait()
        return [Delivered()] * len(batch)

    monkeypatch.setattr(layer, "deliver", slow)
    dispatch = Dispatch(store, layer)
    for n in range(50):
        await put(store, layer, probe(n), channel=None, group="slow")
    await dispatch.run_once()
    looks, until = 0, time.monotonic() + 1
    while (left := until - time.monotonic()) > 0:
        await asyncio.sleep(min(await dispatch.run_once(), left))
        looks += 1
    assert looks < 100
    answers.set()
    await dispatch.aclose()


async def test_no_script_runs_long_where_messages_are_large(
    dispatch: Dispatch, store: RedisStore, layer: RedisLayer, channel_layer: RedisChannelLayer
) -> None:
    """What a script copies is what it takes long for: one message of a megabyte at a time."""
    large = {"type": "probe", "data": "x" * 90_000}
    ids = [await put(store, layer, large) for _ in range(30)]
    handed, before = 0, await store.count()
    while await store.count() and await dispatch.run_once() < 1:
        now = await store.count()
        handed, before = max(handed, before - now), now
    assert handed <= MAX_ACT_BYTES // 90_000 + 1 or layer.format is None
    assert len(ids) == await channel_layer.connection(0).zcard(f"{channel_layer.prefix}sink")
