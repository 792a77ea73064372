"""A key is unique among those that wait; messages that wait can be cancelled and moved, by id or by key."""

from __future__ import annotations

import pytest

from delayserver.backoff import Retry
from delayserver.errors import KeyTaken
from delayserver.message import OnConflict
from delayserver.stores.base import Named, Store

from ..support.clock import NOW
from .places import LEASE, Place, each, ids, in_thread, waiting

CONFLICTS: tuple[OnConflict, ...] = ("keep", "replace", "error")


async def test_keep_keeps_the_message_that_waits_and_tells_of_it(store: Store) -> None:
    first, second = waiting(NOW, key="k"), waiting(NOW + 1, key="k")
    await store.aput([first])
    [receipt] = await store.aput(each("keep", [second]))
    assert receipt == (first.id, first.due, False)
    assert ids(await store.claim(NOW + 1, 10, LEASE)) == [first.id]


async def test_replace_puts_the_new_message_in_the_old_ones_stead(store: Store) -> None:
    first, second = waiting(NOW, key="k"), waiting(NOW + 1, key="k")
    await store.aput([first])
    [receipt] = await store.aput(each("replace", [second]))
    assert receipt == (second.id, second.due, True)
    assert await store.next_due() == NOW + 1
    assert ids(await store.claim(NOW + 1, 10, LEASE)) == [second.id]


async def test_error_raises_and_stores_nothing(store: Store) -> None:
    first = waiting(NOW, key="k")
    await store.aput([first])
    with pytest.raises(KeyTaken, match="'k' is waiting already"):
        await store.aput(each("error", [waiting(NOW, key="k")]))
    with pytest.raises(KeyTaken):
        await in_thread(store.put, each("error", [waiting(NOW, key="k")]))
    assert ids(await store.claim(NOW, 10, LEASE)) == [first.id]


async def test_of_a_batch_with_one_taken_key_nothing_is_stored(store: Store) -> None:
    await store.aput([waiting(NOW, key="taken")])
    batch = [waiting(NOW), waiting(NOW, key="free"), waiting(NOW, key="taken"), waiting(NOW)]
    with pytest.raises(KeyTaken, match="taken"):
        await store.aput(each("error", batch))
    assert await store.count() == 1
    [receipt] = await store.aput(each("error", [waiting(NOW, key="free")]))
    assert receipt.created


async def test_of_a_batch_that_takes_one_key_twice_nothing_is_stored(store: Store) -> None:
    with pytest.raises(KeyTaken, match="'k'"):
        await store.aput(each("error", [waiting(NOW, key="k"), waiting(NOW, key="k")]))
    assert await store.count() == 0


async def test_within_a_batch_keys_are_kept_and_replaced_in_order(store: Store) -> None:
    one, two = waiting(NOW, key="k"), waiting(NOW + 1, key="k")
    assert [receipt.created for receipt in await store.aput(each("keep", [one, two]))] == [True, False]
    three, four = waiting(NOW + 2, key="k"), waiting(NOW + 3, key="k")
    assert [receipt.created for receipt in await store.aput(each("replace", [three, four]))] == [True, True]
    assert ids(await store.claim(NOW + 9, 10, LEASE)) == [four.id]


@pytest.mark.parametrize("on_conflict", CONFLICTS)
async def test_a_key_is_free_from_the_moment_of_the_claim(store: Store, on_conflict: OnConflict) -> None:
    first, second = waiting(NOW, key="k"), waiting(NOW + 1, key="k")
    await store.aput([first])
    claims = await store.claim(NOW, 10, LEASE)
    [receipt] = await store.aput(each(on_conflict, [second]))
    assert receipt == (second.id, second.due, True)
    assert await store.finish(claims) == [True]
    assert await store.acancel([Named(key="k")]) == [True]


async def test_a_postponed_message_has_its_key_again(store: Store) -> None:
    message = waiting(NOW, key="k", retry=Retry())
    await store.aput([message])
    for spend in (0, -1):
        claims = await store.claim(NOW, 10, LEASE)
        await store.postpone(claims, [NOW], spend=spend)
        [receipt] = await store.aput(each("keep", [waiting(NOW, key="k")]))
        assert receipt == (message.id, NOW, False)
    assert await store.acancel([Named(key="k")]) == [True]
    assert await store.count() == 0


@pytest.mark.parametrize("on_conflict", CONFLICTS)
async def test_a_message_that_is_handed_over_does_not_hold_its_key(store: Store, on_conflict: OnConflict) -> None:
    first, second = waiting(NOW, key="k", retry=Retry()), waiting(NOW + 1, key="k")
    await store.aput([first])
    assert await store.postpone(await store.claim(NOW, 10, LEASE), [NOW], spend=1) == [True]
    assert await store.aget(Named(key="k")) is None
    assert await store.acancel([Named(key="k")]) == [False]
    [receipt] = await store.aput(each(on_conflict, [second]))
    assert receipt == (second.id, second.due, True)
    assert ids(await store.claim(NOW + 1, 10, LEASE)) == [first.id, second.id]


