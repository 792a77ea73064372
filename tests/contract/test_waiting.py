"""Put, claim, finish, postpone: a message is never removed before it is safe; taking it makes it due again later."""

from __future__ import annotations

from datetime import timedelta

import pytest

from delayserver.backoff import Retry
from delayserver.message import OnConflict
from delayserver.stores.base import Named, Store

from ..support.clock import NOW
from .places import LEASE, Place, each, ids, in_thread, letter, waiting


async def test_a_message_put_is_claimed_as_it_was_put(store: Store) -> None:
    message = waiting()
    [receipt] = await store.aput([message])
    assert receipt == (message.id, message.due, True)
    [claim] = await store.claim(NOW, 10, LEASE)
    assert claim.message == message


async def test_a_plain_thread_can_put(store: Store) -> None:
    message = waiting()
    [receipt] = await in_thread(store.put, [message])
    assert receipt == (message.id, message.due, True)
    assert ids(await store.claim(NOW, 10, LEASE)) == [message.id]


async def test_messages_are_claimed_in_the_order_in_which_they_are_due(store: Store) -> None:
    late, early, middle = waiting(NOW - 1), waiting(NOW - 3), waiting(NOW - 2)
    await store.aput([late, early, middle])
    assert ids(await store.claim(NOW, 10, LEASE)) == ids([early, middle, late])


async def test_messages_due_at_once_are_claimed_in_the_order_in_which_they_were_made(store: Store) -> None:
    messages = [waiting(channel=f"c{n % 3}", body=bytes([n % 7])) for n in range(50)]
    await store.aput(messages[25:])
    await store.aput(messages[:25])
    assert ids(await store.claim(NOW, 100, LEASE)) == ids(messages)


async def test_a_claim_takes_no_more_than_its_limit_and_leaves_the_rest(store: Store) -> None:
    messages = [waiting() for _ in range(7)]
    await store.aput(messages)
    taken = [ids(await store.claim(NOW, 3, LEASE)) for _ in range(4)]
    assert taken == [ids(messages[:3]), ids(messages[3:6]), ids(messages[6:]), []]


async def test_no_message_is_claimed_early(store: Store) -> None:
    message = waiting(NOW + 1)
    await store.aput([message])
    assert await store.claim(NOW, 10, LEASE) == []
    assert ids(await store.claim(NOW + 1, 10, LEASE)) == [message.id]


async def test_next_due_is_the_earliest_of_all(store: Store) -> None:
    assert await store.next_due() is None
    await store.aput([waiting(NOW + 30), waiting(NOW + 10), waiting(NOW + 20)])
    assert await store.next_due() == NOW + 10


async def test_a_claimed_message_counts_and_is_due_when_its_lease_ends(store: Store) -> None:
    await store.aput([waiting()])
    await store.claim(NOW, 10, LEASE)
    assert await store.count() == 1
    assert await store.next_due() == NOW + LEASE


async def test_a_claim_that_ran_out_is_taken_again_by_whoever_comes(store: Store, other: Store) -> None:
    message = waiting(key="k", retry=Retry())
    await store.aput([message])
    [first] = await store.claim(NOW, 10, LEASE)
    assert await other.claim(NOW + LEASE - 1, 10, LEASE) == []
    [second] = await other.claim(NOW + LEASE, 10, LEASE)
    assert ids([second]) == [message.id]
    assert second.message.content()["type"] == "test.message"
    assert second.generation != first.generation


async def test_finish_leaves_nothing_at_all(store: Store, place: Place) -> None:
    await store.aput([waiting(), waiting(key="k"), waiting(expires=NOW + 5), waiting(retry=Retry())])
    claims = await store.claim(NOW, 10, LEASE)
    assert await store.finish(claims) == [True] * 4
    assert await store.count() == 0
    assert await store.next_due() is None
    assert await in_thread(place.leftovers) == []


async def test_the_last_finish_of_a_moved_message_leaves_nothing_at_all(store: Store, place: Place) -> None:
    await store.aput([message := waiting(key="k", retry=Retry())])
    claims = await store.claim(NOW, 10, LEASE)
    await store.postpone(claims, [NOW + 5], spend=1)
    assert await store.areschedule(Named(message.id), NOW + 3)
    assert await store.finish(await store.claim(NOW + 3, 10, LEASE)) == [True]
    assert await in_thread(place.leftovers) == []


async def test_postpone_keeps_the_message_and_its_order(store: Store) -> None:
    messages = [waiting(NOW - n) for n in range(5)]
    await store.aput(messages)
    claims = await store.claim(NOW, 10, LEASE)
    assert await store.postpone(claims, [NOW + 7] * 5, spend=0) == [True] * 5
    assert await store.next_due() == NOW + 7
    assert await store.claim(NOW + 6, 10, LEASE) == []
    again = await store.claim(NOW + 7, 10, LEASE)
    assert ids(again) == sorted(ids(messages))
    assert {claim.message.due for claim in again} == {NOW + 7}


async def test_each_message_can_be_postponed_to_an_instant_of_its_own(store: Store) -> None:
    messages = [waiting() for _ in range(3)]
    await store.aput(messages)
    claims = await store.claim(NOW, 10, LEASE)
    await store.postpone(claims, [NOW + 3, NOW + 1, NOW + 2], spend=0)
    again = await store.claim(NOW + 3, 10, LEASE)
    assert ids(again) == ids([messages[1], messages[2], messages[0]])


