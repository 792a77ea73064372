"""What people and callers ask of a million messages that wait: a page, a tally, one message, a cancel."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import chain
from typing import LiteralString

import psycopg
import redis.asyncio

from delayserver.stores import Stores
from delayserver.stores.base import Named, Store
from delayserver.stores.shelf import Wanted
from delayserver.stores.shelves import Shelves
from tests.support.databases import add_database, remove_database
from tests.support.servers import PostgresServer

from .database import ALIAS, new_store, parameters
from .parts import YEAR_MS, Goal, Row, Run, alternate, bare_members, client_of, compare, messages
from .parts import new_store as new_redis_store
from .schedule import fill

PAGE = 50
ENOUGH_MS = 100

FILL: LiteralString = """
INSERT INTO delayserver_delayedmessage (id, layer, home, due, generation, kind, name, key, body, options)
SELECT lpad(to_hex(n), 32, '0'), 'default', '', %s + n, 0, 'channel', 'sink-' || n %% 100, NULL, %s, ''
FROM generate_series(1, %s) n
"""
FIRST: LiteralString = "SELECT * FROM delayserver_delayedmessage ORDER BY layer, due, id LIMIT 50"


def rows(run: Run) -> Iterator[Row]:
    number = run.size(1_000_000, 20_000)
    store = new_redis_store(run.redis)
    with client_of(run.redis) as client:
        fill(store, number)
        [key] = client.scan_iter("{delayserver:*}:waiting")
        first = partial(client.zrange, key, 0, PAGE - 1, withscores=True)
        yield from _looks(f"{number:,} in Redis", store, "`ZRANGE` of 50", first)
        yield _cancels(run)
    with PostgresServer() as postgres:
        add_database(ALIAS, postgres.settings)
        try:
            with psycopg.connect(**parameters(postgres.settings), autocommit=True) as connection:
                connection.execute(FILL, (round(time.time() * 1000) + YEAR_MS, b"x" * 97, number))
                connection.execute("VACUUM ANALYZE delayserver_delayedmessage")
                select = partial(connection.execute, FIRST)
                yield from _looks(f"{number:,} in PostgreSQL", new_store(), "`SELECT` of 50", select)
        finally:
            remove_database(ALIAS)


def _looks(where: str, store: Store, what: str, bare: Callable[[], object]) -> Iterator[Row]:
    page, tally = asyncio.run(_timed_looks(store))
    other = statistics.median(_seconds(bare) for _ in range(5)) * 1000
    goal = Goal(f"≤ {ENOUGH_MS} ms", page <= ENOUGH_MS)
    yield Row(f"first page of {where}", f"{page:.1f} ms", f"{what}: {other:.1f} ms", f"{page / other:.1f}x", goal=goal)
    yield Row(f"`delays stats` of {where}", f"{tally:,.0f} ms")


async def _timed_looks(store: Store) -> tuple[float, float]:
    """The first page, and a tally of all, in milliseconds."""
    shelves = Shelves(Stores([store]))
    await shelves.page(Wanted(), PAGE)  # pays for the connection
    pages = [await _took(lambda: shelves.page(Wanted(), PAGE)) for _ in range(5)]
    tally = await _took(lambda: _counted(shelves))
    await store.aclose()
    return statistics.median(pages), tally


async def _counted(shelves: Shelves) -> None:
    async for _ in shelves.overview():
        pass


async def _took(act: Callable[[], Awaitable[object]]) -> float:
    start = time.perf_counter()
    await act()
    return (time.perf_counter() - start) * 1000


def _seconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def _cancels(run: Run) -> Row:
    number = run.size(4_000, 1_000)
    pair = alternate(
        run.rounds,
        lambda: asyncio.run(_awaited_cancels(run, number)),
        lambda: asyncio.run(_awaited_zrems(run.redis.url, number)),
    )
    return compare("cancel by id, awaited one by one", pair, "awaited `ZREM`")


async def _awaited_cancels(run: Run, number: int) -> float:
    store = new_redis_store(run.redis)
    waiting = list(chain.from_iterable(messages(number, await store.aread_clock())))
    for start in range(0, number, 500):
        await store.aput(waiting[start : start + 500])
    begin = time.perf_counter()
    for message in waiting:
        [in_time] = await store.acancel([Named(message.id)])
        assert in_time
    figure = number / (time.perf_counter() - begin)
    await store.aclose()
    return figure


async def _awaited_zrems(url: str, number: int) -> float:
    async with redis.asyncio.Redis.from_url(url) as client:
        members = bare_members(number)
        await client.zadd("bare", dict.fromkeys(members, 1.0))
        begin = time.perf_counter()
        for member in members:
            await client.zrem("bare", member)
        return number / (time.perf_counter() - begin)
