"""A layer on several Redis hosts, a store on a Redis Cluster, a layer behind Sentinel."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
import redis
from channels_redis.core import RedisChannelLayer

from delayserver.conf import REDIS_LAYER, LayerSettings
from delayserver.message import Message
from delayserver.stores.redis import RedisStore

from ..support.redis_cluster import RedisCluster
from ..support.servers import RedisServer, free_port
from ..support.wait import await_for, wait_for
from .conftest import Site

LATE_MS = 1_000  # on a busy machine; a host that is away costs others nothing


class ManyHosts(Site):
    """A project whose layer lies on several hosts, and so does the store."""

    hosts: list[str]

    @property
    def env(self) -> dict[str, str]:
        hosts = [{"address": url, "socket_timeout": None} for url in self.hosts]
        layers = {"default": {"BACKEND": REDIS_LAYER, "CONFIG": {"hosts": hosts, **self.config}}}
        return {**super().env, "DELAYSERVER_TEST_LAYERS": json.dumps(layers)}

    def layer(self) -> RedisChannelLayer:
        return RedisChannelLayer(hosts=[{"address": url, "socket_timeout": None} for url in self.hosts], **self.config)


@pytest.fixture
def servers() -> Iterator[list[RedisServer]]:
    with ExitStack() as ending:
        yield [ending.enter_context(RedisServer(aof=True)) for _ in range(3)]


@pytest.fixture
def site(servers: list[RedisServer], start_process: Any) -> ManyHosts:
    site = ManyHosts("redis", servers[0].url, start_process, config={"capacity": 2_000})
    site.hosts = [server.url for server in servers]
    return site


@pytest.fixture
async def layer(site: ManyHosts) -> AsyncIterator[RedisChannelLayer]:
    layer = site.layer()
    yield layer
    await layer.close_pools()


SEND = """
import asyncio
from delayserver import asend_later
async def send():
    for n in range({number}):
        key = {{"key": f"{channel} {{n}}"}} if n % 3 == 0 else {{}}
        await asend_later({channel!r}, {{"type": "probe", "n": n}}, delay={delay}, **key)
