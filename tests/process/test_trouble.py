"""Whatever happens to the store, the server goes on by itself, and nothing it accepted is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from channels_redis.core import RedisChannelLayer
from django.db import connections, transaction
from redis.exceptions import RedisError

from delayserver.message import Message
from delayserver.stores.base import Store

from ..support.process import Process
from ..support.servers import PostgresServer, RedisServer
from ..support.wait import await_for
from .conftest import Site

NORMAL_SECONDS = 5.0


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis of this test's own, to be ill-treated; it keeps its data over a restart."""
    with RedisServer(aof=True) as server:
        yield server


@pytest.fixture
def own_site(own_redis: RedisServer, start_process: Any) -> Site:
    return Site("redis", own_redis.url, start_process)


@pytest.fixture
async def own_layer(own_site: Site) -> AsyncIterator[RedisChannelLayer]:
    layer = own_site.layer()
    yield layer
    await layer.close_pools()


async def works_again(layer: RedisChannelLayer, name: str) -> None:
    """A new message goes all the way, within `NORMAL_SECONDS`."""
    deadline = time.monotonic() + NORMAL_SECONDS
    while True:
        try:
            await layer.send("asgi.delay", {"channel": name, "delay": 10, "content": {"type": "probe"}})
            break
        except (RedisError, OSError):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    await asyncio.wait_for(layer.receive(name), NORMAL_SECONDS)


async def received(layer: RedisChannelLayer, channel: str, number: int) -> list[int]:
    return sorted([(await asyncio.wait_for(layer.receive(channel), 10))["n"] for _ in range(number)])


async def wait_until_stored(store: Store, number: int) -> None:
    async def stored() -> bool:
        return await store.count() == number

    await await_for(stored, 5, f"{number} messages in the store")


async def put_over(layer: RedisChannelLayer, number: int, delay: int) -> None:
    for n in range(number):
        await layer.send("asgi.delay", {"channel": "sink", "delay": delay, "content": {"type": "probe", "n": n}})


def complaints(server: Process) -> list[float]:
    return [line.at for line in server.lines if "trying again" in line.text]


def assert_at_most_one_line_a_second(server: Process, loops: int = 4) -> None:
    times = complaints(server)
    if times:
        assert len(times) <= (times[-1] - times[0] + 1) * loops + loops


async def test_redis_restarts(own_site: Site, own_redis: RedisServer, own_layer: RedisChannelLayer) -> None:
    server, store = own_site.rundelay(), own_site.new_store()
    await store.open()
    await put_over(own_layer, 50, delay=3_000)
    await wait_until_stored(store, 50)
    await store.aclose()
    await own_layer.close_pools()
    own_redis.stop()
    await asyncio.sleep(1.5)
    own_redis.start()
    await works_again(own_layer, "again")
    assert await received(own_layer, "sink", 50) == list(range(50))
    assert server.running
    server.wait_for_line("no wake-up connection")
    assert_at_most_one_line_a_second(server)


async def test_all_connections_are_killed_again_and_again(own_site: Site, own_layer: RedisChannelLayer) -> None:
    server = own_site.rundelay()
    await put_over(own_layer, 50, delay=1_500)
    with own_site.redis() as client:
        for _ in range(8):
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await asyncio.sleep(0.25)
    await own_layer.close_pools()
    assert await received(own_layer, "sink", 50) == list(range(50))
    await works_again(own_layer, "again")
    assert server.running


async def test_redis_is_out_of_memory(own_site: Site, own_layer: RedisChannelLayer) -> None:
    server, store = own_site.rundelay(), own_site.new_store()
    await store.open()
    await own_layer.send("asgi.delay", {"group": "nobody", "delay": 400, "content": {"type": "probe"}})
    await put_over(own_layer, 50, delay=500)
    await wait_until_stored(store, 51)
    with own_site.redis() as client:
        client.config_set("maxmemory", 1)
        # To hand over frees more than it takes, so it goes on.
        await await_for(lambda: client.zcard("asgisink") == 50, 5, "50 messages on the channel")
        client.config_set("maxmemory", 0)
    assert await received(own_layer, "sink", 50) == list(range(50))
    await works_again(own_layer, "again")
    assert_at_most_one_line_a_second(server)
    await store.aclose()


async def test_redis_becomes_a_read_only_replica_and_is_promoted(
    own_site: Site, own_redis: RedisServer, own_layer: RedisChannelLayer
) -> None:
    server, store = own_site.rundelay(), own_site.new_store()
    await store.open()
    await put_over(own_layer, 50, delay=500)
    await wait_until_stored(store, 50)
    with own_site.redis() as client:
        client.replicaof("127.0.0.1", 1)
        await asyncio.sleep(2)
        assert any("READONLY" in line.text or "ReadOnly" in line.text for line in server.lines)
        client.replicaof("NO", "ONE")
    assert await received(own_layer, "sink", 50) == list(range(50))
    await works_again(own_layer, "again")
    assert_at_most_one_line_a_second(server)
    await store.aclose()


async def test_the_stores_own_key_holds_another_type_for_a_while(site: Site, layer: RedisChannelLayer) -> None:
    server = site.rundelay()
    with site.redis() as client:
        client.set("{delayserver:asgi}:waiting", "x")
        await layer.send("asgi.delay", {"channel": "sink", "delay": 0, "content": {"type": "probe", "n": 0}})
        await await_for(lambda: complaints(server), 10, "a complaint")
        await asyncio.sleep(1.5)
        assert client.zcard("asgiasgi.delay") == 1
        client.delete("{delayserver:asgi}:waiting")
    assert await received(layer, "sink", 1) == [0]
    assert server.running
    assert_at_most_one_line_a_second(server)


