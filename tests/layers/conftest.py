"""channels_redis in each of its ways, a store on the same Redis, and dispatch between them, called step by step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels_redis.core import RedisChannelLayer

from delayserver.conf import REDIS_LAYER, LayerSettings
from delayserver.layers.base import Layer
from delayserver.layers.channels_redis import RedisLayer
from delayserver.message import Message
from delayserver.stores.base import Store
from delayserver.stores.redis import RedisStore

CONFIGS: dict[str, dict[str, Any]] = {
    "msgpack": {},
    "json": {"serializer_format": "json"},
    "encrypted": {"symmetric_encryption_keys": ["a key"]},
    "other prefix": {"prefix": "mine", "random_prefix_length": 16},
    "capacity by pattern": {"channel_capacity": {"sink*": 50}},
}


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return CONFIGS[request.param]


@pytest.fixture
async def channel_layer(config: dict[str, Any], redis_url: str) -> AsyncIterator[RedisChannelLayer]:
    layer = RedisChannelLayer(hosts=[{"address": redis_url, "socket_timeout": None}], **config)
    yield layer
    await layer.close_pools()


@pytest.fixture
async def layer(channel_layer: RedisChannelLayer) -> AsyncIterator[RedisLayer]:
    layer = RedisLayer(channel_layer)
    await layer.open()
    yield layer
    await layer.aclose()


@pytest.fixture
async def store(config: dict[str, Any], redis_url: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(LayerSettings("default", REDIS_LAYER, {"hosts": [redis_url], **config}))
    await store.open()
    yield store
    await store.aclose()


async def put(store: Store, layer: Layer, content: dict[str, Any], **parts: Any) -> str:
    """A message that is due; its id."""
    message = Message(content=content, **{"delay": 0, "channel": "sink", **parts})
    [receipt] = await store.aput([message.resolve(store.clock, layer.seal(message.pack(100_000)))])
    while message.delay == 0 and store.clock.now() < receipt.due:
        await asyncio.sleep(0)
    return receipt.id
