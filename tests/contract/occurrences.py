"""Occurrences of schedules, and moves that put them."""

from __future__ import annotations

from typing import Any

import msgpack

from delayserver.message import Occurrence, Waiting
from delayserver.stores.base import Store
from delayserver.stores.moves import Move, Moved
from delayserver.stores.shelf import Wanted

from ..support.clock import NOW
from .places import waiting

OTHER_BODY: bytes = msgpack.packb({"type": "other.message"})


def occurrence(ms: int = 0, *, schedule: str = "nightly", **parts: Any) -> Waiting:
    firing = Occurrence(schedule, NOW + ms)
    return waiting(firing.scheduled_for, id=firing.id, occurrence=firing, **parts)


def first(message: Waiting, cursor: bytes = b"1") -> Move:
    """The first move of a message's schedule, which puts it."""
    assert message.occurrence is not None
    return Move(message.occurrence.schedule, None, cursor, put=[message])


async def do(store: Store, move: Move) -> Moved:
    [moved] = await store.put_occurrences([move])
    return moved


async def everything(store: Store) -> dict[str, Waiting]:
    page = await store.look(Wanted(), 1_000)
    return {one.message.id: one.message for one in page.listed}
