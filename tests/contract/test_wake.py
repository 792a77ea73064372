"""A server that sleeps until `next_due` hears of what is put before that, whoever puts it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from delayserver.backoff import Retry
from delayserver.message import Ticket
from delayserver.stores.base import Named, Store
from delayserver.stores.moves import Move

from .places import Place, each, in_thread, waiting

WAKE_SECONDS = 2.0


@pytest.fixture
def due(store: Store) -> int:
    """An instant in the near future, by the store's own clock: what is far off need not wake anyone."""
    return int(store.clock.now()) + 1_000


async def sees(store: Store, due: int) -> None:
    """Sleep as a server does until the next message is the one due then; a wake-up too many does no harm."""
    async with asyncio.timeout(WAKE_SECONDS):
        while await store.next_due() != due:
            await store.earlier()


async def sleeping(store: Store, due: int) -> asyncio.Task[None]:
    """A server that sees `due` when it comes, and is asleep now."""
    await store.next_due()
    task = asyncio.create_task(sees(store, due))
    await asyncio.sleep(0.05)  # past whatever the opening rang
    assert not task.done()
    return task


async def test_a_put_from_another_store_wakes(store: Store, other: Store, due: int) -> None:
    server = await sleeping(store, due)
    await other.aput([waiting(due)])
    await server


async def test_a_sync_put_from_a_thread_wakes(store: Store, place: Place, due: int) -> None:
    server = await sleeping(store, due)
    await in_thread(place.store().put, [waiting(due)])
    await server


async def test_a_put_by_the_same_store_wakes(store: Store, due: int) -> None:
    server = await sleeping(store, due)
    await store.aput([waiting(due)])
    await server


async def test_what_is_put_earlier_than_the_first_wakes(store: Store, other: Store, due: int) -> None:
    await store.aput([waiting(due + 500)])
    server = await sleeping(store, due)
    await other.aput([waiting(due)])
    await server


async def test_a_batch_wakes_for_its_earliest(store: Store, other: Store, due: int) -> None:
    server = await sleeping(store, due)
    await other.aput([waiting(due + 5_000), waiting(due), waiting(due + 9_000)])
    await server


async def test_what_is_moved_to_an_earlier_instant_wakes(store: Store, other: Store, due: int) -> None:
    message = waiting(due + 3_600_000)
    await store.aput([message])
    server = await sleeping(store, due)
    await other.areschedule(Named(id=message.id), due)
    await server


async def test_what_replaces_by_key_wakes(store: Store, other: Store, due: int) -> None:
    await store.aput([waiting(due + 3_600_000, key="k")])
    server = await sleeping(store, due)
    await other.aput(each("replace", [waiting(due, key="k")]))
    await server


async def test_a_batch_that_replaces_one_of_its_own_wakes(store: Store, other: Store, due: int) -> None:
    server = await sleeping(store, due)
    await other.aput(each("replace", [waiting(due - 500, key="k"), waiting(due, key="k")]))
    await server


async def test_an_occurrence_wakes(store: Store, other: Store, due: int) -> None:
    server = await sleeping(store, due)
    await other.put_occurrences([Move("nightly", None, b"1", put=[waiting(due, id="schedule:nightly:1")])])
    await server


async def test_every_server_wakes(
    store: Store, other: Store, open_store: Callable[[], Awaitable[Store]], due: int
) -> None:
    if store is other:
        return  # memory: one process, one server
    servers = [await sleeping(store, due), await sleeping(other, due)]
    await (await open_store()).aput([waiting(due)])
    await asyncio.gather(*servers)


async def test_what_is_put_between_looking_and_sleeping_is_not_missed(store: Store, other: Store, due: int) -> None:
    for earlier in range(10):
        assert await store.next_due() != due - earlier
        await other.aput([waiting(due - earlier)])
        await asyncio.wait_for(store.earlier(), WAKE_SECONDS)
        await sees(store, due - earlier)


async def test_to_ask_for_the_first_due_is_not_to_look(store: Store, other: Store, due: int) -> None:
    """Whoever watches the server must not make it miss a wake-up."""
    server = await sleeping(store, due)
    await other.aput([waiting(due)])
    assert await store.first_due() == due
    await server


async def test_a_message_that_is_renewed_to_an_earlier_instant_wakes(store: Store, other: Store, due: int) -> None:
    now, timeout = due - 1_000, timedelta(milliseconds=1_000)
    await store.aput([message := waiting(now, retry=Retry(ack_timeout=timeout))])
    await store.postpone(await store.claim(now, 1, 1_000), [due + 60_000], spend=1)
    server = await sleeping(store, due)
    assert await other.arenew([Ticket(message.id, 1)], now) == [due]
    await server


@pytest.mark.parametrize("spend", [0, -1])
async def test_a_message_that_a_worker_postpones_to_an_earlier_instant_wakes(
    store: Store, other: Store, due: int, spend: int
) -> None:
    now = due - 1_000
    await store.aput([message := waiting(now, retry=Retry())])
    await store.postpone(await store.claim(now, 1, 1_000), [due + 60_000], spend=1)
    server = await sleeping(store, due)
    await other.postpone(
        [claim for claim in await other.reclaim([Ticket(message.id, 1)], now, 60_000) if claim], [due], spend=spend
    )
    await server
