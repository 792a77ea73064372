"""An encrypted layer: what waits lies encrypted too, for as long as it likes, and old keys are still read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from channels_redis.core import RedisChannelLayer
from redis import Redis

from delayserver.layers.channels_redis import RedisLayer
from delayserver.loops.dispatch import Dispatch
from delayserver.stores.redis import RedisStore

from .conftest import put

SECRET = {"type": "probe", "text": "nobody shall read this"}


@pytest.fixture
def config() -> dict[str, Any]:
    return {"symmetric_encryption_keys": ["old key"], "expiry": 1}


async def layer_with(url: str, *keys: str) -> RedisLayer:
    layer = RedisLayer(RedisChannelLayer(hosts=[url], symmetric_encryption_keys=keys))
    await layer.open()
    return layer


async def test_nothing_of_it_lies_in_clear_while_it_waits(store: RedisStore, layer: RedisLayer, redis_url: str) -> None:
    await put(store, layer, SECRET)
    with Redis.from_url(redis_url) as client:
        [member] = client.zrange("{delayserver:asgi}:waiting", 0, -1)
    assert b"nobody" not in member
    assert b"probe" not in member


async def test_it_can_be_read_after_more_than_the_layers_own_time_limit(
    store: RedisStore, layer: RedisLayer, channel_layer: RedisChannelLayer
) -> None:
    """channels_redis reads nothing that was encrypted more than ``expiry + 10`` seconds ago."""
    await put(store, layer, SECRET, delay=12_500)
    dispatch = Dispatch(store, layer)
    while await store.count():
        await asyncio.sleep(min(await dispatch.run_once(), 1))
    assert await channel_layer.receive("sink") == SECRET


async def test_what_an_old_key_sealed_is_read_and_goes_out_under_the_new(
    store: RedisStore, layer: RedisLayer, redis_url: str
) -> None:
    await put(store, layer, SECRET)
    newer = await layer_with(redis_url, "new key", "old key")
    await Dispatch(store, newer).run_once()
    reader = RedisChannelLayer(hosts=[redis_url], symmetric_encryption_keys=["new key"])
    assert await reader.receive("sink") == SECRET
    await reader.close_pools()
    await newer.aclose()


@pytest.mark.parametrize("keys", [["another key"], []], ids=["of another key", "none"])
async def test_without_the_key_it_becomes_a_dead_letter(
    store: RedisStore, layer: RedisLayer, redis_url: str, keys: list[str]
) -> None:
    await put(store, layer, SECRET)
    stranger = await layer_with(redis_url, *keys)
    await Dispatch(store, stranger).run_once()
    [letter] = await store.dead_letters(10)
    assert "does not unpack" in letter.reason
    assert b"nobody" not in letter.body
    assert await store.count() == 0
    await stranger.aclose()


async def test_what_lies_in_clear_in_the_store_is_not_vouched_for(
    store: RedisStore, layer: RedisLayer, redis_url: str
) -> None:
    """Keys tell that a message came from us: what anyone could have written there does not go out encrypted."""
    plain = await layer_with(redis_url)
    await put(store, plain, SECRET)
    await Dispatch(store, layer).run_once()
    [letter] = await store.dead_letters(10)
    assert "does not unpack" in letter.reason