async def test_a_postponed_message_leaves_its_key_to_the_one_that_took_it(store: Store) -> None:
    first, second = waiting(NOW, key="k"), waiting(NOW + 1, key="k")
    await store.aput([first])
    claims = await store.claim(NOW, 10, LEASE)
    await store.aput([second])
    assert await store.postpone(claims, [NOW], spend=0) == [True]
    assert await store.count() == 2
    assert await store.acancel([Named(key="k")]) == [True]
    assert ids(await store.claim(NOW + 1, 10, LEASE)) == [first.id]


@pytest.mark.parametrize(
    ("one", "two"),
    [("a", "A"), ("a", "a "), ("é", "e"), ("ß", "ss"), ("k", "k\u200b"), ("1", "\uff11"), ("x", "x" * 200)],
)
async def test_keys_are_compared_code_point_by_code_point(store: Store, one: str, two: str) -> None:
    receipts = await store.aput(each("error", [waiting(NOW, key=one), waiting(NOW, key=two)]))
    assert [receipt.created for receipt in receipts] == [True, True]
    assert await store.acancel([Named(key=two)]) == [True]
    assert [claim.message.key for claim in await store.claim(NOW, 10, LEASE)] == [one]


# -- cancel --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["id", "key"])
async def test_what_waits_can_be_cancelled_once(store: Store, place: Place, by: str) -> None:
    message = waiting(NOW + 5, key="k")
    await store.aput([message])
    named = Named(**{by: getattr(message, by)})
    assert await store.acancel([named]) == [True]
    assert await store.acancel([named]) == [False]
    assert await in_thread(place.leftovers) == []


async def test_a_plain_thread_can_cancel(store: Store) -> None:
    message = waiting(NOW)
    await store.aput([message])
    assert await in_thread(store.cancel, [Named(id=message.id), Named(id="unknown"), Named(key="unknown")]) == [
        True,
        False,
        False,
    ]


async def test_of_many_names_each_is_answered(store: Store) -> None:
    messages = [waiting(NOW, key=f"k{n}") for n in range(4)]
    await store.aput(messages)
    named = [Named(id=messages[0].id), Named(key="k1"), Named(key="k1"), Named(id=messages[1].id), Named(key="k9")]
    assert await store.acancel(named) == [True, True, False, False, False]
    assert ids(await store.claim(NOW, 10, LEASE)) == ids(messages[2:])


@pytest.mark.parametrize("by", ["id", "key"])
async def test_what_is_claimed_can_be_neither_cancelled_nor_moved(store: Store, by: str) -> None:
    message = waiting(NOW, key="k")
    await store.aput([message])
    claims = await store.claim(NOW, 10, LEASE)
    named = Named(**{by: getattr(message, by)})
    assert await store.acancel([named]) == [False]
    assert await store.areschedule(named, NOW + 9) is False
    assert await store.next_due() == NOW + LEASE
    assert await store.finish(claims) == [True]


async def test_a_cancelled_message_frees_its_key(store: Store) -> None:
    message = waiting(NOW, key="k")
    await store.aput([message])
    await store.acancel([Named(id=message.id)])
    [receipt] = await store.aput(each("error", [waiting(NOW, key="k")]))
    assert receipt.created


async def test_what_was_postponed_can_be_cancelled(store: Store, place: Place) -> None:
    message = waiting(NOW, key="k", retry=Retry())
    await store.aput([message])
    await store.postpone(await store.claim(NOW, 10, LEASE), [NOW + 50], spend=1)
    assert await store.acancel([Named(id=message.id)]) == [True]
    assert await in_thread(place.leftovers) == []


# -- reschedule ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["id", "key"])
@pytest.mark.parametrize("due", [NOW - 10, NOW + 10, NOW + 5])
async def test_what_waits_can_be_moved_to_any_instant(store: Store, by: str, due: int) -> None:
    message = waiting(NOW + 5, key="k", expires=NOW + 100)
    await store.aput([message])
    assert await store.areschedule(Named(**{by: getattr(message, by)}), due) is True
    assert await store.next_due() == due
    assert await store.claim(due - 1, 10, LEASE) == []
    [claim] = await store.claim(due, 10, LEASE)
    assert (claim.message.id, claim.message.due, claim.message.expires) == (message.id, due, NOW + 100)


async def test_a_moved_message_can_be_moved_and_cancelled_again(store: Store, place: Place) -> None:
    message = waiting(NOW, key="k")
    await store.aput([message])
    for due in (NOW + 7, NOW - 7, NOW, NOW + 8):
        assert await in_thread(store.reschedule, Named(id=message.id), due) is True
    [receipt] = await store.aput(each("keep", [waiting(NOW, key="k")]))
    assert receipt == (message.id, NOW + 8, False)
    assert await store.acancel([Named(key="k")]) == [True]
    assert await in_thread(place.leftovers) == []


async def test_what_is_not_there_cannot_be_moved(store: Store) -> None:
    assert await store.areschedule(Named(id="unknown"), NOW) is False
    assert await store.areschedule(Named(key="unknown"), NOW) is False
    assert await store.count() == 0
