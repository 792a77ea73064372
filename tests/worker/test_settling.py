"""What is settled late, or again after it failed midway."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from channels.layers import get_channel_layer
from channels.routing import ChannelNameRouter
from channels.worker import Worker as StockWorker

from delayserver import Retry, asend_later
from delayserver.acking import Handled, Settling
from delayserver.layers import get_layer
from delayserver.loops.settling import SettlingLoop
from delayserver.message import Message
from delayserver.stores.memory import MemoryStore
from delayserver.verdicts import Fail

from .conftest import Acking, Site


@pytest.fixture(params=["memory"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_under_runworker_a_quick_handler_is_acked_where_layer_and_store_are_two(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where layer and store are not one Redis a message is on its channel before its store knows of the hand-over: a
    handler that is quicker than that is told that it was too late, and the message runs again after its ack timeout.
    """
    postpone = MemoryStore.postpone

    async def slow(self: MemoryStore, *args: Any, spend: int) -> list[bool]:
        await asyncio.sleep(0.2)  # a database under load
        return await postpone(self, *args, spend=spend)

    monkeypatch.setattr(MemoryStore, "postpone", slow)
    worker = StockWorker(ChannelNameRouter({"jobs": Acking.as_asgi(site=site)}), ["jobs"], get_channel_layer())
    task = asyncio.create_task(worker.handle())
    site.serve()
    await asend_later("jobs", {"type": "probe"}, delay=0, retry=Retry())
    await site.has_seen(1)
    try:
        await site.is_empty()
    finally:
        task.cancel()


class Failing(MemoryStore):
    """Fails the call of this number of `name`, once."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__()
        self._name, self._left = name, number

    def _count(self, name: str) -> None:
        if name == self._name:
            self._left -= 1
            if self._left == 0:
                raise ConnectionError("away")

    async def refuse(self, letters: Any) -> None:
        self._count("refuse")
        await super().refuse(letters)

    async def bury(self, claims: Any, letters: Any) -> list[bool]:
        self._count("bury")
        return await super().bury(claims, letters)


async def settle_until_it_works(store: MemoryStore, handled: list[Handled]) -> None:
    settling = Settling([store], get_layer("default"), 100_000)
    for _ in range(2):
        try:
            await settling.settle(handled)
        except ConnectionError:
            continue
        return


async def test_what_is_settled_again_is_no_second_dead_letter(site: Site) -> None:
    store = Failing("refuse", 3)
    await settle_until_it_works(store, [Handled("jobs", {"type": "x", "n": n}, Fail("no")) for n in range(5)])
    assert await store.count_dead() == 5


async def test_what_is_settled_again_after_it_was_reclaimed_is_settled(site: Site) -> None:
    store = Failing("bury", 1)
    message = Message(channel="jobs", content={"type": "x"}, delay=0, retry=Retry()).waiting(store.clock, 10_000)
    store.put([message])
    while not (claims := await store.claim(store.clock.now(), 1, 1_000)):
        await asyncio.sleep(0)
    await store.postpone(claims, [store.clock.now() + 30_000], spend=1)
    content = {"type": "x", "__delay__": {"id": message.id, "attempt": 1}}
    await settle_until_it_works(store, [Handled("jobs", content, Fail("no"))])
    assert await store.count_dead() == 1


class Picky(MemoryStore):
    """Will not have one of them."""

    async def refuse(self, letters: Any) -> None:
        if any(letter.reason.endswith("never") for letter in letters):
            raise ValueError("never")
        await super().refuse(letters)


async def test_what_cannot_be_settled_holds_up_no_other(site: Site) -> None:
    store, settled = Picky(), list[int]()
    loop = SettlingLoop(Settling([store], get_layer("default"), 100_000))
    for n in range(20):
        loop.add(Handled("jobs", {"type": "x", "n": n}, Fail("never" if n == 3 else "no")), partial(settled.append, n))
    for _ in range(30):
        with suppress(ValueError):
            await loop.run_once()
    assert sorted(settled) == [n for n in range(20) if n != 3]
    assert len(loop) == 1
