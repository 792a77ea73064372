"""Whatever races, one wins."""

from __future__ import annotations

import asyncio
import functools
import threading

from delayserver.errors import KeyTaken
from delayserver.message import OnConflict, Receipt, Waiting
from delayserver.stores.base import Named, Store

from ..support.clock import NOW
from .places import LEASE, Place, each, ids, in_thread, in_threads, waiting

THREADS = 16


async def put_at_once(place: Place, messages: list[Waiting], on_conflict: OnConflict) -> list[Receipt | None]:
    """Each message by a thread and a store of its own; None where its key was taken."""
    start = threading.Barrier(len(messages))

    def put(message: Waiting) -> Receipt | None:
        store = place.store()
        start.wait(10)
        try:
            return store.put(each(on_conflict, [message]))[0]
        except KeyTaken:
            return None

    return await in_threads([functools.partial(put, message) for message in messages])


async def test_of_many_threads_that_put_one_key_exactly_one_creates_it(store: Store, place: Place) -> None:
    receipts = await put_at_once(place, [waiting(key="k") for _ in range(THREADS)], "keep")
    assert [receipt.created for receipt in receipts if receipt].count(True) == 1
    [claim] = await store.claim(NOW, 100, LEASE)
    assert {receipt.id for receipt in receipts if receipt} == {claim.message.id}


async def test_of_many_threads_that_want_an_error_all_but_one_get_it(store: Store, place: Place) -> None:
    receipts = await put_at_once(place, [waiting(key="k") for _ in range(THREADS)], "error")
    assert receipts.count(None) == THREADS - 1
    assert await store.count() == 1


async def test_of_many_threads_that_replace_one_remains(store: Store, place: Place) -> None:
    receipts = await put_at_once(place, [waiting(key="k") for _ in range(THREADS)], "replace")
    assert all(receipt and receipt.created for receipt in receipts)
    [claim] = await store.claim(NOW, 100, LEASE)
    assert claim.message.id in {receipt.id for receipt in receipts if receipt}


async def test_many_threads_that_put_different_messages_all_succeed(store: Store, place: Place) -> None:
    messages = [waiting() for _ in range(THREADS)]
    await put_at_once(place, messages, "keep")
    assert ids(await store.claim(NOW, 100, LEASE)) == ids(messages)


async def test_many_threads_that_put_the_same_message_put_it_once(store: Store, place: Place) -> None:
    await put_at_once(place, [waiting(id="same")] * THREADS, "keep")
    assert ids(await store.claim(NOW, 100, LEASE)) == ["same"]


async def test_two_servers_never_claim_the_same_message(store: Store, other: Store) -> None:
    messages = [waiting() for _ in range(200)]
    await store.aput(messages)

    async def serve(server: Store) -> list[str]:
        seen: list[str] = []
        while await server.count():
            claims = await server.claim(NOW, 7, LEASE)
            seen += ids(claims)
            assert all(await server.finish(claims))
        return seen

    async with asyncio.timeout(30):
        seen = await asyncio.gather(serve(store), serve(other))
    assert sorted(seen[0] + seen[1]) == ids(messages)


async def test_a_message_is_either_cancelled_or_claimed(store: Store, other: Store) -> None:
    messages = [waiting() for _ in range(60)]
    await store.aput(messages)

    async def cancel() -> set[str]:
        cancelled = set()
        for message in reversed(messages):
            if (await other.acancel([Named(id=message.id)]))[0]:
                cancelled.add(message.id)
        return cancelled

    async def serve() -> set[str]:
        seen: set[str] = set()
        while claims := await store.claim(NOW, 2, LEASE):
            seen |= set(ids(claims))
        return seen

    cancelled, claimed = await asyncio.gather(cancel(), serve())
    claimed |= set(ids(await store.claim(NOW, 100, LEASE)))
    assert cancelled | claimed == set(ids(messages))
    assert not cancelled & claimed


async def test_a_thread_can_put_while_servers_work(store: Store, other: Store, place: Place) -> None:
    messages = [waiting() for _ in range(40)]
    done: list[str] = []

    def put() -> None:
        mine = place.store()
        for message in messages:
            mine.put([message])

    async def serve(server: Store) -> None:
        while len(done) < len(messages):
            claims = await server.claim(NOW, 3, LEASE)
            assert all(await server.finish(claims))
            done.extend(ids(claims))

    async with asyncio.timeout(30):
        await asyncio.gather(in_thread(put), serve(store), serve(other))
    assert sorted(done) == ids(messages)
