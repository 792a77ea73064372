"""Where a store keeps its messages, seen from outside; and messages to put there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgpack
from django.db import connections

from delayserver.message import Claim, DeadLetter, OnConflict, Receipt, Target, Waiting, new_id
from delayserver.stores.base import Store

from ..support.clock import NOW

T = TypeVar("T")

LEASE = 1_000
BODY: bytes = msgpack.packb({"type": "test.message"})


@dataclass(frozen=True)
class Place:
    """`store` makes another store here, as another process would; `empty` forgets everything.

    `leftovers` lists whatever lies here at all, by the names that the place itself has for it.
    """

    kind: str
    store: Callable[[], Store]
    empty: Callable[[], None]
    leftovers: Callable[[], list[str]]


def waiting(due: int = NOW, *, channel: str = "sink", id: str | None = None, **parts: Any) -> Waiting:
    """A message as a store gets it."""
    return Waiting(id or new_id(due), due, Target("channel", channel), **{"body": BODY, **parts})


def each(on_conflict: OnConflict, messages: Sequence[Waiting]) -> list[Waiting]:
    """The messages, to be put with this policy."""
    return [replace(message, on_conflict=on_conflict) for message in messages]


def letter(at: int, reason: str = "it would not go") -> DeadLetter:
    return DeadLetter(new_id(at), at, reason, "sink", BODY)


def ids(messages: Sequence[Claim | Waiting | Receipt]) -> list[str]:
    return [one.message.id if isinstance(one, Claim) else one.id for one in messages]


async def in_thread(act: Callable[..., T], *args: Any) -> T:
    """`act` as a plain thread calls it; the thread's database connections end with it."""
    return (await in_threads([lambda: act(*args)]))[0]


async def in_threads(acts: Sequence[Callable[[], T]]) -> list[T]:
    """All at once, each in a thread of its own."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(len(acts)) as threads:
        return list(await asyncio.gather(*(loop.run_in_executor(threads, _tidy, act) for act in acts)))


def _tidy(act: Callable[[], T]) -> T:
    try:
        return act()
    finally:
        connections.close_all()