asyncio.run(send())
print("sent")
"""


def taken_from(server: RedisServer, layer: RedisChannelLayer, channel: str) -> list[int]:
    """What lies on a general channel of one host, taken off."""
    with redis.Redis.from_url(server.url) as client:
        found = client.zpopmin(f"{layer.prefix}{channel}", 10_000)
    return [layer.deserialize(member)["n"] for member, _ in found]


async def collected(servers: list[RedisServer], layer: RedisChannelLayer, number: int) -> Counter[int]:
    """So many messages, from the channel ``sink`` of every host."""
    seen: Counter[int] = Counter()

    def collect() -> bool:
        for server in servers:
            seen.update(taken_from(server, layer, "sink"))
        return seen.total() >= number

    await await_for(collect, 10, f"{number} messages on the hosts")
    return seen


def waiting(server: RedisServer) -> int:
    with redis.Redis.from_url(server.url) as client:
        return int(client.zcard("{delayserver:asgi}:waiting"))


async def test_messages_wait_on_every_host_and_arrive_once(
    site: ManyHosts, servers: list[RedisServer], layer: RedisChannelLayer
) -> None:
    site.rundelay()
    site.rundelay()
    specific = await layer.new_channel()
    for channel in ("sink", specific):
        site.run(SEND.format(number=300, channel=channel, delay=1_500)).wait_for_line("sent")
        if channel == "sink":
            assert all(waiting(server) > 50 for server in servers)
    seen = await collected(servers, layer, 300)
    assert seen == Counter(range(300))
    received = [(await asyncio.wait_for(layer.receive(specific), 10))["n"] for _ in range(300)]
    assert Counter(received) == Counter(range(300))
    assert [waiting(server) for server in servers] == [0, 0, 0]


async def test_a_key_is_one_however_many_hosts_there_are(site: ManyHosts, servers: list[RedisServer]) -> None:
    sender = site.run(
        "from delayserver import send_later\n"
        "for n in range(20):\n"
        "    print('created', send_later('sink', {'type': 'probe'}, delay=60_000, key='the key').created)\n"
    )
    assert sender.wait() == 0
    assert sum("created True" in line.text for line in sender.lines) == 1
    assert sum(map(waiting, servers)) == 1


async def test_intake_reads_every_host(site: ManyHosts, servers: list[RedisServer], layer: RedisChannelLayer) -> None:
    specific = await layer.new_channel()
    for n in range(60):
        keyed = {"key": f"key {n}"} if n % 3 == 0 else {}
        channel = "sink" if n % 2 else specific
        await layer.send(
            "asgi.delay", {"channel": channel, "delay": 300, "content": {"type": "probe", "n": n}, **keyed}
        )
    site.rundelay()
    received = [(await asyncio.wait_for(layer.receive(specific), 10))["n"] for _ in range(30)]
    assert Counter(received) == Counter(range(0, 60, 2))
    seen = await collected(servers, layer, 30)
    assert seen == Counter(range(1, 60, 2))


@pytest.mark.parametrize("when", ["from the start", "in the middle"])
async def test_a_host_that_is_down_delays_only_its_own_share(
    site: ManyHosts, servers: list[RedisServer], layer: RedisChannelLayer, when: str
) -> None:
    stores = RedisStore.shards(LayerSettings("default", REDIS_LAYER, {"hosts": site.hosts}))
    away, *others = servers
    await put_on(stores, [away], 0)
    if when == "from the start":
        away.stop()
    server = site.rundelay()
    if when == "in the middle":
        away.stop()
    server.wait_for_line("trying again")
    for n in range(1, 20):
        due = await put_on(stores, others, n)
        for other in others:
            late = await lateness(other, n, due)
            assert 0 <= late <= LATE_MS
    away.start()
    await lateness(away, 0, 0)
    await put_on(stores, servers, 20)
    for each in servers:
        await lateness(each, 20, 0)
    assert server.running
    for store in stores:
        await store.aclose()


async def put_on(stores: Sequence[RedisStore], servers: list[RedisServer], n: int) -> float:
    """A message on each of the servers; when the first is due, in seconds."""
    dues = []
    for store in stores:
        if any(server.url == str(store) for server in servers):
            message = Message(channel="sink", content={"type": "probe", "n": n}, delay=50)
            clock = await store.aread_clock()
            dues.append((await store.aput([message.waiting(clock, 1_000)]))[0].due)
    return min(dues) / 1_000


async def lateness(server: RedisServer, n: int, due: float) -> float:
    """How many ms after `due` message `n` lies on the channel of this host, from where it is taken."""
    with redis.Redis.from_url(server.url) as client:
        found: list[tuple[bytes, float]] = await await_for(
            lambda: client.zrange("asgisink", 0, -1, withscores=True), 10, f"message {n}"
        )
        client.delete("asgisink")
    [(member, at)] = found
    assert member.endswith(bytes([n]))
    return (at - due) * 1_000


async def test_a_store_on_a_redis_cluster(
    site: ManyHosts, redis_cluster: RedisCluster, servers: list[RedisServer]
) -> None:
    site.hosts = site.hosts[:1]
    site.settings["STORE_OPTIONS"] = {"url": redis_cluster.url, "cluster": True}
    layer = site.layer()
    server = site.rundelay()
    site.run(SEND.format(number=200, channel="sink", delay=300)).wait_for_line("sent")
    await layer.send("asgi.delay", {"channel": "sink", "delay": 300, "content": {"type": "probe", "n": 200}})
    received = [(await asyncio.wait_for(layer.receive("sink"), 10))["n"] for _ in range(201)]
    assert Counter(received) == Counter(range(201))
    sent = time.time()
    site.run(SEND.format(number=1, channel="sink", delay=0)).wait_for_line("sent")
    await asyncio.wait_for(layer.receive("sink"), 10)
    assert time.time() - sent < 5
    assert server.running
    await layer.close_pools()
    wait_for(lambda: not any("waiting" in key for key in redis_cluster.all_keys()), 5, "an empty store")
    redis_cluster.empty()


async def test_two_servers_take_what_goes_to_another_host_once(
    site: ManyHosts, servers: list[RedisServer], layer: RedisChannelLayer
) -> None:
    """Read on one host, stored on another: the servers must not both do it."""
    site.rundelay()
    site.rundelay()
    specific = await layer.new_channel()
    for n in range(600):
        await layer.send("asgi.delay", {"channel": specific, "delay": 0, "content": {"type": "probe", "n": n}})
        if n % 50 == 49:
            await asyncio.sleep(0.05)
    seen = Counter([(await asyncio.wait_for(layer.receive(specific), 10))["n"] for _ in range(600)])
    assert seen == Counter(range(600))
    wait_for(lambda: sum(map(waiting, servers)) == 0, 5, "an empty store")
    keys = layer.prefix + layer.non_local_name(specific)
    assert [server.client().zcard(keys) for server in servers] == [0, 0, 0]


async def test_what_is_sent_on_asgi_delay_for_a_host_that_is_down_holds_up_nothing_else(
    site: ManyHosts, servers: list[RedisServer], layer: RedisChannelLayer
) -> None:
    working, away = servers[0], servers[2]
    server = site.rundelay("--no-intake")
    server.end()
    for_away = next(name for n in range(100) if layer.consistent_hash(name := f"specific.x{n}!") == 2)
    away.stop()
    server = site.rundelay()
    wire = {"delay": 50, "content": {"type": "probe", "n": 1}}
    only = RedisChannelLayer(hosts=[working.url], capacity=2_000)  # which sends to the one host alone
    for n in range(150):
        await only.send("asgi.delay", {**wire, "channel": f"{for_away}{n}"})
    sent = time.time()
    await only.send("asgi.delay", {**wire, "channel": "sink"})
    await lateness(working, 1, sent)
    server.wait_for_line("intake to .*trying again")
    with working.client() as client:
        assert client.zcard("asgiasgi.delay") == 150
    away.start()
    wait_for(lambda: working.client().zcard("asgiasgi.delay") == 0, 30, "the rest to be taken in")
    await only.close_pools()


def test_metrics_still_tell_what_they_know_while_a_host_is_away(site: ManyHosts, servers: list[RedisServer]) -> None:
    port = free_port()
    site.rundelay("--metrics-port", str(port))
    site.run(SEND.format(number=9, channel="sink", delay=3_600_000)).wait_for_line("sent")
    there = sum(map(waiting, servers[:2]))
    servers[2].stop()

    def metrics() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    text = wait_for(lambda: text if "stores_away 1.0" in (text := metrics()) else "", 10, "a store that is away")
    assert f"delayserver_waiting {there}.0" in text
    assert "delayserver_events_total" in text
