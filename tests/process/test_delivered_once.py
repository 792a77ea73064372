"""Whatever is sent to `asgi.delay` arrives as it was, and once, although servers are killed or share the work."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import pytest
from channels_redis.core import RedisChannelLayer

from delayserver.stores.base import Store

from ..support.wait import await_for
from .arriving import all_are_stored, is_quiet, nothing_is_left, receive, send
from .conftest import Site, on_every_store


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
