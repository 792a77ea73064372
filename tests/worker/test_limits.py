"""How many at once, and the end of a worker."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from channels.layers import get_channel_layer

from delayserver import Retry, aget, asend_later
from delayserver.loops.room import Subscription
from delayserver.stores.base import Store
from delayserver.stores.memory import MemoryStore

from ..support.wait import await_for
from .conftest import PATIENCE, Site

SLOW = Retry(max_attempts=3, backoff=timedelta(hours=1), ack_timeout=timedelta(hours=1))


@pytest.fixture(params=["memory", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_never_more_than_concurrency_and_never_fewer_where_there_is_work(site: Site) -> None:
    for n in range(30):
        await site.send("jobs" if n % 2 else "plain", type="wait", n=n)
    await site.work(concurrency=7)
    await site.has_begun(7)
    for _ in range(50):
        await asyncio.sleep(0)
    assert site.running.total() == 7
    site.gate.set()
    await site.has_seen(30)
    assert site.most[""] == 7
    assert Counter(message["n"] for message in site.seen) == Counter(range(30))


async def test_a_channel_at_its_limit_holds_up_no_other_and_is_gone_on_with(site: Site) -> None:
    for n in range(10):
        await site.send("plain", type="wait", n=n)
    await site.work("jobs", Subscription("plain", 2), concurrency=5)
    await site.has_begun(2)
    for _ in range(20):
        await site.send("jobs", type="probe")
    await site.has_seen(20)
    assert site.most == {"plain": 2, "": 2}
    site.gate.set()
    await site.has_seen(30)
    assert site.most == {"plain": 2, "": 2}


async def test_a_full_worker_leaves_the_rest_on_the_channel(site: Site) -> None:
    """`ChannelFull` protects the sender again: the worker does not read ahead."""
    await site.work("jobs", concurrency=2, grace=0)
    for n in range(9):
        await site.send("jobs", type="wait", n=n)
    await site.has_begun(2)
    await site.stop()
    layer = get_channel_layer()
    assert len(site.begun) == 2
    assert sorted([(await layer.receive("jobs"))["n"] for _ in range(9)]) == list(range(9))


async def test_what_ends_within_the_grace_is_done_and_nothing_new_is_taken(site: Site) -> None:
    worker = await site.work("jobs", concurrency=3, grace=PATIENCE)
    for n in range(3):
        await site.send("jobs", type="wait", n=n)
    await site.has_begun(3)
    stopping = asyncio.create_task(site.stop(worker))
    await asyncio.sleep(0)
    await site.send("jobs", type="probe", n=3)
    for _ in range(50):
        await asyncio.sleep(0)
    assert not stopping.done()
    site.gate.set()
    await stopping
    assert sorted(message["n"] for message in site.seen) == [0, 1, 2]
    assert await get_channel_layer().receive("jobs") == {"type": "probe", "n": 3}


async def test_what_does_not_end_within_the_grace_is_cut_off_and_on_the_channel_again(site: Site) -> None:
    worker = await site.work("jobs", concurrency=2, grace=0.05)
    for n in range(3):
        await site.send("jobs", type="wait", n=n)
    await site.has_begun(2)
    await site.stop(worker)
    assert site.running.total() == 0
    assert site.seen == []
    site.gate.set()
    await site.work("jobs")
    await site.has_seen(3)
    assert sorted(message["n"] for message in site.seen) == [0, 1, 2]
    assert await site.store.dead_letters(10) == []


async def test_what_has_retry_and_is_cut_off_is_due_now_and_its_attempt_is_spent(site: Site) -> None:
    site.serve()
    worker = await site.work("jobs", grace=0.05)
    receipt = await asend_later("jobs", {"type": "wait"}, delay=0, retry=SLOW)
    await site.has_begun(1)
    await site.stop(worker)
    site.gate.set()
    await site.work("jobs")
    [message] = await site.has_seen(1)
    assert message["__delay__"]["attempt"] == 2
    assert message["__delay__"]["id"] == receipt.id
    await site.is_empty()
    assert await aget(receipt.id) is None


async def test_the_last_attempt_that_is_cut_off_is_given_back_too(site: Site) -> None:
    """No message dies of a deploy."""
    site.serve()
    worker = await site.work("jobs", grace=0.05)
    await asend_later("jobs", {"type": "wait"}, delay=0, retry=Retry(max_attempts=1))
    await site.has_begun(1)
    await site.stop(worker)
    site.gate.set()
    await site.work("jobs")
    [message] = await site.has_seen(1)
    assert message["__delay__"]["attempt"] == 1
    await site.is_empty()
    assert await site.store.dead_letters(10) == []


class AwayStore(MemoryStore):
    """Can be switched off for what consumers say."""

    away = False

    async def refuse(self, letters: object) -> None:
        self._fail()
        await super().refuse(letters)  # type: ignore[arg-type]

    async def aread_clock(self) -> object:  # type: ignore[override]
        self._fail()
        return await super().aread_clock()

    def _fail(self) -> None:
        if type(self).away:
            raise ConnectionError("the store is away")


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch, site: Site) -> type[AwayStore]:
    from delayserver.stores import Stores, _made

    monkeypatch.setitem(_made, "default", Stores([AwayStore()]))
    monkeypatch.setattr(AwayStore, "away", True)
    monkeypatch.setattr("delayserver.loops.base.RETRY_SECONDS", (0.02,))
    return AwayStore


async def test_while_the_store_is_away_nothing_is_lost_and_not_too_much_is_taken(
    site: Site, away: type[AwayStore]
) -> None:
    for n in range(40):
        await site.send("jobs", type="crash", n=n)
    await site.work("jobs", concurrency=5)
    await site.has_seen(11)
    for _ in range(200):
        await asyncio.sleep(0)
    crowd = len(site.seen)
    assert crowd <= 2 * 5 + 5 + 5
    away.away = False
    store: Store = site.store
    await await_for(lambda: len(site.seen) >= 40, PATIENCE, "all to be handled")
    letters = await site.letters(40)
    assert len({letter.id for letter in letters}) == 40
    assert Counter(message["n"] for message in site.seen) == Counter(range(40))
    assert await store.count() == 0
