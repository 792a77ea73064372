"""Effects that happen once: a marker in the same transaction says whether a message is here for the first time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.core.management import call_command
from django.db import OperationalError, connections, transaction
from pytest_django import DjangoDbBlocker, Settings

from delayserver import InvalidMessage, once
from delayserver.events import PRUNING_FAILED, counts
from delayserver.models import DeadMessage, HandledMessage
from delayserver.once import KEEP, first_time
from delayserver.stores import database_pruning
from delayserver.stores.database_pruning import MAX_PRUNED, PRUNE_SECONDS

from ..support.databases import empty_database
from ..support.wait import wait_for

MESSAGE = {"type": "invoice.pay", "__delay__": {"id": "7f", "attempt": 1}}
KEEP_MS = KEEP // timedelta(milliseconds=1)
SECONDS = 30.0
REPEATABLE = {
    "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "mysql": "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
}
WAITING = {
    "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
    "mysql": "SELECT CAST(variable_value AS INTEGER) FROM information_schema.global_status"
    " WHERE variable_name = 'INNODB_ROW_LOCK_CURRENT_WAITS'",
}


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def using(request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    alias: str = request.getfixturevalue(f"{request.param}_database")
    with django_db_blocker.unblock():
        yield alias
        empty_database(alias)
        connections[alias].close()


@pytest.fixture(autouse=True)
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What `monotonic` says to a process that has not looked for old markers so far."""
    now = [0.0]
    monkeypatch.setattr(once._pruning, "_looked", {})
    monkeypatch.setattr(database_pruning, "monotonic", lambda: now[0])
    return now


def handle(using: str, message: Any = MESSAGE) -> bool:
    """As a consumer does: what it returns is whether there were effects."""
    with transaction.atomic(using=using):
        first = first_time(message, using=using)
        if first:
            take_effect(using)
        return first


def take_effect(using: str) -> None:
    DeadMessage.objects.using(using).create(message_id="effect", layer="", at=0, reason="", source="", body=b"")


def effects(using: str) -> int:
    return DeadMessage.objects.using(using).filter(message_id="effect").count()


def ask(using: str, sql: str) -> Any:
    with connections[using].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone() if cursor.description else None


# -- one after the other -------------------------------------------------------------------------------------


def test_a_message_that_was_handled_is_never_here_for_the_first_time_again(using: str) -> None:
    assert [handle(using), handle(using), handle(using, {**MESSAGE, "attempt": 2})] == [True, False, False]
    assert handle(using, MESSAGE["__delay__"]["id"]) is False  # type: ignore[index]
    assert effects(using) == 1
    assert handle(using, {"__delay__": {"id": "80"}})


def test_after_a_rollback_it_is_here_for_the_first_time_again(using: str) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=using):
        handle(using)
        raise ZeroDivisionError
    assert effects(using) == 0
    assert handle(using)


def test_a_savepoint_that_is_rolled_back_takes_only_its_own_marker_along(using: str) -> None:
    with transaction.atomic(using=using):
        assert first_time("outer", using=using)
        with pytest.raises(ZeroDivisionError), transaction.atomic(using=using):
            assert first_time("inner", using=using)
            raise ZeroDivisionError
        assert [first_time("outer", using=using), first_time("inner", using=using)] == [False, True]
    assert not handle(using, "inner")


def test_what_a_transaction_did_before_and_does_after_a_no_stays(using: str) -> None:
    handle(using)
    with transaction.atomic(using=using):
        take_effect(using)
        assert not first_time(MESSAGE, using=using)
        take_effect(using)
    assert effects(using) == 3


ALL_DIFFERENT = [
    "a",
    "A",
    "á",
    "a\u0301",
    "a ",
    "a  ",
    " a",
    "a.",
    "\uff41",
    "ß",
    "ss",
    "💶",
    "💷",
    "x" * 199,
    "x" * 200,
]


def test_ids_that_differ_at_all_are_different(using: str) -> None:
    assert [id for id in ALL_DIFFERENT if not handle(using, id)] == []
    assert [id for id in ALL_DIFFERENT if handle(using, id)] == []


