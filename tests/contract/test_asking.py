"""`get`; what has expired waits no longer for callers; and a put with a policy for each message."""

from __future__ import annotations

from datetime import timedelta

import pytest

from delayserver.backoff import Retry
from delayserver.errors import KeyTaken
from delayserver.message import OnConflict, Target, Waiting
from delayserver.stores.base import Named, Store

from ..support.clock import NOW
from .places import LEASE, each, ids, in_thread, waiting


async def present(store: Store) -> int:
    return (await store.aread_clock()).now()


async def test_a_waiting_message_is_got_by_id_and_by_key(store: Store) -> None:
    retry = Retry(max_attempts=3, backoff=timedelta(seconds=9))
    message = waiting(NOW, key="k", expires=NOW + 5, retry=retry, body=b"x" * 20_000)
    await store.aput([message, waiting(NOW)])
    assert await store.aget(Named(message.id)) == message
    assert await store.aget(Named(key="k")) == message
    assert await in_thread(store.get, Named(key="k")) == message


async def test_nobody_gets_what_does_not_wait(store: Store) -> None:
    message = waiting(NOW, key="k")
    await store.aput([message])
    assert await store.aget(Named("nobody")) is None
    assert await store.aget(Named(key="nobody")) is None
    await store.claim(NOW, 1, LEASE)
    assert await store.aget(Named(message.id)) is None
    assert await store.aget(Named(key="k")) is None


async def test_a_message_is_got_where_it_was_moved_or_held_back(store: Store) -> None:
    moved, held_back = waiting(NOW, key="m"), waiting(NOW + 1, channel="full", key="h")
    await store.aput([moved, held_back])
    await store.areschedule(Named(key="m"), NOW + 50)
    await store.claim(NOW + 1, 10, LEASE, full=["full"])
    found = [await store.aget(Named(key=key)) for key in "mh"]
    assert [message and message.due for message in found] == [NOW + 50, NOW + 1]


async def test_attempts_that_are_spent_are_told(store: Store) -> None:
    message = waiting(NOW, retry=Retry())
    await store.aput([message])
    claims = await store.claim(NOW, 1, LEASE)
    await store.postpone(claims, [NOW + 5], spend=1)
    found = await store.aget(Named(message.id))
    assert found is not None
    assert (found.attempt, found.due) == (1, NOW + 5)


# -- what has expired -------------------------------------------------------------------------------------------


async def expired(store: Store) -> Waiting:
    """One under the key "k" that no server has dropped yet."""
    now = await present(store)
    message = waiting(now - 1_000, key="k", expires=now - 500)
    await store.aput([message])
    return message


@pytest.mark.parametrize("on_conflict", ["keep", "replace", "error"])
async def test_the_key_of_an_expired_message_is_free(store: Store, on_conflict: OnConflict) -> None:
    old = await expired(store)
    new = waiting(await present(store) + 60_000, key="k")
    [receipt] = await store.aput(each(on_conflict, [new]))
    assert (receipt.id, receipt.created) == (new.id, True)
    assert await store.aget(Named(key="k")) == new
    assert ids(await store.claim(old.due + 10, 10, LEASE)) == [old.id]  # for a server to drop and to count
    assert await store.acancel([Named(key="k")]) == [True]


async def test_an_expired_message_can_be_neither_got_nor_moved_nor_cancelled(store: Store) -> None:
    message = await expired(store)
    for named in (Named(message.id), Named(key="k")):
        assert await store.aget(named) is None
        assert await store.areschedule(named, message.due + 10**6) is False
        assert await store.acancel([named]) == [False]
    assert ids(await store.claim(message.due, 10, LEASE)) == [message.id]  # a server drops it


async def test_what_expires_later_waits_until_then(store: Store) -> None:
    now = await present(store)
    await store.aput([waiting(now - 1_000, key="k", expires=now + 60_000)])
    [receipt] = await store.aput([waiting(now, key="k")])
    assert not receipt.created
    assert await store.acancel([Named(key="k")]) == [True]


# -- policies -----------------------------------------------------------------------------------------------------


async def test_each_message_of_a_put_has_a_policy_of_its_own(store: Store) -> None:
    await store.aput([waiting(NOW, key="a"), waiting(NOW, key="b")])
    batch = [
        *each("keep", [waiting(NOW + 1, key="a")]),
        *each("replace", [waiting(NOW + 2, key="b")]),
        *each("error", [waiting(NOW + 3, key="c")]),
        waiting(NOW + 4),
    ]
    assert [receipt.created for receipt in await store.aput(batch)] == [False, True, True, True]
    assert await store.count() == 4


@pytest.mark.parametrize("first", ["keep", "replace", "error"])
async def test_an_error_among_others_puts_none_of_them(store: Store, first: OnConflict) -> None:
    old = waiting(NOW, key="b")
    await store.aput([old])
    batch = [*each(first, [waiting(NOW, key="a")]), *each("replace", [waiting(NOW, key="b")])]
    with pytest.raises(KeyTaken, match="'a'"):
        await store.aput([*batch, waiting(NOW), *each("error", [waiting(NOW, key="a")])])
    assert await store.count() == 1
    assert await store.aget(Named(key="b")) == old


async def test_one_key_in_a_put_goes_to_the_last_that_replaces(store: Store) -> None:
    one, two = waiting(NOW, key="k"), waiting(NOW + 1, key="k")
    receipts = await store.aput([one, *each("replace", [two]), waiting(NOW + 2, key="k")])
    assert [(receipt.id, receipt.created) for receipt in receipts] == [(one.id, True), (two.id, True), (two.id, False)]
    assert await store.count() == 1


async def test_a_group_is_got_as_a_group(store: Store) -> None:
    message = Waiting("of any form", NOW, Target("group", "listeners"), b"\x80")
    await store.aput([message])
    assert await store.aget(Named("of any form")) == message
