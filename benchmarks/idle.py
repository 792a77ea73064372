"""A server with nothing to do: what it costs, and whether that depends on how many messages wait."""

from __future__ import annotations

import time

from tests.support.servers import RedisServer

from .parts import YEAR_MS, Row, cpu_seconds, memory_mib, messages, new_store, rundelay

SECONDS = 20.0


def rows(redis: RedisServer) -> list[Row]:
    return [_idle(redis, number) for number in (0, 10_000, 100_000)]


def _idle(redis: RedisServer, number: int) -> Row:
    store = new_store(redis)
    clock = store.read_clock()
    for batch in messages(number, clock, delay=YEAR_MS):
        store.put(batch)
    with rundelay(redis) as server:
        time.sleep(2)  # the start is not the idling
        before = cpu_seconds(server.pid)
        time.sleep(SECONDS)
        used = (cpu_seconds(server.pid) - before) / SECONDS * 100
        figure = f"{used:.2f} % of a core, {memory_mib(server.pid):.1f} MiB"
    return Row(f"idle, {number:,} pending for next year", figure)
