"""How fast messages get in and out, next to what Redis itself does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from channels_redis.core import RedisChannelLayer

from delayserver.message import new_id
from tests.support.servers import RedisServer

from .parts import CAPACITY, PAYLOAD, YEAR_MS, Row, client_of, messages, new_store, quantile, rundelay

MOVE = """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf', 'LIMIT', 0, 250)
for _, member in ipairs(due) do
  redis.call('ZADD', KEYS[2], 1, member)
  redis.call('ZREM', KEYS[1], member)
end
return #due
"""


def rows(redis: RedisServer) -> list[Row]:
    return [_send_one_by_one(redis), _put_many(redis), _hand_over(redis), _intake(redis), *_lateness(redis)]


def _per_second(number: int, act: Callable[[], None]) -> float:
    start = time.perf_counter()
    act()
    return number / (time.perf_counter() - start)


def _row(work: str, rate: float, bare: float, what: str) -> Row:
    return Row(work, f"{rate:,.0f}/s", f"{what}: {bare:,.0f}/s", f"{rate / bare:.0%}")


def _send_one_by_one(redis: RedisServer, number: int = 5_000) -> Row:
    rate, bare = asyncio.run(_awaited(redis, number))
    return _row("put, awaited one by one", rate, bare, "awaited ZADD")


async def _awaited(redis: RedisServer, number: int) -> tuple[float, float]:
    store = new_store(redis)
    await store.open()
    client, start = store._link.here, time.perf_counter()
    for n in range(number):
        await client.zadd("bare", {b"%16d" % n + b"x" * 97: n})
    bare, start = number / (time.perf_counter() - start), time.perf_counter()
    for batch in messages(number, store.clock, delay=YEAR_MS):
        for message in batch:
            await store.aput([message])
    rate = number / (time.perf_counter() - start)
    await store.aclose()
    return rate, bare


def _put_many(redis: RedisServer, number: int = 50_000) -> Row:
    store = new_store(redis)
    clock = store.read_clock()

    def put() -> None:
        for batch in messages(number, clock, delay=YEAR_MS):
            store.put(batch)

    with client_of(redis) as client:

        def pipelined() -> None:
            for start in range(0, number, 500):
                pipe = client.pipeline(transaction=False)
                for n in range(start, start + 500):
                    pipe.zadd("bare", {b"%16d" % n + b"x" * 97: n})
                pipe.execute()

        bare = _per_second(number, pipelined)
    return _row("put, 500 a call, content packed and checked", _per_second(number, put), bare, "pipelined ZADD")


def _hand_over(redis: RedisServer, number: int = 50_000) -> Row:
    store = new_store(redis)
    with client_of(redis) as client:
        for batch in messages(number, store.read_clock(), delay=0):
            store.put(batch)
        client.zadd("from", {b"%16d" % n + b"x" * 97: n for n in range(number)})
        move = client.register_script(MOVE)

        def bare_move() -> None:
            while move(keys=["from", "to"]):
                pass

        bare = _per_second(number, bare_move)
        with rundelay(redis):
            deadline = time.monotonic() + 60
            while client.zcard("asgisink") < number and time.monotonic() < deadline:
                time.sleep(0.005)
            times = [score for _, score in client.zrange("asgisink", 0, -1, withscores=True)]
    return _row("hand over what is due", number / (max(times) - min(times)), bare, "bare Lua move")


def _intake(redis: RedisServer, number: int = 5_000) -> Row:
    rate, bare = asyncio.run(_drained(redis, number))
    return _row("intake of a backlog on asgi.delay", rate, bare, "channels_redis receive")


async def _drained(redis: RedisServer, number: int) -> tuple[float, float]:
    client_of(redis).close()
    layer = RedisChannelLayer(hosts=[{"address": redis.url, "socket_timeout": None}], capacity=CAPACITY)
    for channel in ("asgi.delay", "bare.channel"):
        for n in range(number):
            await layer.send(channel, {"channel": "sink", "content": {**PAYLOAD, "n": n}, "delay": YEAR_MS})
    start = time.perf_counter()
    for _ in range(number):
        await layer.receive("bare.channel")
    bare = number / (time.perf_counter() - start)
    with rundelay(redis):
        # The server began before it said that it is ready; what is left is timed from here.
        connection = layer.connection(0)
        left, start = await connection.zcard("asgiasgi.delay"), time.perf_counter()
        while await connection.zcard("asgiasgi.delay"):
            await asyncio.sleep(0.001)
        rate = left / (time.perf_counter() - start)
    await layer.close_pools()
    return rate, bare


def _lateness(redis: RedisServer) -> list[Row]:
    return [_lateness_at(redis, per_second) for per_second in (200, 1_000)]


def _lateness_at(redis: RedisServer, per_second: int, seconds: int = 5) -> Row:
    """From due to on the channel, both by Redis's clock: the layer's score is the time of the hand-over."""
    store = new_store(redis)
    number = per_second * seconds
    with client_of(redis) as client, rundelay(redis):
        first = store.read_clock().due(2_000)
        due = [first + n * 1_000 // per_second for n in range(number)]
        for start in range(0, number, 500):
            batch = zip(next(messages(500, store.clock, delay=0)), due[start : start + 500], strict=False)
            store.put([replace(message, due=instant, id=new_id(instant)) for message, instant in batch])
        deadline = time.monotonic() + seconds + 10
        while client.zcard("asgisink") < number and time.monotonic() < deadline:
            time.sleep(0.05)
        went_out = [score for _, score in client.zrange("asgisink", 0, -1, withscores=True)]
    late = [out * 1_000 - wanted for out, wanted in zip(sorted(went_out), due, strict=True)]
    figure = f"p50 {quantile(late, 0.5):.2f} ms, p99 {quantile(late, 0.99):.2f} ms, max {max(late):.2f} ms"
    return Row(f"lateness on the channel, {per_second:,}/s", figure, f"earliest {min(late):.3f} ms")
