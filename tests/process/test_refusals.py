"""No input ends a server: whatever lies on `asgi.delay` between two good messages, both arrive in time."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgpack
import pytest
from channels_redis.core import RedisChannelLayer

from delayserver.stores.base import Store

from ..support.process import Process
from ..support.wait import await_for
from .conftest import Site, on_every_store

LATE_MS = 250
KEY = "asgiasgi.delay"
RANDOM = b"r" * 12
GOOD: dict[str, Any] = {"channel": "sink", "delay": 10, "content": {"type": "probe"}}

REFUSED: dict[str, tuple[object, str]] = {
    "no content": ({"channel": "sink", "delay": 1}, "expected content"),
    "unknown key": ({**GOOD, "colour": "red"}, "expected no keys but"),
    "no target": ({"delay": 1, "content": {"type": "probe"}}, "expected one of channel and group, got neither"),
    "two targets": ({**GOOD, "group": "g"}, "expected one of channel and group, got both"),
    "no time": ({"channel": "sink", "content": {"type": "probe"}}, "expected one of delay and eta, got neither"),
    "two times": ({**GOOD, "eta": "2030-01-01T00:00:00Z"}, "expected one of delay and eta, got both"),
    "negative delay": ({**GOOD, "delay": -1}, "expected delay"),
    "float delay": ({**GOOD, "delay": 1.5}, "expected delay"),
    "bool delay": ({**GOOD, "delay": True}, "expected delay"),
    "text delay": ({**GOOD, "delay": "200"}, "expected delay"),
    "over 100 years": ({**GOOD, "delay": 101 * 365 * 86_400_000}, "expected delay"),
    "eta without offset": ({"channel": "sink", "content": {"type": "probe"}, "eta": "2030-01-01"}, "expected eta"),
    "bad channel": ({**GOOD, "channel": "a\n"}, "expected channel"),
    "bad group": ({"group": "a b", "delay": 1, "content": {"type": "probe"}}, "expected group"),
    "content no dict": ({**GOOD, "content": [1]}, "expected content to be a dict"),
    "no type": ({**GOOD, "content": {"n": 1}}, "expected content to have a type"),
    "reserved key": ({**GOOD, "content": {"type": "x", "__delay__": 1}}, "reserved key __delay__"),
    "reserved address": ({**GOOD, "content": {"type": "x", "__asgi_channel__": "y"}}, "reserved key __asgi_channel__"),
    "deep content": ({**GOOD, "content": {"type": "x", "deep": None}}, "nested at most"),
    "own channel": ({**GOOD, "channel": "asgi.delay"}, "other than asgi.delay"),
    "large content": ({**GOOD, "content": {"type": "x", "blob": b"x" * 1_048_576}}, "at most 1048576 bytes"),
    "bad retry": ({**GOOD, "retry": {"max_attempts": 0}}, "retry max_attempts"),
    "bad key": ({**GOOD, "key": ""}, "expected key"),
    "bad on_conflict": ({**GOOD, "on_conflict": "fight"}, "expected on_conflict"),
    "bad expires": ({**GOOD, "expires": -1}, "expected expires"),
}


def nested(depth: int) -> object:
    value: object = None
    for _ in range(depth):
        value = [value]
    return value


RAW: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "does not decode"),
    "no msgpack": (b"\xc1", "does not decode"),
    "half a msgpack": (msgpack.packb(GOOD)[:20], "does not decode"),
    "a scalar": (msgpack.packb(7), "expected a dict, got 7"),
    "integer keys": (msgpack.packb({1: 2}), "does not decode"),
    "invalid UTF-8": (b"\x81\xa1a\xa2\xff\xfe", "does not decode"),
    "nesting of 100 000": (b"\x91" * 100_000 + b"\xc0", "does not decode"),
    "control characters": (msgpack.packb({**GOOD, "\x1b[2J\n": "\r"}), r"expected no keys but"),
    "10 MB": (msgpack.packb({**GOOD, "content": {"type": "x", "blob": b"x" * 10_000_000}}), "at most"),
}
HUGE = msgpack.packb({**GOOD, "content": {"type": "x", "blob": b"x" * 100_000_000}})


def a_message(number: int) -> dict[str, Any]:
    return {"channel": "sink", "delay": 1_000, "content": {"type": "probe", "n": number}}


async def arrives_in_time(layer: RedisChannelLayer, number: int, sent: float, late: float = LATE_MS) -> None:
    message = await asyncio.wait_for(layer.receive("sink"), 10)
    took = (time.time() - sent) * 1000
    assert message == {"type": "probe", "n": number}
    assert 1_000 <= took <= 1_000 + late


def refusals(server: Process) -> list[str]:
    return [line.text for line in server.lines if "refused a message" in line.text]


@on_every_store
async def test_every_refusal_is_one_line_and_one_dead_letter(
    site: Site, layer: RedisChannelLayer, store: Store
) -> None:
    server = site.rundelay()
    first = time.time()
    await layer.send("asgi.delay", a_message(1))
    for name, (wire, _) in REFUSED.items():
        if name == "deep content":
            wire["content"]["deep"] = nested(200)  # type: ignore[index]
        await layer.send("asgi.delay", wire)
    second = time.time()
    await layer.send("asgi.delay", a_message(2))
    await arrives_in_time(layer, 1, first)
    await arrives_in_time(layer, 2, second)
    lines, letters = refusals(server), await store.dead_letters(100)
    assert len(lines) == len(letters) == len(REFUSED)
    for (name, (_, reason)), line, letter in zip(REFUSED.items(), lines, reversed(letters), strict=True):
        assert reason in line, f"{name}: {line}"
        assert reason in letter.reason, name
        assert letter.source == "asgi.delay"
        assert len(line) < 1_500, name
    assert server.running


async def test_what_only_a_raw_writer_can_put_there_is_one_line_and_one_dead_letter(
    site: Site, layer: RedisChannelLayer, store: Store
) -> None:
    server = site.rundelay()
    first = time.time()
    await layer.send("asgi.delay", a_message(1))
    with site.redis() as client:
        for raw, _ in RAW.values():
            client.zadd(KEY, {RANDOM + raw: time.time()})
    second = time.time()
    await layer.send("asgi.delay", a_message(2))
    await arrives_in_time(layer, 1, first)
    await arrives_in_time(layer, 2, second)
    lines = refusals(server)
    assert len(lines) == len(await store.dead_letters(100)) == len(RAW)
    for (name, (_, reason)), line in zip(RAW.items(), lines, strict=True):
        assert reason in line, f"{name}: {line}"
        assert line.isprintable(), name
        assert len(line) < 1_500, name
    assert server.running


async def test_a_score_that_is_no_time_stops_nothing(site: Site, layer: RedisChannelLayer, store: Store) -> None:
    server = site.rundelay()
    with site.redis() as client:
        for n, score in enumerate(("-inf", "inf", "1e300")):
            client.zadd(KEY, {RANDOM + msgpack.packb(n): score})
            client.zadd("{delayserver:asgi}:waiting", {b"junk %d" % n: score})
    sent = time.time()
    await layer.send("asgi.delay", a_message(1))
    await arrives_in_time(layer, 1, sent)
    assert len(refusals(server)) == 3
    with site.redis() as client:
        client.delete("{delayserver:asgi}:waiting")


async def test_100_mb_on_the_channel_are_refused_without_being_fetched(
    site: Site, layer: RedisChannelLayer, store: Store
) -> None:
    server = site.rundelay()
    before = peak_memory_kb(server.pid)
    with site.redis() as client:
        client.zadd(KEY, {RANDOM + HUGE: time.time()})
    sent = time.time()
    await layer.send("asgi.delay", a_message(1))
    await arrives_in_time(layer, 1, sent, late=1_000)  # Redis itself is busy with 100 MB for a while
    assert ["expected a message of at most" in line for line in refusals(server)] == [True]
    [letter] = await store.dead_letters(10)
    assert len(letter.body) <= 4_096
    assert peak_memory_kb(server.pid) - before < 20_000


def peak_memory_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


@pytest.mark.redis_keys("{delayserver}:set-aside:*")
@pytest.mark.parametrize("kind", ["set", "string", "list", "hash"])
async def test_a_key_of_another_type_is_set_aside_so_that_the_channel_works_again(
    site: Site, layer: RedisChannelLayer, kind: str
) -> None:
    server = site.rundelay()
    first = time.time()
    await layer.send("asgi.delay", a_message(1))
    with site.redis() as client:
        await await_for(lambda: not client.exists(KEY), 5, "an empty channel")
        put = {
            "set": lambda: client.sadd(KEY, "x"),
            "string": lambda: client.set(KEY, "x"),
            "list": lambda: client.rpush(KEY, "x"),
            "hash": lambda: client.hset(KEY, "x", "y"),
        }
        put[kind]()
        await await_for(lambda: not client.exists(KEY), 5, "the key to be set aside")
        assert client.ttl(f"{{delayserver}}:set-aside:{KEY}") > 0
    second = time.time()
    await layer.send("asgi.delay", a_message(2))
    await arrives_in_time(layer, 1, first)
    await arrives_in_time(layer, 2, second)
    assert len([line for line in server.lines if f"held a Redis {kind}" in line.text]) == 1
    assert server.running
