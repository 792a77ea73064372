"""What only the database store has to take care of for its entries: its thread, its connection, and old rows."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from delayserver.conf import REDIS_LAYER, LayerSettings
from delayserver.errors import StoreUnavailable
from delayserver.events import PRUNING_FAILED, counts
from delayserver.models import ProgressEntry
from delayserver.stores import database_entries, database_pruning, database_thread
from delayserver.stores.base import MAX_BATCH
from delayserver.stores.database import DatabaseStore
from delayserver.stores.database_pruning import MAX_PRUNED, PRUNE_SECONDS
from delayserver.stores.entries import Change, Entry

from ..support.servers import free_port
from ..support.wait import await_for
from .entries import KEEP, change, read
from .places import in_thread

PIDS = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}


@pytest.fixture(params=["database-sqlite", "database-postgres", "database-mariadb"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What `monotonic` says to a process that has not looked for old rows so far."""
    now = [0.0]
    monkeypatch.setattr(database_entries.pruning, "_looked", {})
    monkeypatch.setattr(database_pruning, "monotonic", lambda: now[0])
    return now


# -- its thread, and its connection ----------------------------------------------------------------------------


async def connection_of(store: DatabaseStore) -> BaseDatabaseWrapper:
    return await store._entry_thread.run(lambda: connections[store.using])


async def test_it_joins_no_transaction_of_a_caller(store: DatabaseStore) -> None:
    def roll_back() -> None:
        with transaction.atomic(using=store.using):
            connections[store.using].cursor().execute("SELECT 1")
            assert asyncio.run(change(store, "a", 0, b"1")) == 1
            transaction.set_rollback(True, using=store.using)

    await in_thread(roll_back)
    assert await read(store, "a") == Entry(1, b"1")


async def test_a_transaction_that_an_error_of_a_caller_has_broken_is_not_ours(store: DatabaseStore) -> None:
    def break_it() -> None:
        with transaction.atomic(using=store.using):
            with pytest.raises(DatabaseError):
                connections[store.using].cursor().execute("SELECT nothing FROM nowhere")
            assert asyncio.run(change(store, "a", 0, b"1")) == 1
            transaction.set_rollback(True, using=store.using)

    await in_thread(break_it)
    assert await read(store, "a") == Entry(1, b"1")


async def test_while_idle_it_has_no_thread_and_no_connection(
    store: DatabaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_thread, "IDLE_SECONDS", 0.05)
    before = threading.active_count()
    for version in (1, 2):
        assert await change(store, "a", None) == version
        connection = await connection_of(store)
        await await_for(lambda: threading.active_count() <= before, 10, "the thread to end")
        assert connection.connection is None
        assert connection not in database_thread._in_use


async def test_a_store_that_is_closed_has_none_either_and_gets_another_when_it_is_asked(store: DatabaseStore) -> None:
    for version in (1, 2):
        assert await change(store, "a", None) == version
        connection = await connection_of(store)
        assert connection.connection is not None
        await store.aclose()
        assert connection.connection is None
        assert connection not in database_thread._in_use


async def test_what_was_asked_for_before_it_is_closed_is_done(store: DatabaseStore) -> None:
    changing = [asyncio.create_task(change(store, f"n{n}", 0)) for n in range(20)]
    await asyncio.sleep(0)
    await store.aclose()
    assert await asyncio.gather(*changing) == [1] * 20


async def test_an_error_is_the_callers_and_the_next_is_served(store: DatabaseStore) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store._entry_thread.run(fail)
    assert await change(store, "a", 0) == 1


async def test_a_connection_that_has_died_is_made_anew(store: DatabaseStore) -> None:
    await change(store, "a", 0, b"1")
    connection = await connection_of(store)

    def kill() -> None:
        other = connections[store.using]
        with other.cursor() as cursor:
            match other.vendor:
                case "postgresql":
                    cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
                case "mysql":
                    cursor.execute(f"KILL {pid}")

    if connection.vendor in PIDS:
        pid = await pid_of(store)
        await in_thread(kill)
    assert await read(store, "a") == Entry(1, b"1")
    assert await change(store, "a", 1) == 2


async def pid_of(store: DatabaseStore) -> int:
    """Of the connection, as its server has it."""

    def ask() -> int:
        with connections[store.using].cursor() as cursor:
            cursor.execute(PIDS[connections[store.using].vendor])
            return int(cursor.fetchone()[0])

    return await store._entry_thread.run(ask)