# -- at the same time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("repeatable", [False, True], ids=["default", "repeatable-read"])
@pytest.mark.parametrize("commits", [True, False], ids=["commit", "rollback"])
def test_a_second_one_waits_for_what_becomes_of_the_first(using: str, commits: bool, repeatable: bool) -> None:
    asked = Event()
    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic(using=using):
            assert first_time(MESSAGE, using=using)
            take_effect(using)
            second = threads.submit(closing, lambda: second_one(using, repeatable, asked))
            assert asked.wait(SECONDS)
            if sql := WAITING.get(connections[using].vendor):
                wait_for(lambda: ask(using, sql) != (0,), SECONDS, "a transaction that waits")
            transaction.set_rollback(not commits, using=using)
        assert second.result() is not commits
    assert effects(using) == (2 if commits else 1)


def second_one(using: str, repeatable: bool, asked: Event) -> bool:
    """In a transaction that has a snapshot from before, where it can have one; and that goes on afterwards."""
    vendor = connections[using].vendor
    if repeatable and vendor in REPEATABLE:
        ask(using, REPEATABLE[vendor])

    def tell(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        if sql.startswith("INSERT"):
            asked.set()
        return execute(sql, *args)

    with transaction.atomic(using=using):
        if vendor != "sqlite":  # there a transaction that has read cannot wait
            assert effects(using) == 0
        with connections[using].execute_wrapper(tell):
            first = first_time(MESSAGE, using=using)
        take_effect(using)
        return first


def closing(act: Callable[[], bool]) -> bool:
    try:
        return act()
    finally:
        connections.close_all()


def test_of_many_at_once_that_fail_and_come_again_exactly_one_has_effects(using: str) -> None:
    fails = iter([True, True, True])

    def one() -> bool:
        while True:
            try:
                with transaction.atomic(using=using):
                    if first := handle(using):
                        transaction.set_rollback(next(fails, False), using=using)
                    failed = transaction.get_rollback(using=using)
            except OperationalError:  # of three that wait for a rollback MariaDB ends some as a deadlock
                continue
            if not failed:
                return first

    with ThreadPoolExecutor(6) as threads:
        told = [threads.submit(closing, one) for _ in range(6)]
        assert sorted(one.result() for one in told) == [False] * 5 + [True]
    assert effects(using) == 1
    assert next(fails, None) is None


# -- where it must be called ---------------------------------------------------------------------------------


def test_outside_of_atomic_it_is_refused_and_leaves_no_marker(using: str) -> None:
    with pytest.raises(transaction.TransactionManagementError, match=rf"inside transaction.atomic.*'{using}'"):
        first_time(MESSAGE, using=using)
    assert handle(using)


@pytest.mark.django_db
def test_the_transaction_of_a_test_case_does_not_count(django_capture_on_commit_callbacks: Any) -> None:
    with pytest.raises(transaction.TransactionManagementError):
        first_time(MESSAGE)
    with django_capture_on_commit_callbacks() as callbacks:
        assert [handle("default"), handle("default")] == [True, False]
    assert callbacks == []  # a project's tests may count theirs


async def test_in_an_event_loop_it_is_refused() -> None:
    with pytest.raises(SynchronousOnlyOperation, match="database_sync_to_async"):
        first_time(MESSAGE)


class ToSQLite:
    def db_for_write(self, model: type, **hints: object) -> str | None:
        return "sqlite" if model is HandledMessage else None


def test_without_using_it_is_where_the_routers_say(
    sqlite_database: str, django_db_blocker: DjangoDbBlocker, settings: Settings
) -> None:
    settings.DATABASE_ROUTERS = [ToSQLite()]
    with django_db_blocker.unblock():
        with pytest.raises(transaction.TransactionManagementError, match="'sqlite'"):
            first_time(MESSAGE)
        with transaction.atomic(using=sqlite_database):
            assert [first_time(MESSAGE), first_time(MESSAGE, using="sqlite")] == [True, False]
            transaction.set_rollback(True, using=sqlite_database)


# -- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {"type": "pay", "secret": "s3cret"},
            "expected a message with an id in __delay__.*first_time\\('invoice:7'\\)",
        ),
        ({"__delay__": {"id": 7, "secret": "s3cret"}}, "expected a message with an id in __delay__"),
        ({"__delay__": "s3cret"}, "expected a message with an id in __delay__"),
        (7, "expected a message .a dict. or an id .a str., got int"),
        (None, "got NoneType"),
        (b"7", "got bytes"),
        ("", "expected an id of 1 to 200 printable characters, got 0: ''"),
        ("x" * 201, "got 201: 'x{50}'$"),
        ("a\n", r"got 2: 'a\\n'"),
        ("a\0", r"got 2: 'a\\x00'"),
        ("a\xa0", r"got 2: 'a\\xa0'"),
        ("\ud800", r"got 1: '\\ud800'"),
        ({"__delay__": {"id": "x" * 201}}, "expected an id of 1 to 200 printable characters"),
    ],
)
def test_what_is_no_message_and_no_id_is_refused_without_its_content(wrong: Any, sentence: str) -> None:
    with pytest.raises(InvalidMessage, match=sentence) as refused:
        first_time(wrong)
    assert "s3cret" not in str(refused.value)


