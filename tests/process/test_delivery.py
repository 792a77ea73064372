"""What was sent to `asgi.delay`, or with `send_later`, arrives: in time, as it was, once, and leaves nothing."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import pytest
from channels_redis.core import RedisChannelLayer

from delayserver.stores.base import Store

from ..support.wait import await_for
from .conftest import Site, on_every_store

LATE_MS = 250  # on a busy machine


async def receive(layer: RedisChannelLayer, channel: str, timeout: float = 10.0) -> dict[str, Any]:
    """One message; the receive that waits for it is never cancelled while one may come."""
    message: dict[str, Any] = await asyncio.wait_for(layer.receive(channel), timeout)
    return message


async def send(layer: RedisChannelLayer, wire: object) -> None:
    await layer.send("asgi.delay", wire)


def ms_since(start: float) -> float:
    return (time.time() - start) * 1000


@on_every_store
async def test_a_message_arrives_when_it_is_due_and_as_it_was(
    site: Site, layer: RedisChannelLayer, store: Store
) -> None:
    site.rundelay()
    sent = time.time()
    await send(layer, {"channel": "sink", "delay": 1000, "content": {"type": "probe", "test": "value"}})
    message = await receive(layer, "sink")
    took = ms_since(sent)
    assert message == {"type": "probe", "test": "value"}
    assert 1000 <= took <= 1000 + LATE_MS
    await await_for(lambda: nothing_is_left(store), 5, "an empty store")


async def nothing_is_left(store: Store) -> bool:
    return await store.count() == 0


@on_every_store
@pytest.mark.parametrize("target", ["general", "specific", "group"])
async def test_every_kind_of_target_is_reached_with_every_kind_of_value(
    site: Site, layer: RedisChannelLayer, target: str
) -> None:
    site.rundelay()
    content = {
        "type": "probe",
        "bytes": b"\x00\xff",
        "text": "\x00 \U0001f600",
        "numbers": [-(1 << 63), (1 << 64) - 1, 0.1, float("inf")],
        "nested": {"none": None, "bool": True, "empty": [{}]},
    }
    specific = await layer.new_channel()
    channel = {"general": "sink", "specific": specific, "group": specific}[target]
    wire: dict[str, Any] = {"channel": channel, "content": content, "delay": 50}
    if target == "group":
        await layer.group_add("listeners", specific)
        wire = {"group": "listeners", "content": content, "delay": 50}
    await send(layer, wire)
    assert await receive(layer, channel) == content
    await layer.group_discard("listeners", specific)


@on_every_store
async def test_send_later_in_another_process_wakes_a_server_that_sleeps_towards_next_year(
    site: Site, layer: RedisChannelLayer
) -> None:
    site.rundelay()
    sender = site.run(
        "import time\n"
        "from delayserver import send_later\n"
        "send_later('sink', {'type': 'probe', 'n': 0}, delay=365 * 24 * 3_600_000)\n"
        "input_wait = time.sleep(1)  # the server has gone to sleep by then\n"
        "sent = time.time()\n"
        "send_later('sink', {'type': 'probe', 'sent': sent}, delay=5)\n"
    )
    message = await receive(layer, "sink")
    took = ms_since(message["sent"])
    assert 5 <= took <= 5 + LATE_MS
    assert sender.wait() == 0


@on_every_store
async def test_what_was_stored_survives_a_killed_server(site: Site, layer: RedisChannelLayer, store: Store) -> None:
    site.config["capacity"] = 1_000
    server = site.rundelay()
    layer.capacity = 1_000
    start = time.time()
    for n in range(500):
        await send(layer, {"channel": "sink", "content": {"type": "probe", "n": n}, "delay": 5_000})
    await await_for(lambda: all_are_stored(store, 500), 10, "500 messages in the store")
    server.kill()
    server.wait()
    await asyncio.sleep(max(0, 6 - (time.time() - start)))  # until all are overdue
    site.rundelay()
    seen = Counter([(await receive(layer, "sink"))["n"] for _ in range(500)])
    assert seen == Counter(range(500))
    await await_for(lambda: nothing_is_left(store), 5, "an empty store")
    assert await is_quiet(layer, "sink")


async def all_are_stored(store: Store, number: int) -> bool:
    return await store.count() == number


async def is_quiet(layer: RedisChannelLayer, channel: str) -> bool:
    connection = layer.connection(0)
    return int(await connection.zcard(layer.prefix + channel)) == 0


@on_every_store
async def test_two_servers_share_the_work_and_send_nothing_twice(
    site: Site, layer: RedisChannelLayer, store: Store
) -> None:
    site.config["capacity"] = layer.capacity = 2_000
    servers = [site.rundelay(), site.rundelay()]
    for n in range(1_000):
        await send(layer, {"channel": "sink", "content": {"type": "probe", "n": n}, "delay": 500})
    seen = Counter([(await receive(layer, "sink"))["n"] for _ in range(1_000)])
    await await_for(lambda: nothing_is_left(store), 5, "an empty store")
    assert seen == Counter(range(1_000))
    assert await is_quiet(layer, "sink")
    assert all(server.running for server in servers)


@on_every_store
async def test_a_full_channel_keeps_its_messages_waiting_and_delays_no_other(
    site: Site, layer: RedisChannelLayer, store: Store
) -> None:
    site.config["capacity"] = 10
    site.rundelay()
    for n in range(11):
        await send(layer, {"channel": "full", "content": {"type": "probe", "n": n}, "delay": 300})
    await await_for(lambda: holds(layer, "full", 10), 5, "10 messages on the full channel")
    sent = time.time()
    await send(layer, {"channel": "other", "content": {"type": "probe"}, "delay": 500})
    await receive(layer, "other")
    assert 500 <= ms_since(sent) <= 500 + LATE_MS
    assert await holds(layer, "full", 10)
    await await_for(lambda: all_are_stored(store, 1), 5, "one message that waits")
    assert (await receive(layer, "full"))["n"] == 0
    assert [(await receive(layer, "full"))["n"] for _ in range(10)] == list(range(1, 11))
    await await_for(lambda: nothing_is_left(store), 5, "an empty store")


async def holds(layer: RedisChannelLayer, channel: str, number: int) -> bool:
    return int(await layer.connection(0).zcard(layer.prefix + channel)) == number


async def test_an_expired_message_is_not_handed_over(site: Site, layer: RedisChannelLayer, store: Store) -> None:
    content = {"type": "probe"}
    for name, delay, expires in (("late", 100, 150), ("in time", 100, 3_600_000)):
        wire = {"channel": "sink", "content": {**content, "name": name}, "delay": delay, "expires": expires}
        await send(layer, wire)
    server = site.rundelay("--no-intake")
    server.end()
    feeder = site.rundelay()  # takes both in, and is gone before they are due
    await await_for(lambda: all_are_stored(store, 2), 5, "2 messages in the store")
    feeder.kill()
    feeder.wait()
    await asyncio.sleep(0.3)
    site.rundelay()
    assert (await receive(layer, "sink"))["name"] == "in time"
    await await_for(lambda: nothing_is_left(store), 5, "an empty store")
    assert await is_quiet(layer, "sink")
