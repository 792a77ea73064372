"""How fast messages get in: one by one and in bulk, next to as many bare ZADDs; and the peers' own calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from itertools import chain
from typing import Any

import redis.asyncio

from delayserver import Message, asend_later, send_later, send_many_later
from delayserver.clock import Clock
from delayserver.stores.base import Store

from .contenders import now_ms
from .parts import (
    BATCH,
    CHANNEL,
    YEAR_MS,
    Goal,
    Row,
    Run,
    against,
    alternate,
    bare_members,
    client_of,
    compare,
    messages,
    new_store,
    payload,
    per_second,
    rate,
)
from .peers import PEERS


def rows(run: Run) -> Iterator[Row]:
    yield _put_awaited(run)
    yield _send_awaited(run)
    yield _send(run)
    yield _put_many(run)
    yield _send_many(run)


def _put_awaited(run: Run) -> Row:
    number = run.size(4_000, 1_000)
    pair = alternate(
        run.rounds,
        lambda: asyncio.run(_awaited_puts(run, number)),
        lambda: asyncio.run(awaited_zadds(run.redis.url, number)),
    )
    return compare("schedule: `put`, awaited one by one", pair, "awaited `ZADD`", Goal("≥ 70 %", pair.ratio >= 0.7))


def _send_awaited(run: Run) -> Row:
    number = run.size(4_000, 1_000)
    pair = alternate(
        run.rounds,
        lambda: asyncio.run(_awaited_sends(number)),
        lambda: asyncio.run(awaited_zadds(run.redis.url, number)),
    )
    goal = Goal("≥ 70 %", pair.ratio >= 0.7)
    return compare("schedule: `asend_later`, awaited one by one", pair, "awaited `ZADD`", goal)


def _send(run: Run) -> Row:
    number = run.size(4_000, 1_000)
    with client_of(run.redis) as client:
        members = bare_members(number)
        pair = alternate(
            run.rounds,
            lambda: per_second(number, lambda: _sends(number)),
            lambda: per_second(number, lambda: [client.zadd("bare", {member: 1.0}) for member in members]),
        )
    rates = {name: _peer(run, name, run.size(2_000, 500)) for name in run.peers}
    calls = {PEERS[name].title: 1_000_000 / figure for name, figure in rates.items()}
    run.facts.append(against("A call of `send_later`", 1_000_000 / pair.ours, calls, "µs"))
    peers = {name: rate(figure) for name, figure in rates.items()}
    return compare("schedule: `send_later`, one by one", pair, "`ZADD`", Goal("≥ 70 %", pair.ratio >= 0.7), peers)


def _put_many(run: Run) -> Row:
    number = run.size(50_000, 10_000)
    store = new_store(run.redis)
    with client_of(run.redis) as client:
        members = bare_members(number)
        pair = alternate(
            run.rounds,
            lambda: per_second(number, lambda: fill(store, number)),
            lambda: per_second(number, lambda: _pipelined_zadds(client, members)),
        )
    goal = Goal("≥ 60,000/s", pair.ours >= 60_000)
    return compare("schedule: `put`, 500 a call", pair, "pipelined `ZADD`", goal)


def _send_many(run: Run) -> Row:
    number = run.size(50_000, 10_000)
    with client_of(run.redis) as client:
        members = bare_members(number)
        pair = alternate(
            run.rounds,
            lambda: per_second(number, lambda: send_many_later(_requests(number))),
            lambda: per_second(number, lambda: _pipelined_zadds(client, members)),
        )
    goal = Goal("≥ 60,000/s", pair.ours >= 60_000)
    return compare("schedule: `send_many_later`, of a generator", pair, "pipelined `ZADD`", goal)


# -- ours ------------------------------------------------------------------------------------------------------


def fill(store: Store, number: int, *, delay: int = YEAR_MS) -> None:
    """Put messages in batches; they are made, checked and packed on the way."""
    for batch in messages(number, store.read_clock(), delay=delay):
        store.put(batch)


async def _awaited_puts(run: Run, number: int) -> float:
    store = new_store(run.redis)
    try:
        return await awaited_puts(store, number)
    finally:
        await store.aclose()


async def awaited_puts(store: Store, number: int) -> float:
    """Puts a second; each message is made, checked and packed first."""
    clock = await store.aread_clock()
    return await _timed(number, lambda: _put_all(store, number, clock))


async def _put_all(store: Store, number: int, clock: Clock) -> None:
    for message in chain.from_iterable(messages(number, clock)):
        await store.aput([message])


async def _awaited_sends(number: int) -> float:
    await asend_later(CHANNEL, payload(), delay=YEAR_MS)
    return await _timed(number, lambda: _send_all(number))


async def _send_all(number: int) -> None:
    for _ in range(number):
        await asend_later(CHANNEL, payload(), delay=YEAR_MS)


def _requests(number: int) -> Iterator[Message]:
    for _ in range(number):
        yield Message(channel=CHANNEL, content=payload(), delay=YEAR_MS)


def _sends(number: int) -> None:
    for _ in range(number):
        send_later(CHANNEL, payload(), delay=YEAR_MS)


# -- bare ------------------------------------------------------------------------------------------------------


async def awaited_zadds(url: str, number: int) -> float:
    async with redis.asyncio.Redis.from_url(url) as client:
        await client.ping()
        members = bare_members(number)
        return await _timed(number, lambda: _zadd_all(client, members))


async def _zadd_all(client: redis.asyncio.Redis, members: list[bytes]) -> None:
    for member in members:
        await client.zadd("bare", {member: 1.0})


def _pipelined_zadds(client: redis.Redis, members: list[bytes]) -> None:
    for start in range(0, len(members), BATCH):
        pipe = client.pipeline(transaction=False)
        for member in members[start : start + BATCH]:
            pipe.zadd("bare", {member: 1.0})
        pipe.execute()


# -- peers -----------------------------------------------------------------------------------------------------


def _peer(run: Run, name: str, number: int) -> float:
    peer, due = PEERS[name](run.redis), now_ms() + YEAR_MS
    peer.schedule(due)
    return per_second(number, lambda: [peer.schedule(due) for _ in range(number)])


# -- figures ---------------------------------------------------------------------------------------------------


async def _timed(number: int, act: Callable[[], Coroutine[Any, Any, None]]) -> float:
    start = time.perf_counter()
    await act()
    return number / (time.perf_counter() - start)
