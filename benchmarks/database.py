"""The PostgreSQL store with the Redis layer, next to what psycopg does in the fewest statements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg

from delayserver.conf import LayerSettings
from delayserver.stores.database import DatabaseStore
from tests.support.databases import add_database, empty_database, remove_database
from tests.support.servers import PostgresServer

from .contenders import rundelay
from .handing import rate_on_channel
from .parts import BATCH, Goal, Row, Run, alternate, bare_members, client_of, compare, per_second
from .schedule import fill

ALIAS = "postgres"

TABLE: LiteralString = """
CREATE TABLE bare (id bigserial PRIMARY KEY, due bigint NOT NULL, body bytea NOT NULL);
CREATE INDEX ON bare (due, id)
"""
INSERT: LiteralString = "INSERT INTO bare (due, body) SELECT 1, unnest(%s::bytea[])"
DELETE: LiteralString = """
DELETE FROM bare USING (SELECT id FROM bare ORDER BY due, id FOR UPDATE SKIP LOCKED LIMIT %s) due
WHERE bare.id = due.id RETURNING body
"""


def rows(run: Run) -> Iterator[Row]:
    with PostgresServer() as postgres:
        add_database(ALIAS, postgres.settings)
        try:
            with psycopg.connect(**parameters(postgres.settings), autocommit=True) as connection:
                connection.execute(TABLE)
                run.versions["postgresql"] = connection.info.parameter_status("server_version") or "unknown"
                yield _put(run, connection)
                yield _hand_over(run, connection, postgres.settings)
        finally:
            remove_database(ALIAS)


def new_store() -> DatabaseStore:
    return DatabaseStore(LayerSettings("default", "", {}), using=ALIAS)


def parameters(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "host": settings["HOST"],
        "port": int(settings["PORT"]),
        "user": settings["USER"],
        "dbname": settings["NAME"],
    }


def _put(run: Run, connection: psycopg.Connection[Any]) -> Row:
    number, store = run.size(10_000, 2_000), new_store()
    members = bare_members(number)
    pair = alternate(
        run.rounds,
        lambda: per_second(number, lambda: fill(store, number)),
        lambda: per_second(number, lambda: _insert(connection, members)),
    )
    return compare("schedule: `put`, 500 a call, PostgreSQL store", pair, "`INSERT` of 500")


def _insert(connection: psycopg.Connection[Any], members: list[bytes]) -> None:
    for start in range(0, len(members), BATCH):
        connection.execute(INSERT, (members[start : start + BATCH],))


def _hand_over(run: Run, connection: psycopg.Connection[Any], settings: dict[str, Any]) -> Row:
    number = run.size(20_000, 5_000)
    pair = alternate(run.rounds, lambda: _handed_over(run, number, settings), lambda: _deleted(connection, number))
    goal = Goal("≥ 10,000/s", pair.ours >= 10_000)
    work = f"hand over {number:,} that are due, PostgreSQL store, Redis layer"
    return compare(work, pair, "`DELETE` of 500, `SKIP LOCKED`", goal)


def _handed_over(run: Run, number: int, settings: dict[str, Any]) -> float:
    with client_of(run.redis) as client:
        empty_database(ALIAS)
        fill(new_store(), number, delay=0)
        with rundelay(run.redis, settings):
            return rate_on_channel(client, number)


def _deleted(connection: psycopg.Connection[Any], number: int) -> float:
    connection.execute("TRUNCATE bare")
    _insert(connection, bare_members(number))
    connection.execute("ANALYZE bare")
    return per_second(number, lambda: _delete_all(connection))


def _delete_all(connection: psycopg.Connection[Any]) -> None:
    while connection.execute(DELETE, (BATCH,)).fetchall():
        pass
