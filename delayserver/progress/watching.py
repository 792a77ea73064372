"""Who looks on in this process, and what is looked after while somebody does.

Whoever watches is told of what this process writes at once, and of the rest by the channel layer, where a process has
one channel for all who watch here. That may be full, or away: so all that is watched is read again twice a second, as
one question however many watch.

Somebody who watches is also what a poller may wait for, and what finds out that one is dead: that its step became a
dead letter, or was purged.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from ..changing import areschedule
from ..clock import monotonic
from ..events import PROGRESS_UNHEARD, emit
from ..hearing import Hearing
from ..loops.base import insist
from ..stores import get_stores
from ..stores.base import Named
from ..stores.entries import Change
from .board import Board, get_board, group_of
from .record import Record, Update, updated

LOOK_SECONDS = 0.5  # how often what is watched is read again
JOINED_SECONDS = 3_600.0  # how long a group may be relied on: layers forget their members after a day
BEAT_SECONDS = 5.0  # how often it is said that somebody watches
WATCHED = timedelta(seconds=15)  # and how long that holds
MAX_KEPT = 10_000
DEAD_SECONDS = 30.0  # how long nothing may change before it is asked whether anything will
DEAD = "its next step is not there any more: it became a dead letter, or was purged"

Frame = Mapping[str, Any]
Tell = Callable[[Frame | None], None]


class Watches:
    """What this process watches; in the board's thread, but for `add` and `remove`, which may be called from any."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._told: dict[str, set[Tell]] = defaultdict(set)
        self._joined: dict[str, float] = {}  # whose groups this process is in, and since when
        self._beaten: dict[str, float] = {}  # when it was last said that somebody watches
        self._checked: dict[str, float] = {}  # and when something about it was last seen to be in order
        self._looking: asyncio.Task[None] | None = None
        self._hearing = Hearing(board.alias, "progress", self._heard, self._joined.clear)
        board.watched = self._written

    def add(self, id: str, tell: Tell) -> None:
        """`tell` is called with the frame now, and whenever it changes; with None where there is none."""
        self.board.submit(self._add(id, tell))

    def remove(self, id: str, tell: Tell) -> None:
        self.board.submit(self._remove(id, tell))

    def attend(self, record: Record) -> None:
        """Somebody has looked, and will again."""
        for kept in (self._beaten, self._checked):
            if len(kept) >= MAX_KEPT:  # nobody says when he looks no more
                kept.clear()
        self.board.submit(insist("progress", partial(self._look_after, record)))

    async def _add(self, id: str, tell: Tell) -> None:
        """First listen, then look: what changes in between is not missed."""
        self._told[id].add(tell)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on(), name="delayserver progress watching")
        await self._join(id)
        await insist("progress", partial(self._look, id))

    async def _remove(self, id: str, tell: Tell) -> None:
        self._told[id].discard(tell)
        if not self._told[id]:
            for kept in (self._told, self._beaten, self._checked):
                kept.pop(id, None)
            await self._leave(id)

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

    async def _join(self, id: str) -> None:
        if self.board.in_memory or monotonic() - self._joined.get(id, -JOINED_SECONDS) < JOINED_SECONDS:
            return
        self._joined[id] = monotonic()
        try:
            channel = await self._hearing.channel()
            await self._hearing.layer.group_add(group_of(id), channel)
        except Exception as error:  # noqa: BLE001  a layer may raise anything; the store is looked at all the same
            self._joined.pop(id, None)
            emit(PROGRESS_UNHEARD, error=error)

    async def _leave(self, id: str) -> None:
        if self._joined.pop(id, None) is not None:
            with contextlib.suppress(Exception):  # the layer may be away; what comes all the same is nobody's
                await self._hearing.layer.group_discard(group_of(id), await self._hearing.channel())
            if id in self._told:  # somebody came meanwhile
                await self._join(id)

    async def _look_on(self) -> None:
        """For as long as anybody watches."""
        try:
            while self._told:
                await asyncio.sleep(LOOK_SECONDS)
                await insist("progress", self._look_at_all)
        finally:
            self._looking = None

    async def _look_at_all(self) -> None:
        await asyncio.gather(*(self._look(id) for id in list(self._told)))

    async def _look(self, id: str) -> None:
        record = await self.board.look(id)
        self._tell(id, None if record is None else record.frame())
        if id in self._told:
            await self._join(id)
        if record is not None:
            await self._look_after(record)

    # -- looked after --------------------------------------------------------------------------------------------

    async def _look_after(self, record: Record) -> None:
        if record.is_over or not record.poller:
            return
        now = monotonic()
        if record.pauses and now - self._beaten.get(record.id, -BEAT_SECONDS) >= BEAT_SECONDS:
            self._beaten[record.id] = now
            await say_watched(self.board, record.id)
        if record.paused:
            await areschedule(step_id(record.id, record.run.step + 1), delay=0)
        elif now - self._checked.setdefault(record.id, now) >= DEAD_SECONDS:
            self._checked[record.id] = now
            await self._bury(record)

    async def _bury(self, record: Record) -> None:
        """Say that it failed, if neither its step nor the next one is anywhere."""
        for step in (record.run.step, record.run.step + 1):  # in this order: the next is put before the present is gone
            for store in get_stores():
                if await store.aget(Named(step_id(record.id, step))) is not None:
                    return
        dead = Update({"state": "failed", "error": DEAD}, run=record.run)
        await asyncio.wrap_future(self.board.write(record.id, partial(_if_unchanged, record, dead)))


def _if_unchanged(seen: Record, update: Update, record: Record, now: int) -> Record | None:
    return updated(record, update, now) if record.run == seen.run else None


def step_id(id: str, step: int) -> str:
    """The id of the message that is a poller's step."""
    return f"{id}.{step}"


def watched_name(id: str) -> str:
    """The entry that is there while somebody watches."""
    return f"watched.{id}"


async def say_watched(board: Board, id: str) -> None:
    """In the board's thread."""
    store = get_stores().choose(key=id)
    await board.change(store, Change(watched_name(id), None, b"", WATCHED // timedelta(milliseconds=1)))


async def is_watched(board: Board, id: str) -> bool:
    """In the board's thread."""
    return await board.entry(get_stores().choose(key=id), watched_name(id)) is not None


# -- of this process -----------------------------------------------------------------------------------------------

_watches: Watches | None = None
_making = threading.Lock()


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
