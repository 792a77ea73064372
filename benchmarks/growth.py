"""Whether it matters how many messages wait: 10^4, 10^5, 10^6, each on a Redis of its own, measured in turn."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import redis

from delayserver.stores.redis import RedisStore
from tests.support.servers import RedisServer

from .contenders import rundelay
from .lateness import on_channel
from .parts import Goal, Row, Run, client_of, distribution, new_layer, new_store, quantile, rate
from .schedule import awaited_puts, awaited_zadds, fill

PUTS = 2_000


@dataclass
class Size:
    """One number of pending messages, its Redis, and what was measured there."""

    pending: int
    server: RedisServer
    store: RedisStore
    client: redis.Redis
    rounds: list[list[float]] = field(default_factory=list)
    puts: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)

    @property
    def late(self) -> list[float]:
        return [late for one in self.rounds for late in one]

    @property
    def p99s(self) -> list[float]:
        return [quantile(one, 0.99) for one in self.rounds]


def rows(run: Run) -> Iterator[Row]:
    numbers = (1_000, 10_000) if run.quick else (10_000, 100_000, 1_000_000)
    with ExitStack() as ending:
        sizes = [_fill(number, ending) for number in numbers]
        for _ in range(run.rounds):
            for size in sizes:
                late = on_channel(size.client, new_layer(size.server), size.store, 200, run.size(4, 1))
                size.rounds.append(late)
        for _ in range(run.rounds + 2):
            for size in sizes:
                _put(size)
    run.curves["growth"] = [_curve(size) for size in sizes]
    for size in sizes:
        yield Row(f"lateness on the channel, 200/s, {size.pending:,} pending", distribution(size.late))
    for size in sizes:
        figure, ratio = statistics.median(size.puts), statistics.median(size.ratios)
        yield Row(
            f"`put`, awaited one by one, {size.pending:,} pending",
            rate(figure),
            f"awaited `ZADD`, on an empty set: {rate(figure / ratio)}",
            f"{ratio:.0%}",
        )
    yield _summary(run, sizes[0], sizes[-1])


def _fill(number: int, ending: ExitStack) -> Size:
    server = ending.enter_context(RedisServer())
    size = Size(number, server, new_store(server), ending.enter_context(client_of(server)))
    fill(size.store, number)
    ending.enter_context(rundelay(server))
    return size


def _put(size: Size) -> None:
    size.client.delete("bare")
    bare = asyncio.run(awaited_zadds(size.server.url, PUTS))
    ours = asyncio.run(_awaited_puts(size.server))
    size.puts.append(ours)
    size.ratios.append(ours / bare)


async def _awaited_puts(server: RedisServer) -> float:
    store = new_store(server)
    try:
        return await awaited_puts(store, PUTS)
    finally:
        await store.aclose()


def _curve(size: Size) -> dict[str, float]:
    return {
        "pending": size.pending,
        "p50": round(quantile(size.late, 0.5), 3),
        "p99": round(quantile(size.late, 0.99), 3),
        "puts": round(statistics.median(size.puts)),
        "ratio": round(statistics.median(size.ratios), 3),
    }


def _summary(run: Run, few: Size, many: Size) -> Row:
    """Compared within each round, since the next one may be noisier."""
    slower = statistics.median(one / other for one, other in zip(few.puts, many.puts, strict=True))
    later = statistics.median(one / other for one, other in zip(many.p99s, few.p99s, strict=True))
    run.facts.append(
        f"With {many.pending:,} messages pending in place of {few.pending:,}, lateness (p99) is {later:.2f} times as"
        f" much, and a `put` takes {slower:.2f} times as long."
    )
    work = f"growth from {few.pending:,} to {many.pending:,} pending"
    figure = f"lateness p99 {later:.2f}x, time of a `put` {slower:.2f}x"
    return Row(work, figure, goal=Goal("each ≤ 1.3x", later <= 1.3 and slower <= 1.3))
