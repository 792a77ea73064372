"""What only the database store has to take care of."""

from __future__ import annotations

import pytest
from django.db import connections, transaction

from delayserver.conf import REDIS_LAYER, LayerSettings
from delayserver.events import OCCURRENCE_ELSEWHERE, counts
from delayserver.message import Target, Waiting
from delayserver.models import BACKLOG_GRACE_MS, HOME_GRACE_MS, SLOT_MS, DelayedMessage
from delayserver.stores import database_claims, database_rows
from delayserver.stores.base import MAX_CLAIM_BYTES, Store
from delayserver.stores.database import DatabaseStore
from delayserver.stores.database_rows import SLOTS, slot_of
from delayserver.stores.moves import Move, Step

from ..support.clock import NOW
from .occurrences import do, everything, first, occurrence
from .places import BODY, LEASE, Place, each, ids, in_thread, waiting


@pytest.fixture(params=["database-sqlite", "database-postgres", "database-mariadb"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def one_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """All backlogs in the last slot there is."""
    for module in (database_claims, database_rows):
        monkeypatch.setattr(module, "slot_of", lambda backlog: SLOTS)


@pytest.mark.parametrize("name", ["sink", "*g", "specific.x!", "x" * 99])
def test_every_slot_lies_behind_all_due_instants_and_fits_into_the_column(name: str) -> None:
    assert 1 <= slot_of(name) <= SLOTS
    assert NOW + 100 * 365 * 24 * 3_600_000 < SLOT_MS
    assert (SLOTS + 1) * SLOT_MS <= 2**63


async def test_backlogs_that_share_a_slot_do_not_mix(store: Store, one_slot: None) -> None:
    names = ["a", "b", "*c"]
    messages = [
        waiting(NOW - 3, channel="a"),
        waiting(NOW - 2, channel="b"),
        Waiting("c", NOW - 1, Target("group", "c"), BODY),
    ]
    await store.aput(messages)
    assert await store.claim(NOW, 10, LEASE, full=names) == []
    assert ids(await store.claim_backlog("*c", NOW, 10, LEASE)) == ["c"]
    for name, message in zip(names[:2], messages, strict=False):
        assert await store.backlogs() == [name]  # that of the first; the others have their turn
        assert ids(await store.claim_backlog(name, NOW, 10, LEASE)) == [message.id]
    assert await store.backlogs() == []


async def test_from_a_backlog_a_process_takes_its_own_at_once_and_what_others_left_there_much_later(
    store: Store, place: Place
) -> None:
    theirs, ours, anyones = waiting(NOW - 2, home="there"), waiting(NOW - 1, home="here"), waiting(NOW)
    await store.aput([theirs, ours, anyones])
    here = place.store()
    await here.open("here")
    try:
        later = NOW + HOME_GRACE_MS
        assert await here.claim(later, 10, LEASE, full=["sink"]) == []
        assert await here.backlogs() == ["sink"]
        assert ids(await here.claim_backlog("sink", later, 10, LEASE)) == ids([ours, anyones])
        assert await here.claim_backlog("sink", NOW - 3 + BACKLOG_GRACE_MS, 10, LEASE) == []
        assert ids(await here.claim_backlog("sink", NOW - 2 + BACKLOG_GRACE_MS, 10, LEASE)) == [theirs.id]
    finally:
        await here.aclose()


async def test_of_small_and_large_bodies_none_is_mixed_up(store: Store) -> None:
    messages = [waiting(NOW - 9 + n, body=bytes([n]) * 10 ** (2 + n % 5)) for n in range(9)]
    await store.aput(messages)
    assert [claim.message for claim in await store.claim(NOW, 500, LEASE)] == messages


async def test_one_message_larger_than_a_claim_may_be_is_claimed_alone(store: Store) -> None:
    messages = [waiting(NOW - 2, body=b"x" * (MAX_CLAIM_BYTES + 1)), waiting(NOW - 1)]
    await store.aput(messages)
    for message in messages:
        assert ids(await store.claim(NOW, 500, LEASE)) == [message.id]


async def test_what_is_no_message_does_not_hide_what_is_due_behind_it(store: DatabaseStore, place: Place) -> None:
    good = waiting(channel="free")
    await store.aput([waiting(NOW - 9), waiting(NOW - 8), waiting(NOW - 7), good])
    await in_thread(spoil, store.using)
    assert ids(await store.claim(NOW, 2, LEASE, full=["sink"])) == [good.id]
    assert len(await store.dead_letters(10)) == 3


def spoil(using: str) -> None:
    """As a raw writer might: each in a way of its own."""
    first, second, third = DelayedMessage.objects.using(using).in_order()[:3]
    rows = DelayedMessage.objects.using(using)
    rows.filter(pk=first.pk).update(kind="chanel")
    rows.filter(pk=second.pk).update(name="no name!")
    rows.filter(pk=third.pk).update(options=b"\xc1", name="other")


async def test_a_batch_is_claimed_and_finished_in_few_statements(store: DatabaseStore) -> None:
    await store.aput([waiting() for _ in range(100)])

    def statements() -> int:
        connection = connections[store.using]
        connection.force_debug_cursor = True
        try:
            store._table.finish(store._table.claim(NOW, 100, LEASE, ("",)))
            return sum(DelayedMessage._meta.db_table in query["sql"] for query in connection.queries)
        finally:
            connection.force_debug_cursor = False

    locks = 2 if store._table.vendor == "sqlite" else 0
    assert await in_thread(statements) - locks <= 3


async def test_a_question_leaves_the_settings_of_a_callers_transaction_alone(place: Place, store: Store) -> None:
    assert isinstance(store, DatabaseStore)
    if connections[store.using].vendor != "postgresql":
        return  # the only one that is told how to look for rows

    def asks_in_a_transaction() -> list[str]:
        connection = connections[store.using]
        with transaction.atomic(using=store.using), connection.cursor() as cursor:
            store._table.put(each("keep", [waiting()]))
            store._table.first_due()
            cursor.execute("SELECT current_setting('enable_sort'), current_setting('enable_seqscan')")
            return list(cursor.fetchone())

    assert await in_thread(asks_in_a_transaction) == ["on", "on"]


# -- schedules -------------------------------------------------------------------------------------------------


async def test_many_moves_take_few_statements(store: DatabaseStore) -> None:
    names = [f"s{n}" for n in range(100)]
    kept, changed = names[:40], names[40:]
    await store.put_occurrences([first(occurrence(schedule=name)) for name in [*kept, *changed]])
    moves = [
        *(Move(name, b"1", None, take=[occurrence(schedule=name).id]) for name in kept),
        *(Move(name, b"1", b"2", put=[occurrence(60, schedule=name)], unless="none") for name in changed),
        *(first(occurrence(schedule=f"new {name}")) for name in names),
    ]

    def statements() -> int:
        connection = connections[store.using]
        connection.force_debug_cursor = True
        try:
            moved = store._table.put_occurrences(moves)
            assert {one.step for one in moved} == {Step.DONE}
            return sum("delayserver_" in query["sql"] for query in connection.queries)
        finally:
            connection.force_debug_cursor = False

    locks = 1 if store._table.vendor == "sqlite" else 0
    assert await in_thread(statements) - locks <= 8


async def test_a_call_that_fails_late_leaves_nothing(store: DatabaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    message = occurrence()
    await do(store, first(message))

    def fail(*args: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(store._table, "_keep", fail)
    with pytest.raises(RuntimeError):
        await do(store, Move("nightly", b"1", b"2", put=[occurrence(60)], take=[message.id]))
    assert await everything(store) == {message.id: message}
    assert await store.cursors() == {"nightly": b"1"}


async def test_an_id_that_another_layer_has_stays_there_and_the_schedule_goes_on(store: DatabaseStore) -> None:
    told = counts[OCCURRENCE_ELSEWHERE.name]
    other = DatabaseStore(LayerSettings("other", REDIS_LAYER, {}), store.using)
    await other.put_occurrences([first(occurrence())])
    moved = await do(store, first(occurrence()))
    assert moved.step is Step.DONE
    assert await everything(store) == {}
    assert len(await everything(other)) == 1
    assert await store.cursors() == await other.cursors()
    assert counts[OCCURRENCE_ELSEWHERE.name] == told + 1


async def test_an_occurrence_goes_out_from_its_own_process(store: DatabaseStore) -> None:
    message = occurrence(home="there")
    await do(store, first(message))
    assert await store.claim(NOW, 10, LEASE) == []
    [claim] = await store.claim(NOW + HOME_GRACE_MS, 10, LEASE)
    assert claim.message == message
