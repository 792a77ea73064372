"""What we write, channels_redis reads; what it writes, we read. And two servers never read the same."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from channels_redis.core import RedisChannelLayer

from delayserver.clock import ticks
from delayserver.layers.base import Delivered, Delivery, Full, Late
from delayserver.layers.channels_redis import DELIVER, RedisLayer
from delayserver.message import Target
from delayserver.redis_link import Script

from ..support.clock import stop_during_a_reading


def probe(n: int = 0) -> dict[str, Any]:
    return {"type": "probe", "n": n}


def soon() -> int:
    """The end of a lease, far enough ahead."""
    return ticks() + 10_000_000_000


async def test_what_we_deliver_it_receives_in_order(layer: RedisLayer, channel_layer: RedisChannelLayer) -> None:
    specific = await channel_layer.new_channel()
    for channel in ("sink", specific):
        outcomes = await layer.deliver(0, [Delivery(Target("channel", channel), probe(n), soon()) for n in range(5)])
        assert outcomes == [Delivered()] * 5
        assert [await channel_layer.receive(channel) for _ in range(5)] == [probe(n) for n in range(5)]


async def test_a_group_is_delivered_to_every_member(layer: RedisLayer, channel_layer: RedisChannelLayer) -> None:
    members = [await channel_layer.new_channel() for _ in range(3)]
    for member in members:
        await channel_layer.group_add("listeners", member)
    group = Target("group", "listeners")
    assert await layer.deliver(layer.lane(group), [Delivery(group, probe(), soon())]) == [Delivered()]
    assert [await channel_layer.receive(member) for member in members] == [probe()] * 3
    for member in members:
        await channel_layer.group_discard("listeners", member)


async def test_capacity_is_counted_exactly(layer: RedisLayer, channel_layer: RedisChannelLayer) -> None:
    channel_layer.capacity, channel_layer.channel_capacity = 3, []
    outcomes = await layer.deliver(0, [Delivery(Target("channel", "sink"), probe(n), soon()) for n in range(5)])
    assert outcomes == [Delivered()] * 3 + [Full()] * 2


async def test_what_it_sends_we_read_and_it_stays_until_discarded(
    layer: RedisLayer, channel_layer: RedisChannelLayer
) -> None:
    inbox = layer.inboxes("asgi.delay", 10_000)[0]
    for n in range(3):
        await channel_layer.send("asgi.delay", probe(n))
    for _ in range(2):
        arrived = await inbox.read(10, claim=False)
        assert [one.content for one in arrived] == [probe(n) for n in range(3)]
    await inbox.discard(arrived[:2])
    assert [one.content for one in await inbox.read(10, claim=False)] == [probe(2)]


async def test_two_servers_that_claim_never_read_the_same(layer: RedisLayer, channel_layer: RedisChannelLayer) -> None:
    one, other = layer.inboxes("asgi.delay", 10_000)[0], layer.inboxes("asgi.delay", 10_000)[0]
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


async def test_nothing_goes_out_after_the_claims_have_run_out(
    layer: RedisLayer, channel_layer: RedisChannelLayer
) -> None:
    """Redis itself decides, by its own clock: the process may be stopped right before the bytes leave it."""
    member = await channel_layer.new_channel()
    await channel_layer.group_add("listeners", member)
    over = ticks() - 1_000_000
    group = Target("group", "listeners")
    assert await layer.deliver(0, [Delivery(Target("channel", "sink"), probe(), over)]) == [Late()]
    assert await layer.deliver(layer.lane(group), [Delivery(group, probe(), over)]) == [Late()]
    await channel_layer.group_discard("listeners", member)
    assert await channel_layer.connection(0).keys("*") == []


async def test_each_message_has_a_deadline_of_its_own_by_redis_clock(
    layer: RedisLayer, channel_layer: RedisChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is stopped right before the bytes leave it, until one of two has expired."""
    await channel_layer.group_add("listeners", "member")
    early, arun = ticks() + 100_000_000, layer._links[0].arun

    async def stopped(script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        while script is DELIVER and ticks() < early:
            time.sleep(0.01)
        return await arun(script, keys, args)

    monkeypatch.setattr(layer._links[0], "arun", stopped)
    for target in (Target("group", "listeners"), Target("channel", "member")):
        early = ticks() + 100_000_000
        batch = [Delivery(target, probe(1), early), Delivery(target, probe(2), soon())]
        lane = 0 if target.kind == "channel" else layer.lane(target)
        assert await layer.deliver(lane, batch) == [Late(), Delivered()]
        assert await channel_layer.connection(0).zcard(f"{channel_layer.prefix}member") == 1
        assert await channel_layer.receive("member") == probe(2)
    await channel_layer.group_discard("listeners", "member")


async def test_nothing_is_late_after_a_stop_while_redis_clock_was_read(
    layer: RedisLayer, channel_layer: RedisChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_during_a_reading(monkeypatch, seconds=32)
    assert await layer.deliver(0, [Delivery(Target("channel", "sink"), probe(), soon())]) == [Delivered()]
    assert await channel_layer.receive("sink") == probe()


async def test_a_members_full_channel_misses_a_group_message_and_others_get_it(
    layer: RedisLayer, channel_layer: RedisChannelLayer
) -> None:
    channel_layer.capacity, channel_layer.channel_capacity = 3, []
    group = Target("group", "listeners")
    for member in ("full", "free"):
        await channel_layer.group_add("listeners", member)
    for n in range(3):
        await channel_layer.send("full", probe(n))
    assert await layer.deliver(layer.lane(group), [Delivery(group, probe(7), soon())]) == [Delivered()]
    assert await channel_layer.receive("free") == probe(7)
    assert [await channel_layer.receive("full") for _ in range(3)] == [probe(n) for n in range(3)]
    for member in ("full", "free"):
        await channel_layer.group_discard("listeners", member)


async def test_a_group_is_sent_to_by_redis_clock_and_not_by_ours(
    layer: RedisLayer, channel_layer: RedisChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await channel_layer.group_add("listeners", "member")
    await channel_layer.send("member", probe(1))
    group = Target("group", "listeners")
    real = time.time
    for hours in (1, -1):
        monkeypatch.setattr(time, "time", lambda hours=hours: real() + hours * 3600)
        assert await layer.deliver(layer.lane(group), [Delivery(group, probe(2), soon())]) == [Delivered()]
    monkeypatch.undo()
    await channel_layer.send("member", probe(3))  # which drops what is older than the expiry
    assert [(await channel_layer.receive("member"))["n"] for _ in range(4)] == [1, 2, 2, 3]
    await channel_layer.group_discard("listeners", "member")
