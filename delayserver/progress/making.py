"""A piece of work is made: from what is known of it, or joined by its key."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Any, TypedDict

from ..content import shown
from ..errors import InvalidMessage
from ..message import new_id
from ..stores import get_stores
from ..stores.entries import Change
from .board import KEPT_UNFINISHED, Board
from .record import Number, Record, steps

MAX_ID_LENGTH = 80
_ID = re.compile(r"[a-zA-Z0-9._-]+")


class Known(TypedDict, total=False):
    """What is known of a piece of work from the start.

    total
        how much there is to do, in whatever it is counted in
    text
        what is shown beside the bar, at most 500 characters
    user
        who may see it: a user, or a primary key; whoever has the token if left out
    id
        a name of your own, of 1 to 80 ASCII letters, digits, hyphens, underscores and periods; if there is work of
        that name, it is that
    """

    total: Number
    text: str
    user: Any
    id: str


def is_id(id: object) -> bool:
    return isinstance(id, str) and len(id) <= MAX_ID_LENGTH and bool(_ID.fullmatch(id))


def new_record(known: Known, **more: Any) -> Record:
    """The record of a new piece of work; `InvalidMessage` for what cannot be shown."""
    if unknown := known.keys() - Known.__annotations__:
        raise TypeError(f"expected {', '.join(Known.__annotations__)}; got an unexpected {min(unknown)!r}")
    id = known["id"] if known.get("id") is not None else new_id(0)
    if not is_id(id):
        raise InvalidMessage(
            f"expected id to be 1 to {MAX_ID_LENGTH} ASCII letters, digits, hyphens, underscores and periods,"
            f" got {shown(id)}"
        )
    return Record(id, **steps(None, known.get("total"), known.get("text")), **more)


# -- one for all who ask for the same ----------------------------------------------------------------------------


async def joined(board: Board, key: str, record: Record) -> Record:
    """The work of this key that is not over; or `record`, from now on. In the board's thread."""
    name = f"key.{blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"
    store = get_stores().choose(key=name)
    mine: Record | None = None
    while True:
        entry = await board.entry(store, name)
        found = None if entry is None else await board.look(entry.body.decode())
        if found is not None and not found.is_over:
            if mine is not None and mine.id != found.id:
                await board.forget(mine)
            return found
        mine = mine or await board.put(record)  # before its name: who finds that shall find it, too
        change = Change(name, entry.version if entry else 0, mine.id.encode(), KEPT_UNFINISHED.days * 86_400_000)
        if await board.change(store, change):
            return mine
