"""A server with nothing to do: what it costs, and whether that depends on how many messages wait."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from delayserver.conf import LayerSettings
from delayserver.stores.base import Store
from delayserver.stores.database import DatabaseStore
from tests.support.databases import add_database, remove_database
from tests.support.servers import PostgresServer, RedisServer

from .parts import YEAR_MS, Row, cpu_seconds, memory_mib, messages, new_store, rundelay

SECONDS = 20.0


def rows(redis: RedisServer) -> list[Row]:
    on_redis = [_idle("Redis", new_store(redis), number, redis) for number in (0, 10_000, 100_000)]
    with PostgresServer() as postgres, tempfile.TemporaryDirectory() as folder:
        sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(Path(folder) / "idle.sqlite3")}
        return [
            *on_redis,
            _idle_database("PostgreSQL", postgres.settings, 100_000, redis),
            _idle_database("SQLite", sqlite, 100_000, redis),
        ]


def _idle_database(name: str, settings: dict[str, Any], number: int, redis: RedisServer) -> Row:
    add_database(name, settings)
    store = DatabaseStore(LayerSettings("default", "", {}), using=name)
    row = _idle(name, store, number, redis, settings)
    remove_database(name)
    return row


def _idle(name: str, store: Store, number: int, redis: RedisServer, database: dict[str, Any] | None = None) -> Row:
    clock = store.read_clock()
    for batch in messages(number, clock, delay=YEAR_MS):
        store.put(batch)
    with rundelay(redis, database) as server:
        time.sleep(2)  # the start is not the idling
        before = cpu_seconds(server.pid)
        time.sleep(SECONDS)
        used = (cpu_seconds(server.pid) - before) / SECONDS * 100
        figure = f"{used:.2f} % of a core, {memory_mib(server.pid):.1f} MiB"
    return Row(f"idle, {number:,} pending for next year in {name}", figure)
