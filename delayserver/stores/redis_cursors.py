"""The schedules' cursors in a hash beside the messages, and what moves with them: one Lua act."""

from __future__ import annotations

from abc import ABC
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..redis_link import Script, parts
from .base import MAX_BATCH
from .moves import Move, Moved, Step, refuse_moves
from .redis_members import pack_id, put_args
from .redis_shelf import MAX_ACT_BYTES, RedisShelf
from .redis_waitlist import Translated

PUT_OCCURRENCES = Script("messages", "put_occurrences")
TAKEN_BYTES = 4_096  # to find a message among many of one instant holds up Redis as long as to put so many bytes


class RedisCursors(RedisShelf, ABC):
    """What `RedisStore` has for schedules."""

    async def cursors(self, names: Collection[str] = ()) -> dict[str, bytes]:
        with Translated():
            if names:
                found = await self._link.here.ask("HMGET", self._schedules, *names)
                return {name: cursor for name, cursor in zip(names, found, strict=True) if cursor is not None}
            every = _pairs(await self._link.here.ask("HGETALL", self._schedules))
            return {name.decode(errors="replace"): cursor for name, cursor in every}  # one that is no text is nobody's

    async def put_occurrences(self, moves: Sequence[Move]) -> list[Moved]:
        refuse_moves(moves)
        found = [(move, _args(move)) for move in moves]
        moved: list[Moved] = []
        with Translated():
            for part in parts(found, MAX_BATCH, MAX_ACT_BYTES, _size):
                args = [self._channel, self._now()]
                for _, those in part:
                    args += those
                reply = await self._link.arun(PUT_OCCURRENCES, (*self._keys, self._schedules), args)
                moved += [_moved(move, *one) for (move, _), one in zip(part, reply, strict=True)]
        return moved


def _args(move: Move) -> list[Any]:
    """What ``put_occurrences.lua`` takes of a move."""
    taken = [pack_id(id) for id in dict.fromkeys(move.take)]
    unless = b"" if move.unless is None else pack_id(move.unless)
    head = [move.schedule, _told(move.seen), _told(move.then), int(move.sure), unless]
    return [*head, len(taken), *taken, len(move.put), *(part for message in move.put for part in put_args(message))]


def _size(found: tuple[Move, Sequence[Any]]) -> int:
    move, _ = found
    return len(move.take) * TAKEN_BYTES + sum(len(message.body) for message in move.put)


def _told(cursor: bytes | None) -> bytes:
    return b"" if cursor is None else b"=" + cursor


def _moved(move: Move, step: int, taken: int, cursor: bytes | None = None) -> Moved:
    match Step(step):
        case Step.OVERTAKEN:
            return Moved(Step.OVERTAKEN, cursor[1:] if cursor else None)
        case Step.DONE:
            return Moved(Step.DONE, move.then, taken)
        case other:
            return Moved(other, move.seen)


def _pairs(reply: Any) -> Any:
    """The fields of a hash, which a cluster's client has paired already."""
    return reply.items() if isinstance(reply, Mapping) else zip(reply[::2], reply[1::2], strict=True)
