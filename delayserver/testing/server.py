"""A delay server and workers that do one thing after the other, by a clock that only they move."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from channels.layers import get_channel_layer

from ..acking import Handled, Settling
from ..conf import get_settings
from ..handling import Application
from ..layers import get_layer
from ..loops.delivering import Delivering
from ..loops.intake import Intake
from ..loops.pacing import Pacing
from ..loops.tick import Tick
from ..message import Claim
from ..progress.board import peek_board
from ..schedules import Timetable
from ..stores import get_stores
from .clock import FakeClock
from .consumers import Handlers, work
from .layer import Delivered, Doorstep, RecordingLayer
from .sought import scheduled_line
from .store import ReadableStore

LEASE_MS = 30_000
T = TypeVar("T")


class SteppedServer:
    """`delivered` is what it has delivered so far; `handlers` must be watched while it works. With `schedules`,
    those of the project run, too.
    """

    def __init__(self, clock: FakeClock, store: ReadableStore, *, schedules: bool) -> None:
        self.handlers = Handlers()
        self.delivered: list[Delivered] = []
        self._clock, self._store = clock, store
        self._schedules = schedules
        self._tick: Tick | None = None
        self._application: Application | None = None
        self._limit = 0
        self._number = 0  # of messages that the present `advance` has handed over
        self._advancing = False

    async def advance(self, target: int, application: Application | None, limit: int) -> None:
        """Deliver all that is due until `target`, in milliseconds since the epoch, where the clock stands in the end.

        `application` runs what lies on worker channels. `AssertionError` after `limit` messages.
        """
        if self._advancing:
            raise RuntimeError("these Delays are advancing already")
        self._application, self._limit, self._number, self._advancing = application, limit, 0, True
        try:
            await self._settle()
            await self._put_occurrences()
            await self._deliver_due()
            while (now := self._clock.now()) < target:
                stops = [await self._store.next_due(), None if self._tick is None else self._tick.wakes_at]
                self._clock.advance(min([target, *(stop for stop in stops if stop is not None)]) - now)
                await self._put_occurrences()
                await self._deliver_due()
        finally:
            self._advancing = False

    def take_in(self) -> None:
        """On ``asgi.delay`` -> waiting."""
        settings = get_settings()
        inbox = Doorstep(self._layer, settings.channel)
        layer, stores = get_layer(settings.channel_layer), get_stores()
        intake = Intake(inbox, self._store, stores, layer, settings.channel, settings.max_message_bytes)
        while _at_once(intake.run_once()) == 0:
            pass

    async def _put_occurrences(self) -> None:
        """What schedules have to put by now."""
        if not self._schedules:
            return
        if self._tick is None:
            layer = get_layer(get_settings().channel_layer)
            self._tick = Tick(self._store, layer, Timetable(fresh=0.0), lambda name: True)
        while await self._tick.run_once() == 0:
            pass

    async def _deliver_due(self) -> None:
        """All that is due now, one after the other; what waits behind a full channel is tried once."""
        full: set[str] = set()
        while (claim := await self._claim(full)) is not None:
            full |= await self._deliver(claim)
            await self._settle()
            self._number += 1
            self._check_end(self._number)

    async def _claim(self, full: set[str]) -> Claim | None:
        """The next that is due now and not for one of the `full` targets."""
        now, backlogs = self._clock.now(), await self._store.backlogs()
        for name in backlogs:
            if name not in full and (claims := await self._store.claim_backlog(name, now, 1, LEASE_MS)):
                return claims[0]
        claims = await self._store.claim(now, 1, LEASE_MS, full=backlogs)
        return claims[0] if claims else None

    async def _deliver(self, claim: Claim) -> set[str]:
        """Hand over one message, and settle what becomes of it; the backlog it went into, where its target is full."""
        now = self._clock.now()
        layer = RecordingLayer(self._layer, now)
        await layer.open()
        delivering = Delivering(self._store, layer, LEASE_MS, None, Pacing(), _nobody_waits)
        await delivering.deliver([claim], now)
        await delivering.aclose()  # on a machine that is busy, a layer may seem slow
        self.delivered += layer.delivered
        return layer.full

    async def _settle(self) -> None:
        """Until every consumer has had its say, and what it sent without a delay is handled, too."""
        await self._done()
        self.take_in()
        number = 0
        while self._application is not None and await work(self._layer, self._application, self._say):
            await self._done()
            self.take_in()
            number += 1
            self._check_end(number)

    async def _done(self) -> None:
        """Until every consumer has had its say, and what was noted of progress is shown."""
        await self.handlers.done()
        board = peek_board()
        written = [asyncio.wrap_future(one) for one in board.flush()] if board is not None else []
        if written:
            await asyncio.gather(*written, return_exceptions=True)
            await self.handlers.done()

    async def _say(self, handled: Handled) -> None:
        """What became of a handler -> the store."""
        settings = get_settings()
        settling = Settling([self._store], get_layer(settings.channel_layer), settings.max_message_bytes)
        await settling.settle([handled])

    def _check_end(self, number: int) -> None:
        """Refuse to go on for ever."""
        if number > self._limit:
            lines = [scheduled_line(message, self._clock.now()) for message in self._store.scheduled()[:5]]
            waiting = "\n".join(lines)
            raise AssertionError(
                f"expected one advance() to handle at most {self._limit} messages (max_messages), got more:"
                f" does a consumer send to itself for ever? What waits:\n{waiting or 'nothing'}"
            )

    @property
    def _layer(self) -> Any:
        return get_channel_layer(get_settings().channel_layer)


def _nobody_waits() -> None:
    """Nobody sleeps here who could be woken."""


def _at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has nothing to wait for: so that what is in memory can be read anywhere."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    coroutine.close()
    raise AssertionError("expected a coroutine that does not wait")
