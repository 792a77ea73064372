"""What we write, channels_redis reads; what it writes, we read. And two servers never read the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels_redis.core import RedisChannelLayer

from delayserver.layers.base import Delivered, Delivery, Full
from delayserver.layers.channels_redis import RedisLayer
from delayserver.message import Target

CONFIGS: dict[str, dict[str, Any]] = {
    "msgpack": {},
    "json": {"serializer_format": "json"},
    "encrypted": {"symmetric_encryption_keys": ["a key"]},
    "other prefix": {"prefix": "mine", "random_prefix_length": 16},
}


@pytest.fixture(params=CONFIGS)
async def channel_layer(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[RedisChannelLayer]:
    layer = RedisChannelLayer(hosts=[{"address": redis_url, "socket_timeout": None}], **CONFIGS[request.param])
    yield layer
    await layer.close_pools()


@pytest.fixture
async def layer(channel_layer: RedisChannelLayer) -> AsyncIterator[RedisLayer]:
    layer = RedisLayer(channel_layer)
    await layer.open()
    yield layer
    await layer.aclose()


def probe(n: int = 0) -> dict[str, Any]:
    return {"type": "probe", "n": n}


async def test_what_we_deliver_it_receives_in_order(layer: RedisLayer, channel_layer: RedisChannelLayer) -> None:
    specific = await channel_layer.new_channel()
    for channel in ("sink", specific):
        outcomes = await layer.deliver([Delivery(Target("channel", channel), probe(n)) for n in range(5)])
        assert outcomes == [Delivered()] * 5
        assert [await channel_layer.receive(channel) for _ in range(5)] == [probe(n) for n in range(5)]


async def test_a_group_is_delivered_to_every_member(layer: RedisLayer, channel_layer: RedisChannelLayer) -> None:
    members = [await channel_layer.new_channel() for _ in range(3)]
    for member in members:
        await channel_layer.group_add("listeners", member)
    assert await layer.deliver([Delivery(Target("group", "listeners"), probe())]) == [Delivered()]
    assert [await channel_layer.receive(member) for member in members] == [probe()] * 3
    for member in members:
        await channel_layer.group_discard("listeners", member)


async def test_capacity_is_counted_exactly(layer: RedisLayer, channel_layer: RedisChannelLayer) -> None:
    channel_layer.capacity = 3
    outcomes = await layer.deliver([Delivery(Target("channel", "sink"), probe(n)) for n in range(5)])
    assert outcomes == [Delivered()] * 3 + [Full()] * 2


async def test_what_it_sends_we_read_and_it_stays_until_discarded(
    layer: RedisLayer, channel_layer: RedisChannelLayer
) -> None:
    inbox = layer.inbox("asgi.delay", 10_000)
    for n in range(3):
        await channel_layer.send("asgi.delay", probe(n))
    for _ in range(2):
        arrived = await inbox.read(10, claim=False)
        assert [one.content for one in arrived] == [probe(n) for n in range(3)]
    await inbox.discard(arrived[:2])
    assert [one.content for one in await inbox.read(10, claim=False)] == [probe(2)]


async def test_two_servers_that_claim_never_read_the_same(layer: RedisLayer, channel_layer: RedisChannelLayer) -> None:
    one, other = layer.inbox("asgi.delay", 10_000), layer.inbox("asgi.delay", 10_000)
    for n in range(6):
        await channel_layer.send("asgi.delay", probe(n))
    first = await one.read(3, claim=True)
    second = await other.read(10, claim=True)
    assert [arrived.content for arrived in first] == [probe(n) for n in range(3)]
    assert [arrived.content for arrived in second] == [probe(n) for n in range(3, 6)]
    assert [arrived.content for arrived in await one.read(10, claim=True)] == [probe(n) for n in range(3)]
    await one.discard(first)
    await other.discard(second)
    assert await channel_layer.connection(0).keys("*") == []
