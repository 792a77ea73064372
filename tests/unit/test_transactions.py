"""Outside of its own database, a message waits for the caller's transaction to commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, transaction
from django.test import TestCase
from pytest_django import DjangoDbBlocker, Settings

from delayserver import (
    KeyTaken,
    Message,
    Receipt,
    StoreUnavailable,
    acancel,
    aget,
    areschedule,
    asend_later,
    asend_many_later,
    cancel,
    get,
    reschedule,
    send_later,
    send_many_later,
)
from delayserver.clock import StoreClock, SystemClock
from delayserver.stores import get_stores
from delayserver.stores.base import Named

PROBE = {"type": "probe"}
HOUR = 3_600_000
AWAY = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": ["redis://127.0.0.1:1"]},
    }
}


@pytest.fixture(autouse=True)
def layer(settings: Settings) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    settings.DELAYSERVER = {"STORE": "memory"}


@pytest.fixture
def other_database(django_db_setup: None, sqlite_database: str, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    with django_db_blocker.unblock():
        yield sqlite_database


async def handed_over() -> None:
    store = get_stores()[0]
    claims = await store.claim(SystemClock().now() + 2 * HOUR, 10, 1)
    assert await store.finish(claims) == [True]


def count() -> int:
    return asyncio.run(get_stores()[0].count())


def send_async(**options: object) -> Receipt:
    return async_to_sync(asend_later)("reports", PROBE, delay=HOUR, **options)  # type: ignore[arg-type]


def send_sync(**options: object) -> Receipt:
    return send_later("reports", PROBE, delay=HOUR, **options)  # type: ignore[arg-type]


both = pytest.mark.parametrize("send", [send_sync, send_async])


@pytest.mark.django_db(transaction=True)
class TestInTransactions:
    @both
    def test_it_is_stored_on_commit_under_the_id_that_the_receipt_told(self, send: Callable[..., Receipt]) -> None:
        with transaction.atomic():
            receipt = send()
            assert count() == 0
        assert receipt.created
        assert count() == 1
        found = get(receipt.id)
        assert found is not None
        assert found.channel == "reports"

    @both
    def test_a_rollback_takes_it_along(self, send: Callable[..., Receipt]) -> None:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            send()
            raise ZeroDivisionError
        assert count() == 0

    def test_a_savepoint_that_is_rolled_back_takes_only_its_own_along(self) -> None:
        with transaction.atomic():
            outer = send_sync()
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                send_sync()
                raise ZeroDivisionError
        assert count() == 1
        assert get(outer.id)

    @both
    def test_on_commit_false_stores_it_at_once_and_for_good(self, send: Callable[..., Receipt]) -> None:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            send(on_commit=False)
            assert count() == 1
            raise ZeroDivisionError
        assert count() == 1

    def test_many_wait_for_the_commit_as_one(self) -> None:
        messages = [Message(channel="reports", content=PROBE, delay=HOUR) for _ in range(700)]
        for send in (send_many_later, async_to_sync(asend_many_later)):
            before = count()
            with transaction.atomic():
                assert len({receipt.id for receipt in send(messages)}) == 700
                assert count() == before
            assert count() == before + 700

    def test_what_waits_for_the_commit_can_be_got_moved_and_cancelled(self) -> None:
        with transaction.atomic():
            kept, moved, gone = send_sync(key="kept"), send_sync(key="moved"), send_sync(key="gone")
            assert get(kept.id) == get(key="kept") == async_to_sync(aget)(kept.id)
            assert reschedule(key="moved", delay=2 * HOUR)
            assert async_to_sync(areschedule)(moved.id, delay=2 * HOUR)
            assert cancel(gone.id)
            assert not cancel(key="gone")
            dropped = send_sync(key="gone")
            assert async_to_sync(acancel)(dropped.id)
        assert count() == 2
        found = get(key="moved")
        assert found is not None
        assert found.eta is not None
        assert round(found.eta.timestamp() * 1000) >= moved.due + HOUR

    def test_a_key_is_taken_by_what_is_stored_and_by_what_waits_for_the_commit(self) -> None:
        stored = send_sync(key="stored")
        with transaction.atomic():
            assert send_sync(key="stored") == (stored.id, stored.due, False)
            first = send_sync(key="new")
            assert send_async(key="new") == (first.id, first.due, False)
            for key in ("stored", "new"):
                with pytest.raises(KeyTaken):
                    send_sync(key=key, on_conflict="error")
            last = send_sync(key="new", on_conflict="replace")
            assert last.created
            found = get(key="new")
            assert found == get(last.id)
        assert count() == 2
        assert get(first.id) is None
        assert get(last.id)

    def test_a_key_within_one_call_is_taken_once(self) -> None:
        messages = [Message(channel="reports", content=PROBE, delay=HOUR, key="k") for _ in range(2)]
        with transaction.atomic():
            one, two = send_many_later(messages)
        assert (two.id, one.created, two.created) == (one.id, True, False)
        assert count() == 1

    def test_cancelling_a_key_takes_all_that_wait_under_it(self) -> None:
        send_sync(key="k")
        with transaction.atomic():
            send_sync(key="k", on_conflict="replace")
            send_sync(key="k", on_conflict="replace")
            assert cancel(key="k")
        assert count() == 0

    def test_what_was_kept_when_it_was_sent_is_put_where_the_other_went_out_before_the_commit(self) -> None:
        holder = send_sync(key="k")
        with transaction.atomic():
            kept = send_sync(key="k")
            assert (kept.id, kept.created) == (holder.id, False)
            asyncio.run(handed_over())  # its consumer may have read what this transaction is about to change
        found = get(key="k")
        assert found is not None
        assert count() == 1

    def test_what_is_sent_one_by_one_is_put_together(self) -> None:
        with transaction.atomic():
            for _ in range(700):
                send_sync()
            send_sync(key="k")
            with transaction.atomic():
                send_sync()
            assert len(connection.run_on_commit) == 3
        assert count() == 702

    def test_what_has_run_is_no_longer_there(self) -> None:
        with transaction.atomic():
            receipt = send_sync(key="k")
            for entry in list(connection.run_on_commit):
                entry[1]()  # as captureOnCommitCallbacks does, which leaves it in the list
            assert count() == 1
            assert async_to_sync(get_stores()[0].acancel)([Named(receipt.id)]) == [True]
            assert not cancel(receipt.id)
            assert get(key="k") is None
            again = send_sync(key="k")
            assert again.created
        assert count() == 1

    def test_cancelling_by_id_does_not_ask_a_store_that_is_away(self, settings: Settings) -> None:
        settings.CHANNEL_LAYERS = AWAY
        settings.DELAYSERVER = {}
        clock = get_stores()[0].clock
        assert isinstance(clock, StoreClock)
        clock.learn(clock.ticks(), 1_800_000_000_000_000_000, clock.ticks())
        with transaction.atomic():
            receipt = send_sync()
            assert cancel(receipt.id)

    def test_a_store_that_is_away_at_the_commit_is_told_after_it(self, settings: Settings) -> None:
        settings.CHANNEL_LAYERS = AWAY
        settings.DELAYSERVER = {}
        with pytest.raises(StoreUnavailable), transaction.atomic():
            send_sync()

    async def test_an_async_caller_has_no_transaction_to_wait_for(self) -> None:
        receipt = await asend_later("reports", PROBE, delay=HOUR)
        assert await aget(receipt.id)

    async def test_a_task_that_outlives_its_sync_caller_sends_at_once(self) -> None:
        async def send_and_look() -> bool:
            await asyncio.sleep(0.05)  # until the call that began it is over
            receipt = await asend_later("reports", PROBE, delay=HOUR)
            return await aget(receipt.id) is not None and await acancel(receipt.id)

        async def begin() -> asyncio.Task[bool]:
            return asyncio.create_task(send_and_look())

        task = await sync_to_async(lambda: async_to_sync(begin)())()
        assert await task

    async def test_a_thread_of_an_async_caller_may_have_one(self) -> None:
        def within() -> Receipt:
            with transaction.atomic():
                receipt = send_async()
                assert get(receipt.id)
                transaction.set_rollback(True)
            return receipt

        receipt = await sync_to_async(within)()
        assert await aget(receipt.id) is None


def test_any_of_the_projects_databases_is_waited_for(other_database: str) -> None:
    with transaction.atomic(using=other_database):
        send_sync()
        assert count() == 0
    assert count() == 1


def test_a_database_store_waits_for_a_transaction_elsewhere_and_joins_its_own(
    settings: Settings, other_database: str
) -> None:
    settings.DELAYSERVER = {"STORE": "database", "STORE_OPTIONS": {"using": other_database}}
    try:
        with transaction.atomic():
            receipt = send_sync()
            with transaction.atomic(using=other_database):
                joined = send_sync()
                assert get(joined.id)
            assert cancel(receipt.id)
            again = send_sync()
        assert get(again.id)
    finally:
        for id in (joined.id, again.id):
            assert cancel(id)


class TestWithinATestCase(TestCase):
    """Its own transaction, which is never committed, does not count."""

    def test_it_is_stored_at_once(self) -> None:
        before = count()
        send_sync()
        send_async()
        self.assertEqual(count(), before + 2)

    def test_the_projects_own_transaction_counts(self) -> None:
        before = count()
        with self.captureOnCommitCallbacks(execute=True):
            with transaction.atomic():
                send_sync()
            self.assertEqual(count(), before)
        self.assertEqual(count(), before + 1)