# -- old markers ---------------------------------------------------------------------------------------------


def put_old(using: str, number: int, at: int = 1) -> None:
    HandledMessage.objects.using(using).bulk_create(HandledMessage(id=f"old {at} {n}", at=at) for n in range(number))


def left(using: str) -> set[str]:
    return set(HandledMessage.objects.using(using).values_list("id", flat=True))


def test_markers_older_than_thirty_days_go_and_younger_ones_stay(using: str) -> None:
    now = once._link(using).read_clock(0).now()
    put_old(using, 1, now - KEEP_MS - 1)
    put_old(using, 1, now - KEEP_MS + 600_000)
    handle(using, "new")
    assert left(using) == {f"old {now - KEEP_MS + 600_000} 0", "new"}
    assert abs(HandledMessage.objects.using(using).get(pk="new").at - now) < 600_000


def test_they_go_in_small_parts_as_long_as_there_are_any_and_then_once_a_minute(
    using: str, seconds: list[float]
) -> None:
    put_old(using, 2 * MAX_PRUNED + 1)
    for many_left in (MAX_PRUNED + 1, 1, 0):
        handle(using)
        assert len(left(using) - {"7f"}) == many_left
    put_old(using, 1)
    seconds[0] += PRUNE_SECONDS
    handle(using)
    assert len(left(using)) == 2
    seconds[0] += 1
    handle(using)
    assert left(using) == {"7f"}


def test_they_go_after_the_commit_in_a_transaction_of_their_own(using: str) -> None:
    put_old(using, 1)
    with transaction.atomic(using=using):
        handle(using)
        assert len(left(using)) == 2
    assert left(using) == {"7f"}


def test_those_that_another_transaction_holds_stay_and_nobody_waits(using: str) -> None:
    if not connections[using].features.has_select_for_update:
        return  # SQLite holds no rows
    put_old(using, 3)
    with ThreadPoolExecutor(1) as threads, transaction.atomic(using=using):
        HandledMessage.objects.using(using).select_for_update().get(pk="old 1 1")
        assert threads.submit(closing, lambda: handle(using, "new")).result(SECONDS)
        assert threads.submit(closing, lambda: left(using) == {"old 1 1", "new"}).result(SECONDS)


def test_an_error_there_is_told_in_the_log_and_not_to_the_caller(using: str, caplog: pytest.LogCaptureFixture) -> None:
    def break_deletions(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        return execute("DELETE FROM nowhere" if sql.startswith("DELETE") else sql, *args)

    put_old(using, 1)
    before = counts[PRUNING_FAILED.name]
    with connections[using].execute_wrapper(break_deletions):
        assert handle(using)
    assert counts[PRUNING_FAILED.name] == before + 1
    assert f"database {using} (" in caplog.text
    assert effects(using) == 1
    assert len(left(using)) == 2


def test_no_change_of_a_model_is_without_its_migration(django_db_blocker: DjangoDbBlocker) -> None:
    with django_db_blocker.unblock():
        call_command("makemigrations", check=True, dry_run=True, verbosity=0)
