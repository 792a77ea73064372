"""A worker's threads: few, one for each message, and each begins as a request does."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from delayserver import threads
from delayserver.threads import LentThread, Threads

Lend = Callable[..., Any]


@pytest.fixture(autouse=True)
def freshened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """In which thread connections were closed, in order."""
    where: list[str] = []
    monkeypatch.setattr(threads, "close_old_connections", lambda: where.append(threading.current_thread().name))
    return where


@pytest.fixture
def pool() -> Iterator[Threads]:
    pool = Threads(2)
    yield pool
    pool.stop()


def here() -> str:
    return threading.current_thread().name


async def message(pool: Threads, *acts: Callable[[], Any]) -> list[Any]:
    """One message, whose sync code is `acts`."""
    with pool.lent():
        return [await sync_to_async(act)() for act in acts]


async def test_one_messages_sync_code_is_all_in_one_thread_and_another_messages_in_another(pool: Threads) -> None:
    both = threading.Barrier(2, timeout=10)
    one, other = await asyncio.gather(message(pool, here, both.wait, here), message(pool, here, both.wait, here))
    assert one[0] == one[2] != other[0] == other[2]
    assert one[0].startswith("delayserver-task-")


async def test_there_are_no_more_threads_than_that_and_each_has_one_message_at_a_time(pool: Threads) -> None:
    in_it: defaultdict[str, int] = defaultdict(int)
    lock, most, names = threading.Lock(), list[int](), set[str]()

    def begin() -> None:
        with lock:
            in_it[here()] += 1
            names.add(here())
            most.append(max(in_it.values()))

    def end() -> None:
        with lock:
            in_it[here()] -= 1

    await asyncio.gather(*(message(pool, begin, here, end) for _ in range(30)))
    assert len(names) == 2
    assert max(most) == 1


async def test_connections_are_freshened_before_and_after_each_message(pool: Threads, freshened: list[str]) -> None:
    for _ in range(2):
        seen = await message(pool, here, lambda: list(freshened), here)
        assert seen[1][-1] == seen[0]
    await message(pool, here)
    assert len(freshened) >= 5


async def test_without_sync_code_there_is_no_thread(pool: Threads) -> None:
    for _ in range(5):
        await message(pool)
    assert pool._all == []


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
async def test_whatever_is_raised_the_thread_is_given_back(pool: Threads, error: type[BaseException]) -> None:
    def fail() -> None:
        raise error("no")

    for _ in range(5):
        with pytest.raises(error, match="no"):
            await message(pool, fail)
    assert await message(pool, here)
    assert len(pool._idle) == len(pool._all) == 1


async def test_stop_iteration_does_not_make_its_caller_wait_for_ever(pool: Threads) -> None:
    async with asyncio.timeout(10):
        with pytest.raises(RuntimeError, match="StopIteration"):
            await message(pool, lambda: next(iter(())))


async def test_who_waits_is_served_in_order_and_who_went_away_is_passed_over(pool: Threads) -> None:
    gate, order = threading.Event(), list[int]()
    busy = [asyncio.create_task(message(pool, lambda: gate.wait(10))) for _ in range(2)]
    await asyncio.sleep(0)
    waiting = []
    for n in range(4):
        waiting.append(asyncio.create_task(message(pool, lambda n=n: order.append(n))))  # type: ignore[misc]
        await asyncio.sleep(0)
    waiting[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[1]
    gate.set()
    await asyncio.gather(*busy, *(waiting[n] for n in (0, 2, 3)))
    assert sorted(order) == [0, 2, 3]
    assert order[0] == 0 or order[1] == 0  # two threads are free at once
    assert order[2] == 3 or order[1] == 3


async def test_after_the_message_nothing_more_is_begun(pool: Threads) -> None:
    thread = LentThread(pool)
    thread.give_back()
    with pytest.raises(RuntimeError, match="await what you begin"):
        thread.submit(here)


async def test_what_never_had_a_thread_is_cancelled(pool: Threads) -> None:
    gate = threading.Event()
    busy = [asyncio.create_task(message(pool, lambda: gate.wait(10))) for _ in range(2)]
    await asyncio.sleep(0)
    thread = LentThread(pool)
    future = thread.submit(here)
    thread.give_back()
    assert future.cancelled()
    gate.set()
    await asyncio.gather(*busy)


async def test_what_a_cancelled_message_still_runs_ends_before_the_next_begins_there() -> None:
    pool, gate, order = Threads(1), threading.Event(), list[str]()
    started = threading.Event()

    def slow() -> None:
        started.set()
        gate.wait(10)
        order.append("cancelled")

    task = asyncio.create_task(message(pool, slow))
    await asyncio.to_thread(started.wait, 10)
    task.cancel()
    following = asyncio.create_task(message(pool, lambda: order.append("next")))
    await asyncio.sleep(0)
    gate.set()
    await following
    await asyncio.gather(task, return_exceptions=True)
    assert order == ["cancelled", "next"]
    pool.stop()