async def test_a_fork_does_not_end_the_connection_of_the_parent(store: DatabaseStore) -> None:
    await change(store, "a", 0)
    if (await connection_of(store)).vendor not in PIDS:
        return  # SQLite has no server
    before = await pid_of(store)
    child = os.fork()
    if not child:
        gc.collect()  # what belonged to the thread, which is not there, may go
        os._exit(0)
    os.waitpid(child, 0)
    assert await pid_of(store) == before


async def test_a_server_that_is_away_is_told_as_such(away: str) -> None:
    store = DatabaseStore(LayerSettings("default", REDIS_LAYER, {}), away)
    with pytest.raises(StoreUnavailable):
        await store.entries(["a"])
    with pytest.raises(StoreUnavailable):
        await change(store, "a", 0)
    await store.aclose()


@pytest.fixture
def away(django_db_blocker: Any) -> Iterator[str]:
    settings = {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": str(free_port()), "NAME": "x"}
    connections.settings["away"] = settings
    connections.configure_settings(connections.settings)
    with django_db_blocker.unblock():
        yield "away"
    connections["away"].close()
    del connections["away"]
    del connections.settings["away"]


# -- its statements --------------------------------------------------------------------------------------------


async def test_many_changes_take_few_statements(store: DatabaseStore) -> None:
    names = [f"n{n}" for n in range(MAX_BATCH)]
    await store.change_entries([Change(name, 0, b"1", KEEP) for name in names[::2]])
    changes = [Change(name, None, b"2", KEEP) for name in names]

    def statements() -> int:
        connection = connections[store.using]
        connection.force_debug_cursor = True
        try:
            assert set(store._table.change_entries(changes)) == {1, 2}
            store._table.entries(names)
            return sum("delayserver_" in query["sql"] for query in connection.queries)
        finally:
            connection.force_debug_cursor = False

    inserts = 3 if store._table.vendor == "sqlite" else 1  # it takes fewer values in one
    locks = 1 if store._table.vendor == "sqlite" else 0
    assert await in_thread(statements) - locks <= 3 + inserts


# -- old rows --------------------------------------------------------------------------------------------------


async def put_old(store: DatabaseStore, number: int, expires: int = 1, layer: str = "default") -> None:
    rows = [
        ProgressEntry(layer=layer, name=f"old {expires} {n}", version=1, body=b"x", expires=expires)
        for n in range(number)
    ]
    await in_thread(lambda: ProgressEntry.objects.using(store.using).bulk_create(rows))


async def left(store: DatabaseStore) -> set[str]:
    return await in_thread(lambda: set(ProgressEntry.objects.using(store.using).values_list("name", flat=True)))


async def test_what_is_too_old_goes_on_any_layer_and_what_is_not_stays(store: DatabaseStore) -> None:
    now = (await store.aread_clock()).now()
    await put_old(store, 1, now - 600_000)
    await put_old(store, 1, now - 600_000, layer="other")  # of the same name
    await put_old(store, 1, now + 600_000)
    await read(store, "new")
    assert await change(store, "new", 7) == 0
    assert len(await left(store)) == 2
    await change(store, "new", 0)
    assert await left(store) == {f"old {now + 600_000} 0", "new"}


async def test_rows_go_in_small_parts_as_long_as_there_are_any_and_then_once_a_minute(
    store: DatabaseStore, seconds: list[float]
) -> None:
    await put_old(store, 2 * MAX_PRUNED + 1)
    for many_left in (MAX_PRUNED + 1, 1, 0):
        await change(store, "new", None)
        assert len(await left(store) - {"new"}) == many_left
    await put_old(store, 1)
    seconds[0] += PRUNE_SECONDS
    await change(store, "new", None)
    assert len(await left(store)) == 2
    seconds[0] += 1
    await change(store, "new", None)
    assert await left(store) == {"new"}


async def test_an_error_there_is_told_in_the_log_and_not_to_the_caller(
    store: DatabaseStore, caplog: pytest.LogCaptureFixture
) -> None:
    def break_deletions(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        return execute("DELETE FROM nowhere" if sql.startswith("DELETE") else sql, *args)

    await put_old(store, 1)
    connection = await connection_of(store)
    before = counts[PRUNING_FAILED.name]
    connection.execute_wrappers.append(break_deletions)
    assert await change(store, "new", 0) == 1
    connection.execute_wrappers.clear()
    assert counts[PRUNING_FAILED.name] == before + 1
    assert f"old progress could not be deleted from database {store.using} (" in caplog.text
    assert len(await left(store)) == 2
    assert await change(store, "new", 1) == 2
