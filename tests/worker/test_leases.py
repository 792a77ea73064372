"""What is in hand stays in hand while its handler runs, and is somebody else's once its worker is dead."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from channels.layers import get_channel_layer

from delayserver import Retry, asend_later, keeping
from delayserver.layers import channels_redis_source, get_layer
from delayserver.layers.base import Desired
from delayserver.layers.channels_redis_source import RedisSource
from delayserver.loops import taking
from delayserver.message import Ticket

from ..support.wait import await_for
from .conftest import PATIENCE, Site

LEASE = 0.6
BRIEF = Retry(max_attempts=5, backoff=timedelta(milliseconds=20), ack_timeout=timedelta(seconds=LEASE))


@pytest.fixture(params=["redis"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels_redis_source, "LEASE_SECONDS", LEASE)
    monkeypatch.setattr(channels_redis_source, "SOON_SECONDS", 0.05)
    monkeypatch.setattr(RedisSource, "lease", LEASE)
    monkeypatch.setattr(keeping, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(taking, "CALM_SECONDS", 0.0)


async def is_over(site: Site, since: float) -> None:
    """Several leases are."""
    await await_for(lambda: time.monotonic() > since + 3 * LEASE, PATIENCE, "leases to be over")


async def test_a_long_handler_is_run_once_with_another_worker_beside_it(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.serve()
    await site.work()
    await site.work()
    await asend_later("jobs", {"type": "wait", "n": 1}, delay=0, retry=BRIEF)
    await site.send("plain", type="wait", n=2)
    await site.has_begun(2)
    await is_over(site, time.monotonic())
    site.gate.set()
    await site.has_seen(2)
    await site.is_empty()
    assert Counter(message["n"] for message in site.begun) == {1: 1, 2: 1}
    assert not [record for record in caplog.records if "no longer this worker's" in record.getMessage()]


async def test_who_blocks_the_loop_is_named_and_keeps_its_lease(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "BLOCKED_SECONDS", 0.2)

    async def block(scope: Any, receive: Any, send: Any) -> None:
        site.seen.append(await receive())
        time.sleep(2 * LEASE)

    await site.work("plain", application=block)
    await site.send("plain", type="probe")
    await site.has_seen(1)
    await site.stop()
    assert len(site.seen) == 1
    [line] = [record.getMessage() for record in caplog.records if "blocked the event loop" in record.getMessage()]
    assert line.startswith("a handler on channel plain has blocked the event loop for ")
    assert (
        "tests.worker.test_leases.test_who_blocks_the_loop_is_named_and_keeps_its_lease.<locals>.block, line " in line
    )
    assert not [record for record in caplog.records if "no longer this worker's" in record.getMessage()]


async def test_who_is_handled_too_late_is_refused_and_nothing_is_undone(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping.Keeper, "_keep", lambda _: None)
    site.serve()
    await site.work()
    await asend_later("jobs", {"type": "wait"}, delay=0, retry=BRIEF)
    first, second = (await site.has_begun(2))[:2]
    assert [one["__delay__"]["attempt"] for one in (first, second)] == [1, 2]
    site.gate.set()
    await site.is_empty()
    await site.stop()
    lines = [record.getMessage() for record in caplog.records if "was handled too late" in record.getMessage()]
    assert any("attempt 1 had run into its ack_timeout" in line for line in lines)
    assert await site.store.dead_letters(10) == []


class DeadWorkers:
    """Workers that take all there is and are never heard of again."""

    def __init__(self) -> None:
        [self._source] = get_layer("default").sources(["jobs", "plain"])

    async def take(self, number: int) -> None:
        found: list[Any] = []

        async def look() -> bool:
            desired = [Desired("jobs", 100), Desired("plain", 100)]
            found.extend((await self._source.turn((), desired, 100, over=True)).taken)
            return len(found) >= number

        await await_for(look, PATIENCE, f"{number} messages to take")


async def test_what_dead_workers_had_in_hand_runs_in_another(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    for n in range(5):
        await site.send("plain", type="probe", n=n)
    await DeadWorkers().take(5)
    await site.work()
    await site.has_seen(5)
    assert sorted(message["n"] for message in site.seen) == list(range(5))
    assert sum("in the hand of a worker that died" in record.getMessage() for record in caplog.records) == 5


async def test_what_has_retry_and_was_in_a_dead_workers_hand_is_due_at_once_with_its_attempt_spent(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    retry = Retry(max_attempts=3, ack_timeout=timedelta(hours=1))
    site.serve()
    await asend_later("jobs", {"type": "probe"}, delay=0, retry=retry)
    await DeadWorkers().take(1)
    await site.work()
    [message] = await site.has_seen(1)
    assert message["__delay__"]["attempt"] == 2
    await site.is_empty()


async def begun(site: Site) -> list[int]:
    """How often each message that is charged was begun since a worker first died with it."""
    return sorted(int(times) for times in await get_channel_layer().connection(0).hvals("{delayserver}:charges:asgi"))


async def test_what_workers_die_of_is_a_dead_letter_and_the_innocent_beside_it_are_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker dies as a killed process does: it does nothing any more, and its leases run out."""
    for n in range(4):
        await site.send("plain", type="wait" if n == 0 else "probe", n=n)
    await DeadWorkers().take(4)
    for deaths in (2, 3):
        worker = await site.work("plain")
        await await_for(lambda: site.running["plain"] == 1, PATIENCE, "it to run again")
        await site.has_seen(3)
        assert max(await begun(site)) == deaths
        await die(site, worker)
    await site.work("plain")
    [letter] = await site.letters(1)
    assert letter.reason == "3 workers died while they ran it"
    assert sorted(message["n"] for message in site.seen) == [1, 2, 3]
    await await_for(lambda: begun_none(site), PATIENCE, "the charges to be dropped")


async def begun_none(site: Site) -> bool:
    return await begun(site) == []


async def die(site: Site, worker: Any) -> None:
    """All its tasks end without a word, and nobody keeps its leases."""
    [(_, task)] = [pair for pair in site._servers if pair[0] is worker]
    site._servers = [pair for pair in site._servers if pair[0] is not worker]
    worker._jobs._keeper.stop()
    worker._jobs._room.closed = True  # or a handler that is cancelled has cancelled itself, and that is told
    handlers = list(worker._jobs._tasks.values())
    for handler in handlers:
        handler.cancel()
    await asyncio.gather(*handlers, return_exceptions=True)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_tickets_are_read_from_what_they_lie_in() -> None:
    from delayserver.tickets import ticket_of

    assert ticket_of({"type": "x", "__delay__": {"id": "a", "attempt": 2}}) == Ticket("a", 2)
    for other in ({}, {"id": "a"}, {"id": "a", "attempt": 0}, {"id": 1, "attempt": 1}, {"id": "a", "attempt": "1"}, 7):
        assert ticket_of({"type": "x", "__delay__": other}) is None
    assert ticket_of(["no dict"]) is None