async def test_spend_counts_an_attempt_and_waiting_again_does_not(store: Store) -> None:
    retry = Retry(max_attempts=9, backoff=timedelta(milliseconds=3), jitter=0.25)
    await store.aput([waiting(retry=retry)])
    attempts = []
    for n, spend in enumerate([1, 0, 1, 0]):
        [claim] = await store.claim(NOW + n, 10, LEASE)
        attempts.append(claim.message.attempt)
        await store.postpone([claim], [NOW + n + 1], spend=spend)
    assert attempts == [0, 1, 1, 2]
    [claim] = await store.claim(NOW + 4, 10, LEASE)
    assert claim.message.retry == retry


async def test_a_late_server_is_told_so_and_undoes_nothing(store: Store, other: Store) -> None:
    message = waiting(key="k", retry=Retry())
    await store.aput([message])
    stale = await store.claim(NOW, 10, LEASE)
    [held] = await other.claim(NOW + LEASE, 10, LEASE)

    assert await store.finish(stale) == [False]
    assert await store.postpone(stale, [NOW + 9 * LEASE], spend=1) == [False]
    assert await store.bury(stale, [letter(NOW)]) == [False]

    assert await store.dead_letters(10) == []
    assert await store.count() == 1
    assert await store.next_due() == NOW + 2 * LEASE
    assert await other.finish([held]) == [True]
    assert await store.finish(stale) == [False]
    assert await store.count() == 0


async def test_a_claim_that_was_used_is_worth_nothing(store: Store) -> None:
    """Even where the message is due again at the very instant at which the lease ends."""
    message = waiting()
    await store.aput([message])
    claims = await store.claim(NOW, 10, LEASE)
    assert await store.postpone(claims, [NOW + LEASE], spend=0) == [True]
    assert await store.finish(claims) == [False]
    assert await store.postpone(claims, [NOW + 9 * LEASE], spend=0) == [False]
    assert await store.bury(claims, [letter(NOW)]) == [False]
    assert ids(await store.claim(NOW + LEASE, 10, LEASE)) == [message.id]


async def test_a_batch_tells_of_each_claim_whether_it_held(store: Store, other: Store) -> None:
    messages = [waiting(NOW), waiting(NOW + 1), waiting(NOW + 2)]
    await store.aput(messages)
    claims = await store.claim(NOW + 2, 10, LEASE)
    await store.finish(claims[1:2])
    assert await store.finish(claims) == [True, False, True]


async def test_a_message_finished_and_put_again_is_new(store: Store) -> None:
    message = waiting(key="k")
    await store.aput([message])
    stale = await store.claim(NOW, 10, LEASE)
    await store.finish(stale)
    [receipt] = await store.aput([message])
    assert receipt.created
    assert await store.finish(stale) == [False]
    assert ids(await store.claim(NOW, 10, LEASE)) == [message.id]


@pytest.mark.parametrize("on_conflict", ["keep", "replace", "error"])
@pytest.mark.parametrize("key", [None, "k"])
async def test_putting_the_same_message_again_changes_nothing(
    store: Store, key: str | None, on_conflict: OnConflict
) -> None:
    """As it happens where the answer to a put is lost, and a client puts again."""
    message = waiting(NOW + 5, key=key)
    first = await store.aput(each(on_conflict, [message]))
    assert await store.aput(each(on_conflict, [message])) == first
    assert await store.count() == 1
    await store.areschedule(Named(id=message.id), NOW + 3)
    await store.aput(each(on_conflict, [message]))
    assert await store.next_due() == NOW + 3
    assert ids(await store.claim(NOW + 5, 10, LEASE)) == [message.id]


@pytest.mark.parametrize("on_conflict", ["keep", "replace", "error"])
@pytest.mark.parametrize("key", [None, "k"])
async def test_putting_the_same_message_again_does_not_take_it_from_its_server(
    store: Store, place: Place, key: str | None, on_conflict: OnConflict
) -> None:
    message = waiting(key=key)
    await store.aput([message])
    claims = await store.claim(NOW, 10, LEASE)
    await store.aput(each(on_conflict, [message]))
    assert await store.claim(NOW + LEASE - 1, 10, LEASE) == []
    assert await store.acancel([Named(key="k")]) == [False]
    assert await store.finish(claims) == [True]
    assert await in_thread(place.leftovers) == []


async def test_a_store_that_was_closed_and_opened_again_still_has_its_messages(place: Place) -> None:
    message = waiting()
    before = place.store()
    await before.open()
    await before.aput([message])
    await before.aclose()
    after = place.store()
    await after.open()
    try:
        assert [claim.message for claim in await after.claim(NOW, 10, LEASE)] == [message]
    finally:
        await after.aclose()


@pytest.mark.parametrize("count", [1, 500])
async def test_a_batch_of_any_size_up_to_the_limit_goes_through(store: Store, count: int) -> None:
    messages = [waiting() for _ in range(count)]
    receipts = await store.aput(messages)
    assert ids(receipts) == ids(messages)
    claims = await store.claim(NOW, 500, LEASE)
    assert ids(claims) == ids(messages)
    assert await store.postpone(claims, [NOW + 1] * count, spend=0) == [True] * count
    claims = await store.claim(NOW + 1, 500, LEASE)
    assert await store.finish(claims) == [True] * count
    assert await store.count() == 0


async def test_a_claim_is_bounded_in_bytes(store: Store, kind: str) -> None:
    """Whatever is due: what a server holds in its memory at once is not. In the memory store it lies there anyway."""
    messages = [waiting(body=b"x" * 1_000_000) for _ in range(40)]
    for message in messages:
        await store.aput([message])
    claimed: list[str] = []
    while claims := await store.claim(NOW, 500, LEASE):
        if kind != "memory":
            assert len(claims) <= 30  # a portion is read before it is known how large it is
        claimed += ids(claims)
        assert all(await store.finish(claims))
    assert claimed == ids(messages)
