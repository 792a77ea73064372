"""Where a process writes progress: what is noted is written soon, seldom, together, and never lost."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from channels.layers import channel_layers
from django.db import connections, transaction
from pytest_django import DjangoDbBlocker, Settings

from delayserver.conf import REDIS_LAYER
from delayserver.errors import InvalidMessage, StoreUnavailable
from delayserver.progress import Progress
from delayserver.progress.board import PERIOD_SECONDS, Board, get_board, name_of
from delayserver.progress.record import Record, Update
from delayserver.stores import database_thread, get_stores
from delayserver.stores.database import DatabaseStore
from delayserver.stores.entries import Change

from ..support.process import Process
from ..support.servers import RedisServer
from ..support.wait import await_for, wait_for
from .conftest import tasks_of

PATIENCE = 15.0


class Writes:
    """What goes to the store: `calls` is how many changes each call had."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, board: Board) -> None:
        self.calls: list[int] = []
        self.times: list[float] = []
        for store, batching in board._changes.items():
            monkeypatch.setattr(batching, "_act", self._counted(store.change_entries))

    def _counted(self, act: Callable[..., Any]) -> Callable[..., Any]:
        async def change_entries(changes: Sequence[Change]) -> Any:
            self.calls.append(len(changes))
            self.times.append(asyncio.get_running_loop().time())
            return await act(changes)

        return change_entries


def found(id: str) -> Progress:
    progress = Progress.get(id)
    assert progress is not None
    return progress


# -- seldom, and together ----------------------------------------------------------------------------------------


