"""What a schedule puts, takes, and waits for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from delayserver.message import DeadLetter
from delayserver.stores.base import Named, Store
from delayserver.stores.moves import Move, Moved, Step
from delayserver.stores.shelf import Wanted

from ..support.clock import NOW
from .occurrences import OTHER_BODY, do, everything, first, occurrence
from .places import LEASE, Place, ids, in_thread, waiting

# -- what is put -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["waiting", "in a backlog", "claimed"])
async def test_what_is_there_already_was_put_before(store: Store, state: str) -> None:
    message = occurrence()
    await do(store, first(message))
    match state:
        case "claimed":
            await store.claim(NOW, 10, LEASE)
        case "in a backlog":
            await store.claim(NOW, 10, LEASE, full=["sink"])
    for body in (message.body, OTHER_BODY):
        cursor = (await store.cursors())["nightly"]
        move = Move("nightly", cursor, cursor + b"1", put=[replace(message, body=body)])
        assert await do(store, move) == Moved(Step.DONE, cursor + b"1")
    assert await store.count() == 1
    [found] = (await everything(store)).values()
    assert found.body == message.body


async def test_what_was_finished_can_be_put_again(store: Store) -> None:
    await do(store, first(occurrence()))
    assert await store.finish(await store.claim(NOW, 10, LEASE)) == [True]
    await do(store, Move("nightly", b"1", b"2", put=[occurrence(body=OTHER_BODY)]))
    [claim] = await store.claim(NOW, 10, LEASE)
    assert claim.message.body == OTHER_BODY


async def test_what_goes_out_says_which_occurrence_it_is(store: Store) -> None:
    message = replace(occurrence(5), due=NOW + 20)
    await do(store, first(message))
    [claim] = await store.claim(NOW + 20, 10, LEASE)
    assert claim.message.content() == {
        "type": "test.message",
        "__delay__": {
            "id": f"schedule:nightly:{NOW + 5}",
            "attempt": 1,
            "due": NOW + 20,
            "scheduled_for": NOW + 5,
            "schedule": "nightly",
        },
    }


async def test_a_list_shows_which_occurrence_it_is(store: Store) -> None:
    messages = [occurrence(ms) for ms in range(3)]
    await do(store, Move("nightly", None, b"1", put=messages))
    page = await store.look(Wanted(), 10)
    assert [one.message.occurrence for one in page.listed] == [message.occurrence for message in messages]


async def test_a_dead_occurrence_is_still_one_and_can_be_requeued(store: Store) -> None:
    message = occurrence()
    await do(store, first(message))
    letter = DeadLetter.of(message, NOW + 7, "out of attempts")
    assert await store.bury(await store.claim(NOW, 10, LEASE), [letter]) == [True]
    assert await store.find_dead([message.id]) == [letter]
    assert await do(store, Move("nightly", b"1", b"2", unless=message.id)) == Moved(Step.DONE, b"2")
    assert await store.requeue(await store.dead_letters(1), NOW + 9) == [True]
    assert await do(store, Move("nightly", b"2", b"3", unless=message.id)) == Moved(Step.HELD, b"2")
    [claim] = await store.claim(NOW + 9, 10, LEASE)
    assert claim.message == replace(message, due=NOW + 9)
    assert await do(store, Move("nightly", b"2", b"3", unless=message.id)) == Moved(Step.HELD, b"2")


async def test_what_was_put_again_is_not_doubled_by_a_requeue(store: Store) -> None:
    message, anew = occurrence(), occurrence(body=OTHER_BODY)
    await do(store, first(message))
    await store.bury(await store.claim(NOW, 10, LEASE), [DeadLetter.of(message, NOW, "no")])
    await do(store, Move("nightly", b"1", b"2", put=[anew]))
    assert await store.requeue(await store.dead_letters(1), NOW) == [True]
    assert await everything(store) == {anew.id: anew}
    assert await store.count() == 1


# -- what is taken -----------------------------------------------------------------------------------------------


async def test_what_waits_is_taken(store: Store, place: Place) -> None:
    messages = [occurrence(ms) for ms in range(3)]
    await do(store, Move("nightly", None, b"1", put=messages))
    move = Move("nightly", b"1", b"2", take=[messages[0].id, "nobody", messages[2].id, messages[0].id])
    assert await do(store, move) == Moved(Step.DONE, b"2", 2)
    assert await everything(store) == {messages[1].id: messages[1]}
    assert await do(store, Move("nightly", b"2", None, take=ids(messages), sure=False)) == Moved(Step.DONE, None, 1)
    assert await in_thread(place.leftovers) == []


async def test_what_is_in_a_backlog_is_taken_and_the_backlog_goes_with_the_last(store: Store) -> None:
    messages = [occurrence(ms) for ms in range(2)]
    await do(store, Move("nightly", None, b"1", put=messages))
    assert await store.claim(NOW + 1, 10, LEASE, full=["sink"]) == []
    assert await do(store, Move("nightly", b"1", b"2", take=[messages[0].id], sure=True)) == Moved(Step.DONE, b"2", 1)
    assert await store.backlogs() == ["sink"]
    assert await do(store, Move("nightly", b"2", b"3", take=[messages[1].id], sure=True)) == Moved(Step.DONE, b"3", 1)
    assert await store.backlogs() == []
    assert await store.count() == 0


async def test_what_is_taken_and_put_in_one_move_has_the_new_bytes(store: Store) -> None:
    await do(store, first(occurrence()))
    anew = replace(occurrence(body=OTHER_BODY), due=NOW + 5)
    move = Move("nightly", b"1", b"2", put=[anew], take=[anew.id], sure=True)
    assert await do(store, move) == Moved(Step.DONE, b"2", 1)
    assert await everything(store) == {anew.id: anew}
    assert await store.next_due() == NOW + 5


async def test_a_message_that_is_no_occurrence_can_be_taken_too(store: Store, place: Place) -> None:
    plain, keyed = waiting(), waiting(key="k")
    await store.aput([plain, keyed])
    assert await do(store, Move("nightly", None, None, take=ids([plain, keyed]))) == Moved(Step.DONE, None, 2)
    assert await in_thread(place.leftovers) == []
    assert (await store.aput([waiting(key="k")]))[0].created


@pytest.mark.parametrize("sure", [False, True])
@pytest.mark.parametrize("state", ["claimed", "expired", "unknown"])
async def test_what_does_not_wait_is_not_taken_and_whoever_is_sure_stops_there(
    store: Store, state: str, sure: bool
) -> None:
    old, new = occurrence(expires=1 if state == "expired" else None), occurrence(60)
    await do(store, Move("nightly", None, b"1", put=[] if state == "unknown" else [old]))
    if state == "claimed":
        await store.claim(NOW, 10, LEASE)
    others = occurrence(30)
    await store.aput([others])
    moved = await do(store, Move("nightly", b"1", b"2", put=[new], take=[others.id, old.id], sure=sure))
    assert moved == (Moved(Step.GONE, b"1") if sure else Moved(Step.DONE, b"2", 1))
    assert await store.cursors() == {"nightly": b"1" if sure else b"2"}
    there = {others.id} if sure else {new.id}
    assert set(await everything(store)) == there | ({old.id} if state != "unknown" else set())


# -- what must not overlap -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", ["waiting", "expired", "in a backlog", "claimed", "overdue again", "waiting for an ack"]
)
async def test_nothing_is_done_while_the_one_before_is_there(store: Store, state: str) -> None:
    before = occurrence(expires=1 if state == "expired" else None)
    await do(store, first(before))
    match state:
        case "in a backlog":
            assert await store.claim(NOW, 10, LEASE, full=["sink"]) == []
        case "claimed":
            await store.claim(NOW, 10, LEASE)
        case "overdue again":
            await store.claim(NOW, 10, LEASE)
            [late] = await store.claim(NOW + LEASE, 10, LEASE)
            assert late.message.id == before.id
        case "waiting for an ack":
            assert await store.postpone(await store.claim(NOW, 10, LEASE), [NOW + 900], spend=1) == [True]
    move = Move("nightly", b"1", b"2", put=[occurrence(60)], unless=before.id)
    assert await do(store, move) == Moved(Step.HELD, b"1")
    assert await store.cursors() == {"nightly": b"1"}
    assert list(await everything(store)) == [before.id]


@pytest.mark.parametrize("attempts", [0, 1])
@pytest.mark.parametrize("way", ["finished", "buried", "cancelled", "taken", "held back and taken", "never there"])
async def test_it_goes_on_when_the_one_before_is_gone(store: Store, place: Place, way: str, attempts: int) -> None:
    before = occurrence()
    if way == "never there":
        await do(store, Move("nightly", None, b"1"))
    else:
        await do(store, first(before))
        await tried(store, attempts)
    match way:
        case "finished":
            assert await store.finish(await store.claim(NOW, 10, LEASE)) == [True]
        case "buried":
            claims = await store.claim(NOW, 10, LEASE)
            assert await store.bury(claims, [DeadLetter.of(claims[0].message, NOW, "no")]) == [True]
            assert await store.purge([before.id]) == [True]
        case "cancelled":
            assert await store.acancel([Named(before.id)]) == [True]
        case "taken":
            assert (await do(store, Move("nightly", b"1", b"1", take=[before.id]))).taken == 1
        case "held back and taken":
            assert await store.hold_back(await store.claim(NOW, 10, LEASE), ["sink"]) == [True]
            assert (await do(store, Move("nightly", b"1", b"1", take=[before.id]))).taken == 1
    assert await do(store, Move("nightly", b"1", None, unless=before.id)) == Moved(Step.DONE, None)
    assert await in_thread(place.leftovers) == []


async def tried(store: Store, times: int) -> None:
    """What is due was handed over, and is due again, so often."""
    for _ in range(times):
        claims = await store.claim(NOW, 10, LEASE)
        assert all(await store.postpone(claims, [NOW] * len(claims), spend=1))


async def test_an_occurrence_may_be_moved_and_is_found_where_it_is(store: Store) -> None:
    message = occurrence()
    await do(store, first(message))
    assert await store.areschedule(Named(message.id), NOW + 50)
    assert await store.aget(Named(message.id)) == replace(message, due=NOW + 50)
    [claim] = await store.claim(NOW + 50, 10, LEASE)
    assert await store.aget(Named(message.id)) is None
    assert await store.acancel([Named(message.id)]) == [False]
    assert await store.areschedule(Named(message.id), NOW) is False
    assert await store.postpone([claim], [NOW + 70], spend=0) == [True]
    assert await store.aget(Named(message.id)) == replace(message, due=NOW + 70)