async def test_junk_among_the_waiting_delays_nothing(site: Site, layer: RedisChannelLayer) -> None:
    server = site.rundelay()
    with site.redis() as client:
        for junk in (
            b"junk",
            b"\x00",
            b"\x00" * 17,
            b"\x05ab",
            b"\xff" * 40,
            b"\x00" + b"i" * 16 + b"\x06\x04sink\xff\xff",
        ):
            client.zadd("{delayserver:asgi}:waiting", {junk: 1})
    await works_again(layer, "again")
    assert server.running
    with site.redis() as client:
        await await_for(lambda: client.zcard("{delayserver:asgi}:dead") == 6, 5, "6 dead letters")
        assert client.zcard("{delayserver:asgi}:waiting") == 0


async def test_a_server_started_before_its_redis_waits_for_it(
    own_site: Site, own_redis: RedisServer, own_layer: RedisChannelLayer
) -> None:
    own_redis.stop()
    server = own_site.rundelay(wait=False)
    server.wait_for_line("trying again")
    own_redis.start()
    server.wait_for_line("^delay server ready")
    await works_again(own_layer, "first")


@pytest.mark.parametrize("site", ["postgres"], indirect=True)
async def test_postgres_restarts(site: Site, postgres_server: PostgresServer, layer: RedisChannelLayer) -> None:
    server = site.rundelay()
    await put_over(layer, 50, delay=2_000)
    await asyncio.sleep(1)
    postgres_server.stop()
    await asyncio.sleep(2)
    postgres_server.start()
    assert await received(layer, "sink", 50) == list(range(50))
    await works_again(layer, "again")
    assert server.running
    assert_at_most_one_line_a_second(server)


async def test_a_message_whose_content_does_not_unpack_becomes_a_dead_letter(
    site: Site, layer: RedisChannelLayer, store: Store
) -> None:
    waiting = Message(group="g", content={"type": "probe"}, delay=0).waiting(store.clock, 1_000)
    await store.aput([replace(waiting, body=b"\xc1")])
    server = site.rundelay()
    server.wait_for_line("became a dead letter: its content does not unpack")
    assert await store.count() == 0
    await works_again(layer, "again")


async def test_one_keyed_message_is_stored_once_although_the_script_fails_midway(
    site: Site, layer: RedisChannelLayer, store: Store
) -> None:
    server = site.rundelay()
    with site.redis() as client:
        client.set("{delayserver:asgi}:keys", "x")
        wire = {"channel": "sink", "delay": 1_000, "content": {"type": "probe", "n": 7}, "key": "a"}
        await layer.send("asgi.delay", wire)
        await await_for(lambda: len(complaints(server)) > 1, 10, "complaints")
        client.delete("{delayserver:asgi}:keys")
    assert await received(layer, "sink", 1) == [7]
    await wait_until_stored(store, 0)


@pytest.mark.parametrize("rules", [("resetchannels",), ("-subscribe",), ("-client",)])
async def test_a_redis_user_with_few_rights_is_served_all_the_same(
    own_site: Site, own_redis: RedisServer, own_layer: RedisChannelLayer, rules: tuple[str, ...]
) -> None:
    """Where it may not publish, subscribe or track, servers look ten times a second."""
    with own_site.redis() as client:
        client.execute_command("ACL", "SETUSER", "poor", "on", ">pass", "~*", "+@all", *rules)
    own_site.url = own_redis.url.replace("redis://", "redis://poor:pass@")
    server = own_site.rundelay()
    assert "pass" not in server.output
    sender = own_site.run(
        "from delayserver import send_later; send_later('sink', {'type': 'probe', 'n': 1}, delay=500)"
    )
    assert sender.wait() == 0
    start = time.monotonic()
    assert await received(own_layer, "sink", 1) == [1]
    assert time.monotonic() - start < (5.5 if "resetchannels" in rules else 2)
    await works_again(own_layer, "wire")


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
async def test_a_layer_host_that_is_down_holds_up_only_its_own_share(
    site: Site, own_redis: RedisServer, start_process: Any
) -> None:
    hosts = [{"address": url, "socket_timeout": None} for url in (site.url, own_redis.url)]
    site.config["hosts"] = hosts
    up = Site("redis", site.url, start_process).layer()
    server = site.rundelay()
    await put_over(up, 10, delay=1_000)
    own_redis.stop()
    seen: set[int] = set()

    async def some_arrived() -> bool:
        raw = await up.connection(0).zrange("asgisink", 0, -1)
        seen.update(up.deserialize(one)["n"] for one in raw)
        return len(seen) >= 5

    await await_for(some_arrived, 10, "the share of the host that is up")
    own_redis.start()

    async def all_arrived() -> bool:
        await some_arrived()
        other = Site("redis", own_redis.url, start_process).layer()
        raw = await other.connection(0).zrange("asgisink", 0, -1)
        await other.close_pools()
        return seen | {up.deserialize(one)["n"] for one in raw} == set(range(10))

    await await_for(all_arrived, 10, "all of them")
    assert server.running
    await up.close_pools()


@pytest.mark.parametrize("site", ["postgres"], indirect=True)
def test_it_stops_although_the_database_does_not_answer(site: Site) -> None:
    server = site.rundelay()
    assert site.database
    connection = connections[site.database]
    with transaction.atomic(using=site.database), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE delayserver_delayedmessage")
        time.sleep(6)  # by then it has looked, and waits for the lock
        start = time.monotonic()
        server.terminate()
        assert server.wait() == 0
        assert time.monotonic() - start <= 5