def test_a_tight_loop_of_updates_is_written_twenty_times_a_second_and_its_last_word_is_there(
    board: Board, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    p, writes = Progress.create(), Writes(monkeypatch, board)
    number = 1_000_000 if kind == "memory" else 50_000
    for n in range(number):
        p.update(n, number, text="counting")
    wait_for(lambda: not board._slots, PATIENCE, "everything to be written")
    assert all(later - earlier >= PERIOD_SECONDS * 0.99 for earlier, later in pairwise(writes.times))
    last = found(p.id)
    assert (last.current, last.total, last.text, last.state) == (number - 1, number, "counting", "running")
    assert last.version == len(writes.calls) + 1


def test_what_many_note_at_once_is_written_together(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [Progress.create().id for _ in range(10)]

    async def create() -> list[Progress]:
        return await asyncio.gather(*(Progress.acreate() for _ in range(300)))

    many = asyncio.run(create())
    writes = Writes(monkeypatch, board)
    for p in many:
        p.update(7)
    wait_for(lambda: not board._slots, PATIENCE, "everything to be written")
    assert sum(writes.calls) == 300
    assert len(writes.calls) <= 60
    assert {found(p.id).current for p in many} == {7}
    assert {found(id).state for id in ids} == {"pending"}


def test_what_is_noted_is_part_of_what_is_read_and_of_what_is_written_next(board: Board) -> None:
    p = Progress.create(total=10)
    for n in range(5):
        p.update(n)
        assert found(p.id).current == n
    p.update(9, text="nearly")
    assert p.succeed({"rows": 9})
    assert p.frame() | {"id": "", "version": 0} == {
        "id": "",
        "state": "succeeded",
        "current": 9,
        "total": 10,
        "text": "nearly",
        "result": {"rows": 9},
        "error": "",
        "attempt": 1,
        "version": 0,
    }
    p.update(3, text="too late")
    assert not p.fail("too late")
    assert not p.cancel()
    assert found(p.id).record == p.record


# -- several writers ---------------------------------------------------------------------------------------------


def test_boards_that_write_the_same_work_lose_nothing(board: Board) -> None:
    p, others = Progress.create(), [Board() for _ in range(3)]
    versions: list[int] = []

    def write(number: int, other: Board) -> None:
        for n in range(1, 31):
            decided = other.write(p.id, lambda record, now, n=n: _counted(record, number, n)).result(PATIENCE)  # type: ignore[misc]
            assert decided is not None
            versions.append(decided.version)

    try:
        threads = [threading.Thread(target=write, args=pair) for pair in enumerate(others)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    finally:
        for other in others:
            other.close()
    assert found(p.id).result == {"0": 30, "1": 30, "2": 30}
    assert sorted(versions) == list(range(2, 92)), "each change is the next version, and nobody's twice"


def _counted(record: Record, number: int, n: int) -> Record:
    from delayserver.progress.record import changed

    counts: dict[str, int] = dict(record.result or {})  # type: ignore[call-overload]
    assert counts.get(str(number), 0) == n - 1
    return changed(record, 0, result={**counts, str(number): n})


def test_of_all_that_end_the_same_work_one_does(board: Board) -> None:
    p, others = Progress.create(), [Board() for _ in range(2)]
    try:
        ended = [
            other.write(p.id, lambda record, now, n=n: _ended(record, n))  # type: ignore[misc]
            for n, other in enumerate([*others, get_board(), *others])
        ]
        results = [one.result(PATIENCE) for one in ended]
    finally:
        for other in others:
            other.close()
    assert sum(one is not None for one in results) == 1
    assert found(p.id).record == next(one for one in results if one is not None)


def _ended(record: Record, n: int) -> Record | None:
    from delayserver.progress.record import updated

    return updated(record, Update({"state": "succeeded", "result": n}), 0)


# -- entries that are none ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"\x00", b"[]", b'{"run": [0, 0], "state": "lost"}', b'{"run": [0, 0], "version": "2"}', b'{"run": 0}']
)
def test_an_entry_that_is_no_record_is_none_and_makes_room(board: Board, body: bytes) -> None:
    store = get_stores()[0]
    assert board.submit(board.change(store, Change(name_of("mine"), 0, body, 60_000))).result(PATIENCE) == 1
    assert Progress.get("mine") is None
    board.note("mine", Update({"current": 1}))
    wait_for(lambda: not board._slots, PATIENCE, "what cannot be written to be left")
    p = Progress.create(id="mine", total=3)
    assert (p.total, found("mine").total) == (3, 3)


def test_work_of_a_name_of_ones_own_is_made_once(board: Board) -> None:
    first = Progress.create(id="report-7", total=5)
    first.update(2)
    first.refresh()
    again = Progress.create(id="report-7", total=9)
    assert (again.id, again.total, again.version) == (first.id, 5, 2)
    bad: Any
    for bad in ("", "a/b", "ü", "x" * 81, 7):
        with pytest.raises(InvalidMessage, match="expected id to be 1 to 80"):
            Progress.create(id=bad)
    with pytest.raises(InvalidMessage, match="expected a reason to be a str, got ValueError"):
        first.fail(ValueError("no"))  # type: ignore[arg-type]


# -- from wherever it is called ----------------------------------------------------------------------------------


def use(id: str) -> None:
    p = Progress.create(id=id)
    p.update(1)
    p.refresh()
    assert p.current == 1
    assert p.succeed()
    assert found(id).state == "succeeded"


async def test_a_sync_view_that_holds_the_thread_of_all_sync_code_is_answered(board: Board) -> None:
    async with asyncio.timeout(PATIENCE):
        await sync_to_async(use, thread_sensitive=True)("view")


async def test_async_code_may_use_either_kind(board: Board) -> None:
    async with asyncio.timeout(PATIENCE):
        use("blocking")
        p = await Progress.acreate()
        await p.update(2)
        await p.arefresh()
        assert p.current == 2
        assert await p.afail("it was no good")
        assert (await Progress.aget(p.id)).error == "it was no good"  # type: ignore[union-attr]


def test_threads_share_the_board(board: Board) -> None:
    threads = [threading.Thread(target=use, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert {found(f"t{n}").state for n in range(8)} == {"succeeded"}
    wait_for(lambda: not tasks_of(board), PATIENCE, "the board to rest")


def test_progress_joins_no_transaction(board: Board, kind: str) -> None:
    alias = get_stores()[0].database
    if alias is None:
        return
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=alias):
        use("inside")
        raise ZeroDivisionError
    assert found("inside").state == "succeeded", "what people were shown has happened"


def test_after_settings_have_changed_there_is_another_board_and_what_was_noted_is_written(
    board: Board, settings: Settings
) -> None:
    p = Progress.create()
    for n in range(100):
        p.update(n)
    settings.DELAYSERVER = {**settings.DELAYSERVER, "PROGRESS": {}}
    assert get_board() is not board
    assert not board._thread.is_alive()
    if get_stores()[0].place is not None or get_stores()[0].database:  # memory is forgotten with its settings
        assert found(p.id).current == 99


def test_whoever_waits_when_a_board_is_closed_is_told(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    p, other = Progress.create(), Board()
    monkeypatch.setattr("delayserver.progress.board.LAST_SECONDS", 0.1)
    never = threading.Event()
    begun = threading.Event()

    async def hang(changes: object) -> list[int]:
        begun.set()
        while not never.is_set():
            await asyncio.sleep(0.01)
        return []

    for batching in other._changes.values():
        monkeypatch.setattr(batching, "_act", hang)
    asked = [other.write(p.id, lambda record, now: _ended(record, 1))]
    assert begun.wait(PATIENCE)
    asked.append(other.write(p.id, lambda record, now: _ended(record, 2)))
    other.close()
    assert [type(one.exception(PATIENCE)).__name__ if not one.cancelled() else "cancelled" for one in asked] == [
        "CancelledError",
        "cancelled",
    ]


# -- processes that begin and end --------------------------------------------------------------------------------


def test_after_a_fork_parent_and_child_both_go_on(board: Board, kind: str) -> None:
    if kind == "memory":
        return  # which no two processes share
    p = Progress.create()
    for n in range(50):
        p.update(n)
    if "sqlite" in kind:
        p.refresh()  # in the middle of a write, SQLite bears no fork: the child takes itself for who has the lock
    pid = os.fork()
    if not pid:
        status = 1
        try:
            child = found(p.id)
            child.update(text="from the child")
            child.refresh()
            status = 0 if child.text == "from the child" else 2
        finally:
            os._exit(status)
    for n in range(50, 100):
        p.update(n)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (found(p.id).current, found(p.id).text) == (99, "from the child")


SCRIPT = """
import multiprocessing, sys, time
import django
django.setup()
from delayserver.progress import Progress, board
from delayserver.stores import database_thread
database_thread.IDLE_SECONDS, board.LAST_SECONDS = 0.01, 30.0  # the machine may be busy
p = Progress.get(sys.argv[1])
way = sys.argv[2]
def work():
    for n in range(1, 101):
        p.update(n, text="a child's")
if way == "child":
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(20)
    sys.exit(child.exitcode)
if way == "late":
    time.sleep(0.3)
work()
"""


@pytest.mark.parametrize("way", ["at once", "late", "child"])
def test_what_was_noted_when_a_process_ends_is_written(
    board: Board, kind: str, way: str, settings: Settings, start_process: Callable[..., Process]
) -> None:
    if kind == "memory":
        return
    p = Progress.create()
    alias = get_stores()[0].database
    databases = {"default": connections.settings["default"], **({alias: connections.settings[alias]} if alias else {})}
    env = {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DELAYSERVER_TEST_LAYERS": json.dumps(settings.CHANNEL_LAYERS),
        "DELAYSERVER_TEST_SETTINGS": json.dumps(settings.DELAYSERVER),
        "DELAYSERVER_TEST_DB": json.dumps(databases, default=str),
    }
    script = start_process([sys.executable, "-c", SCRIPT, p.id, way], env=env)
    wait_for(lambda: not script.running, 30, "the script to end")
    assert (script.returncode, script.output) == (0, "")
    assert (found(p.id).current, found(p.id).text) == (100, "a child's")


def test_a_database_is_written_where_no_thread_can_be_begun_any_more(
    board: Board, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while an interpreter ends, from Python 3.12 on."""
    store = get_stores()[0]
    if not isinstance(store, DatabaseStore):
        return

    class NoThread:
        def __init__(self, link: object) -> None:
            raise RuntimeError("can't create new thread at interpreter shutdown")

    p = Progress.create()
    monkeypatch.setattr(database_thread, "Shift", NoThread)
    monkeypatch.setattr(store._entry_thread, "_shift", None)
    p.update(1)
    assert p.succeed("done")
    assert found(p.id).current == 1


# -- a store that goes away --------------------------------------------------------------------------------------


@pytest.fixture
def own_redis(settings: Settings, django_db_blocker: DjangoDbBlocker) -> Iterator[RedisServer]:
    with RedisServer(aof=True) as server:
        hosts = [{"address": server.url, "socket_timeout": None}]
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": REDIS_LAYER, "CONFIG": {"hosts": hosts}}}
        settings.DELAYSERVER = {"STORE": "redis"}
        channel_layers.backends.clear()
        yield server
        from delayserver.progress import board as boards

        boards._board.close()


async def test_what_is_noted_while_the_store_is_away_arrives_when_it_is_back(own_redis: RedisServer) -> None:
    p, rest = await Progress.acreate(), await Progress.acreate()
    await p.update(1)
    await p.arefresh()
    own_redis.stop()
    p.update(2)
    with pytest.raises(StoreUnavailable):
        await p.asucceed("done")
    p.update(3, text="while it was away")
    with pytest.raises(StoreUnavailable):
        await rest.arefresh()
    own_redis.start()

    async def arrived() -> bool:
        await rest.arefresh()
        await p.arefresh()
        return p.current == 3

    async def tried() -> Any:
        try:
            return await arrived()
        except StoreUnavailable:
            return False

    await await_for(tried, PATIENCE, "what was noted")
    assert (p.state, p.text) == ("running", "while it was away")
    assert await p.asucceed("done")
    assert (await Progress.aget(p.id)).result == "done"  # type: ignore[union-attr]


def test_what_was_said_is_known_at_once(board: Board) -> None:
    p = Progress.create(total=5)
    p.update(2, text="two")
    assert (p.state, p.current, p.total, p.text) == ("running", 2, 5, "two")
    p.cancel()
    p.update(3)
    assert (p.state, p.current) == ("cancelled", 2)


def test_what_is_over_is_kept_for_the_retention_and_what_is_not_for_longer(board: Board, settings: Settings) -> None:
    settings.DELAYSERVER = {**settings.DELAYSERVER, "PROGRESS": {"RETENTION": 1}}
    over, running = Progress.create(), Progress.create()
    running.update(1)
    running.refresh()
    over.succeed()
    assert Progress.get(over.id) is not None
    wait_for(lambda: Progress.get(over.id) is None, 10, "it to be forgotten")
    assert Progress.get(running.id) is not None


def test_where_the_layer_encrypts_it_lies_sealed(redis_url: str, settings: Settings) -> None:
    config = {"hosts": [redis_url], "symmetric_encryption_keys": ["a key of the shop"]}
    backend = "channels_redis.core.RedisChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}
    settings.DELAYSERVER = {"STORE": "redis"}
    p = Progress.create(text="a secret text")
    with redis.Redis.from_url(redis_url) as client:
        [name] = client.keys("*progress.*")
        assert b"secret" not in b"".join(client.hvals(name))
    found = Progress.get(p.id)
    assert found is not None
    assert found.text == "a secret text"
