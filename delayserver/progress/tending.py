"""What is done for a poller while somebody watches: that is said, its waiting step is woken, and it is known to live.

A poller whose step became a dead letter, or was purged, cannot say so itself: who watches finds it out.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from ..changing import areschedule
from ..clock import monotonic
from ..loops.base import Failures
from ..stores import get_stores
from ..stores.base import Named
from ..stores.entries import Change
from .board import Board
from .record import Record, Run, Update, updated

BEAT_SECONDS = 5.0  # how often it is said that somebody watches
WATCHED = timedelta(seconds=15)  # and how long that holds
MAX_KEPT = 10_000
DEAD_SECONDS = 20.0  # how long no step may begin before it is asked whether one will
DEAD_LOOKS = 3  # so often: what a server has its hand on, which may be for a lease, is not seen
DEAD = "its next step is not there any more: it became a dead letter, or was purged"


class Seen(NamedTuple):
    """When a poller's step was last sought, in which run, and how often it has been missed since that began."""

    run: Run
    at: float
    missed: int = 0


class Tending:
    """Of the pollers that are watched in this process; in the board's thread."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._beaten: dict[str, float] = {}  # when it was last said that somebody watches
        self._checked: dict[str, Seen] = {}  # and when its step was last sought
        self._tended: set[str] = set()
        self._failures = Failures("progress")

    def forget(self, id: str) -> None:
        """Nobody watches it any more."""
        for kept in (self._beaten, self._checked):
            kept.pop(id, None)

    def forget_some(self) -> None:
        """Where too much is remembered: who looks by HTTP never says when he looks no more."""
        for kept in (self._beaten, self._checked):
            if len(kept) >= MAX_KEPT:
                kept.clear()

    def look_after(self, record: Record) -> None:
        """Beside the looking, which it must not hold up; and not twice at once."""
        if record.poller and not record.is_over and record.id not in self._tended:
            self._tended.add(record.id)
            self.board.keep(self._tend(record))

    async def _tend(self, record: Record) -> None:
        try:
            await self._do_for(record)
        except Exception as error:  # noqa: BLE001  it is done again when it is looked at again
            self._failures.failed(error)
        finally:
            self._tended.discard(record.id)

    async def _do_for(self, record: Record) -> None:
        now = monotonic()
        if record.pauses and now - self._beaten.get(record.id, -BEAT_SECONDS) >= BEAT_SECONDS:
            await say_watched(self.board, record.id)
            self._beaten[record.id] = now
        if record.paused:
            await areschedule(step_id(record.id, record.run.step + 1), delay=0)
        else:
            await self._check(record, now)

    async def _check(self, record: Record, now: float) -> None:
        """Say that it failed, if time and again neither its step nor the next one is anywhere."""
        seen = self._checked.get(record.id)
        if seen is None or seen.run != record.run:
            self._checked[record.id] = Seen(record.run, now)
        elif now - seen.at >= DEAD_SECONDS:
            missed = 0 if await _is_anywhere(record) else seen.missed + 1
            self._checked[record.id] = Seen(record.run, now, missed)
            if missed >= DEAD_LOOKS:
                dead = Update({"state": "failed", "error": DEAD, "cut": True}, run=record.run)
                await asyncio.wrap_future(self.board.write(record.id, partial(_if_unchanged, record, dead)))


async def _is_anywhere(record: Record) -> bool:
    """Whether its step waits, or the next one. What is just then going out does not."""
    for step in (record.run.step, record.run.step + 1):  # in this order: the next is put before the present is gone
        for store in get_stores():
            if await store.aget(Named(step_id(record.id, step))) is not None:
                return True
    return False


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
