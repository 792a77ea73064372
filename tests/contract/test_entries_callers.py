"""Who changes entries: many at once, on any event loop of any thread, in any process."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from itertools import chain

from asgiref.sync import sync_to_async

from delayserver.stores.base import Store
from delayserver.stores.entries import Change, Entry

from .entries import KEEP, change, read
from .places import Place, in_threads

ROUNDS = 10


async def test_of_many_that_race_exactly_one_makes_each_version(place: Place, store: Store) -> None:
    """Threads, each with a store and an event loop of its own, and tasks beside them that share two stores."""
    start = threading.Barrier(11)
    shared = [place.store(), place.store()]

    async def race(one: Store) -> list[int]:
        won = []
        for _ in range(ROUNDS):
            entry = await read(one, "a")
            version = await change(one, "a", entry.version if entry else 0, b"x")
            if version:
                won.append(version)
        return won

    async def alone() -> list[int]:
        mine = place.store()
        try:
            return await race(mine)
        finally:
            await close(place, mine)

    async def together() -> list[int]:
        try:
            for one in shared:  # redis-py's client of a cluster may fail where many are the first at once
                await read(one, "a")
            return [*chain(*await asyncio.gather(*(race(shared[n % 2]) for n in range(10))))]
        finally:
            for one in shared:
                await close(place, one)

    def run(act: Callable[[], Coroutine[None, None, list[int]]]) -> list[int]:
        start.wait(10)
        return asyncio.run(act())

    won = [*chain(*await in_threads([*[lambda: run(alone)] * 10, lambda: run(together)]))]
    entry = await read(store, "a")
    assert sorted(won) == list(range(1, len(won) + 1))
    assert entry is not None
    assert entry.version == len(won) >= ROUNDS


async def close(place: Place, store: Store) -> None:
    if place.kind != "memory":  # of which there is only one
        await store.aclose()


async def test_of_many_that_make_an_entry_exactly_one_does(place: Place, store: Store) -> None:
    names = [f"n{n:02}" for n in range(30)]
    start = threading.Barrier(8)

    async def make(one: Store, order: Sequence[str]) -> dict[str, int]:
        try:
            made: dict[str, int] = {}
            for some in (order[:10], order[10:20], order[20:]):
                versions = await one.change_entries([Change(name, 0, b"x", KEEP) for name in some])
                made |= dict(zip(some, versions, strict=True))
            return made
        finally:
            await close(place, one)

    def run(order: Sequence[str]) -> dict[str, int]:
        start.wait(10)
        return asyncio.run(make(place.store(), order))

    made = await in_threads([functools.partial(run, names[::step]) for step in (1, -1) * 4])
    assert {name: sum(one[name] for one in made) for name in names} == dict.fromkeys(names, 1)


async def test_an_event_loop_elsewhere_is_answered_while_the_thread_of_sync_code_waits_for_it(place: Place) -> None:
    """As a sync view does, which holds the thread in which Django's async ORM works."""

    def view() -> Sequence[Entry | None]:
        answers: list[Sequence[Entry | None]] = []

        async def work() -> None:
            mine = place.store()
            await change(mine, "a", 0, b"1")
            answers.append(await mine.entries(["a"]))
            await close(place, mine)

        thread = threading.Thread(target=lambda: asyncio.run(work()), daemon=True)
        thread.start()
        thread.join(20)
        return answers[0]

    assert await sync_to_async(view, thread_sensitive=True)() == [Entry(1, b"1")]


async def test_one_store_serves_event_loops_one_after_the_other_and_side_by_side(place: Place) -> None:
    one = place.store()

    async def work(name: str) -> int:
        for seen in range(5):
            assert await change(one, name, seen) == seen + 1
        return 5

    def run(name: str) -> int:
        return asyncio.run(work(name))

    assert await in_threads([functools.partial(run, f"n{n}") for n in range(4)]) == [5] * 4
    assert await change(one, "n0", 5) == 6
    await close(place, one)


async def test_after_a_fork_parent_and_child_both_go_on(place: Place, store: Store) -> None:
    if place.kind == "memory":
        return  # which no two processes share
    for seen in range(3):
        await change(store, "a", seen, b"parent")

    def in_child() -> int:
        return asyncio.run(change(store, "a", 3, b"child"))

    pid = os.fork()
    if not pid:
        status = 1
        try:
            status = 0 if in_child() == 4 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, pid, 0))[1]) == 0
    assert await change(store, "a", 4, b"parent") == 5
    assert await read(store, "a") == Entry(5, b"parent")
