"""Who looks on in this process, and how it is told.

Whoever watches is told of what this process writes at once, and of the rest by the channel layer, where a process has
one channel for all who watch here. That may be full, or away: so all that is watched is read again twice a second, as
one question however many watch.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..clock import monotonic
from ..events import PROGRESS_UNHEARD, emit
from ..hearing import Hearing
from ..loops.base import Failures
from .board import Board, get_board, group_of
from .record import Record
from .tending import Tending

LOOK_SECONDS = 0.5  # how often what is watched is read again
JOIN_SECONDS = 1.0  # how long that may take before who watches is shown what the store has
JOINED_SECONDS = 3_600.0  # how long a group may be relied on: layers forget their members after a day

HEARING = "progress of others"  # as the log calls it

Frame = Mapping[str, Any]
Tell = Callable[[Frame | None], None]


class Watches:
    """What this process watches; in the board's thread, but for `add` and `remove`, which may be called from any."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._told: dict[str, set[Tell]] = defaultdict(set)
        self._joined: dict[str, float] = {}  # whose groups this process is in, and since when
        self._following: dict[str, asyncio.Task[None]] = {}
        self._tending = Tending(board)
        self._under_way: set[str] = set()  # what is looked at just now
        self._failures = Failures("progress")
        self._looking: asyncio.Task[None] | None = None
        self._hearing = Hearing(board.alias, HEARING, self._heard, self._joined.clear)
        board.watched = self._written

    def add(self, id: str, tell: Tell) -> None:
        """`tell` is called with the frame now, and whenever it changes; with None where there is none."""
        self.board.soon(self._add, id, tell)

    def remove(self, id: str, tell: Tell) -> None:
        with contextlib.suppress(RuntimeError):  # the board was closed, and nobody is told any more
            self.board.soon(self._remove, id, tell)

    def attend(self, record: Record) -> None:
        """Somebody has looked, and will again."""
        self.board.soon(self._attend, record)

    def _attend(self, record: Record) -> None:
        self._tending.forget_some()
        self._tending.look_after(record)

    def _add(self, id: str, tell: Tell) -> None:
        self._told[id].add(tell)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on(), name="delayserver progress watching")
        self.board.keep(self._listen_and_look(id))

    async def _listen_and_look(self, id: str) -> None:
        """In this order: what changes in between is not missed."""
        await self._follow(id)
        await self._look_once(id)

    async def _look_once(self, id: str) -> None:
        self._under_way.add(id)
        try:
            await self._look(id)
        except Exception as error:  # noqa: BLE001  it is looked at again with all the others
            self._failures.failed(error)
        finally:
            self._under_way.discard(id)

    def _remove(self, id: str, tell: Tell) -> None:
        self._told[id].discard(tell)
        if not self._told[id]:
            del self._told[id]
            self._tending.forget(id)
            self._follow(id)

    def _tell(self, id: str, frame: Frame | None) -> None:
        for tell in tuple(self._told.get(id, ())):
            tell(frame)

    def _written(self, record: Record) -> None:
        """By this process."""
        self._tell(record.id, record.frame())

    # -- heard -----------------------------------------------------------------------------------------------

    def _heard(self, message: Mapping[str, Any]) -> None:
        frame = message["frame"]
        self._tell(frame["id"], frame)

    def _follow(self, id: str) -> asyncio.Task[None]:
        """Be in the group of what is watched, and of nothing else: one step at a time."""
        following = self._following.get(id)
        if following is None:
            following = self._following[id] = asyncio.create_task(self._join_or_leave(id), name="delayserver progress")
        return following

    async def _join_or_leave(self, id: str) -> None:
        try:
            while not self._has_followed(id):
                async with asyncio.timeout(JOIN_SECONDS):
                    channel = await self._hearing.channel()
                    if id in self._told:
                        await self._hearing.layer.group_add(group_of(id), channel)
                        self._joined[id] = monotonic()
                    else:
                        self._joined.pop(id, None)
                        await self._hearing.layer.group_discard(group_of(id), channel)
        except Exception as error:  # noqa: BLE001  a layer may raise anything; the store is looked at all the same
            emit(PROGRESS_UNHEARD, error=error)
        finally:
            del self._following[id]

    def _has_followed(self, id: str) -> bool:
        if id not in self._told or self.board.in_memory:
            return id not in self._joined
        return monotonic() - self._joined.get(id, -JOINED_SECONDS) < JOINED_SECONDS

    async def _look_on(self) -> None:
        """For as long as anybody watches."""
        try:
            while self._told:
                await asyncio.sleep(LOOK_SECONDS)
                for id in self._told.keys() - self._under_way:  # one store that hangs does not hold up the others
                    self.board.keep(self._look_once(id))
        finally:
            self._looking = None

    async def _look(self, id: str) -> None:
        record = await self.board.look(id)
        self._tell(id, None if record is None else record.frame())
        if not self._has_followed(id):
            self._follow(id)
        if record is not None:
            self._tending.look_after(record)


# -- of this process -----------------------------------------------------------------------------------------------

_watches: Watches | None = None
_making = threading.Lock()


def _begin_in_child() -> None:
    global _making
    _making = threading.Lock()  # another thread may have had it


os.register_at_fork(after_in_child=_begin_in_child)


def _of_this_process() -> Watches:
    global _watches
    board = get_board()
    with _making:
        if _watches is None or _watches.board is not board:
            _watches = Watches(board)
        return _watches


def watch(id: str, tell: Tell) -> Callable[[], None]:
    """Look on; from any thread. `tell` is called in the board's thread; what is returned ends it."""
    watches = _of_this_process()
    watches.add(id, tell)
    return partial(watches.remove, id, tell)


def attend(record: Record) -> None:
    """Somebody has looked who cannot be told, and will look again."""
    _of_this_process().attend(record)
