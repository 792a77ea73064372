"""Where store and layer share a Redis: what dispatch hands over, channels_redis receives as it was sent, and once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from channels_redis.core import RedisChannelLayer

from delayserver.backoff import Retry
from delayserver.layers.channels_redis import RedisLayer
from delayserver.loops.dispatch import Dispatch
from delayserver.stores.base import Parcel
from delayserver.stores.redis import RedisStore

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
    assert await store.hand_over_claims([late], 60) == [None]
    assert await store.hand_over_claims([ours, ours], 60) == [True, None]
    assert await channel_layer.connection(0).zrange(f"{channel_layer.prefix}sink", 0, -1) == [b"ours"]
    assert await store.count() == 0
