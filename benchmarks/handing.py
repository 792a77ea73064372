"""How fast messages come in from ``asgi.delay`` and go out on their channel, next to what Redis itself does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import redis

from tests.support.servers import RedisServer

from .contenders import rundelay
from .parts import (
    BATCH,
    CHANNEL,
    CHANNEL_KEY,
    YEAR_MS,
    Goal,
    Row,
    Run,
    alternate,
    bare_members,
    client_of,
    compare,
    new_layer,
    new_store,
    payload,
    per_second,
)
from .schedule import fill

INTAKE = "asgi.delay"
WIRE = {"channel": CHANNEL, "content": payload(), "delay": YEAR_MS}

MOVE = """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf', 'LIMIT', 0, 250)
for _, member in ipairs(due) do
  redis.call('ZADD', KEYS[2], 1, member)
  redis.call('ZREM', KEYS[1], member)
end
return #due
"""


def rows(run: Run) -> Iterator[Row]:
    yield _hand_over(run)
    yield _intake(run)


def _hand_over(run: Run) -> Row:
    number = run.size(50_000, 20_000)
    pair = alternate(run.rounds, lambda: _handed_over(run, number), lambda: _moved(run, number))
    goal = Goal("≥ 100,000/s, ≥ 25 %", pair.ours >= 100_000 and pair.ratio >= 0.25)
    return compare(f"hand over {number:,} that are due, Redis store", pair, "Lua moves a member", goal)


def _handed_over(run: Run, number: int) -> float:
    with client_of(run.redis) as client:
        fill(new_store(run.redis), number, delay=0)
        with rundelay(run.redis):
            return rate_on_channel(client, number)


def rate_on_channel(client: redis.Redis, number: int, timeout: float = 120.0) -> float:
    """Messages a second, from the first on the channel to the last; a score is the instant of its hand-over."""
    deadline = time.monotonic() + timeout
    while client.zcard(CHANNEL_KEY) < number:
        assert time.monotonic() < deadline, f"expected {number} messages on the channel, not all came"
        time.sleep(0.02)
    ends: list[Any] = [client.zrange(CHANNEL_KEY, at, at, withscores=True) for at in (0, -1)]
    (((_, first),), ((_, last),)) = ends
    return float(number / (last - first))


def _moved(run: Run, number: int) -> float:
    with client_of(run.redis) as client:
        members = bare_members(number)
        for start in range(0, number, BATCH):
            client.zadd("from", dict.fromkeys(members[start : start + BATCH], 1.0))
        move = client.register_script(MOVE)
        return per_second(number, lambda: _move_all(move))


def _move_all(move: redis.commands.core.Script) -> None:
    while move(keys=["from", "to"]):
        pass


def _intake(run: Run) -> Row:
    number = run.size(20_000, 10_000)
    pair = alternate(run.rounds, lambda: _taken_in(run, number), lambda: _received(run, number // 5))
    goal = Goal("≥ 15,000/s", pair.ours >= 15_000)
    return compare("intake of a backlog on `asgi.delay`", pair, "`receive` of channels_redis", goal)


def _taken_in(run: Run, number: int) -> float:
    """A server begins to read before it says that it is ready: what is left then is timed."""
    with client_of(run.redis) as client:
        lay_on_channel(run.redis, INTAKE, WIRE, number)
        with rundelay(run.redis):
            left, start = int(client.zcard(f"asgi{INTAKE}")), time.perf_counter()
            assert left > number // 10, f"expected some of {number} messages to be left, {left} are"
            while client.zcard(f"asgi{INTAKE}"):
                time.sleep(0.002)
            return left / (time.perf_counter() - start)


def lay_on_channel(server: RedisServer, channel: str, message: dict[str, Any], number: int) -> None:
    """As channels_redis lays a message on a channel, but many at once."""
    layer = new_layer(server)
    with client_of(server, empty=False) as client:
        for start in range(0, number, BATCH):
            batch = range(min(BATCH, number - start))
            client.zadd(f"asgi{channel}", {layer.serialize(message): time.time() for _ in batch})


def _received(run: Run, number: int) -> float:
    client_of(run.redis).close()
    lay_on_channel(run.redis, "bare.channel", WIRE, number)
    return asyncio.run(_receive_all(run, number))


async def _receive_all(run: Run, number: int) -> float:
    layer, start = new_layer(run.redis), time.perf_counter()
    for _ in range(number):
        await layer.receive("bare.channel")
    figure = number / (time.perf_counter() - start)
    await layer.close_pools()
    return figure
