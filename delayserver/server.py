"""`DelayServer`: the list of loops, and the order in which things start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from .conf import get_layer_settings, get_settings
from .events import DOUBT, STARTED, STOPPED, emit
from .layers import get_layer
from .layers.base import Inbox
from .loops.base import Loop, insist
from .loops.dispatch import Dispatch
from .loops.intake import Intake
from .loops.tick import Tick
from .schedules import Timetable
from .stores import get_stores
from .stores.base import Store

STOP_SECONDS = 3.0  # what is in hand may take that long; then claims run out by themselves


class Health(NamedTuple):
    """How many messages wait, for how many seconds the oldest of them is overdue, and how many stores are away."""

    waiting: int
    overdue: float
    away: int


class DelayServer:
    """Everything ``manage.py rundelay`` runs, for any event loop.

    `layer` is an alias of CHANNEL_LAYERS (default: ``DELAYSERVER["CHANNEL_LAYER"]``). `ready` is called with one
    sentence once everything listens.
    """

    def __init__(
        self,
        layer: str | None = None,
        *,
        intake: bool = True,
        ready: Callable[[str], None] | None = None,
    ) -> None:
        settings = get_settings()
        self.alias = layer or settings.channel_layer
        self._channel = settings.channel if intake else None
        self._max_bytes, self._ready = settings.max_message_bytes, ready
        self._home = get_layer_settings(self.alias).home
        self.stores, self.layer = get_stores(self.alias), get_layer(self.alias)
        self._timetable = Timetable() if self.alias == settings.channel_layer else None
        self._loops: list[Loop] = []
        self._stop = asyncio.Event()

    def __str__(self) -> str:
        listening = f"listening on {self._channel}" if self._channel else "not listening on any channel"
        return f"store {', '.join(map(str, self.stores))}, layer {self.alias}, {listening}"

    def stop(self) -> None:
        """Finish what is in hand, then let `run` return."""
        self._stop.set()

    async def health(self) -> Health:
        """How things stand, as far as the stores answer."""
        waiting, overdue, away = 0, 0.0, 0
        for store in self.stores:
            try:
                due, number = await store.first_due(), await store.count()
            except Exception:  # noqa: BLE001  whatever it is, the others still count
                away += 1
                continue
            overdue = max(overdue, 0.0 if due is None else (store.clock.now() - due) / 1000)
            waiting += number
        return Health(waiting, overdue, away)

    async def run(self) -> None:
        """Run until `stop`. No error of a store or the layer ends it."""
        try:
            await self._until_stopped(insist("layer", self.layer.open))
            if not self._stop.is_set():
                await self._serve()
        finally:
            await self.layer.aclose()
            for store in self.stores:
                await store.aclose()
            if self._timetable is not None:
                await self._timetable.aclose()
            emit(STOPPED)

    async def _serve(self) -> None:
        """Each store by itself: one that is away holds up no other. Ready is when the first of them is."""
        opened = asyncio.Event()
        if self._timetable is not None:
            await self._timetable.open()
        inboxes = self.layer.inboxes(self._channel, self._max_bytes) if self._channel else ()
        tasks = [
            asyncio.create_task(self._serve_store(store, share, opened), name=f"delayserver {store}")
            for store, share in zip(self.stores, _share_out(inboxes, self.stores), strict=True)
        ]
        try:
            await self._until_stopped(opened.wait())
            if not self._stop.is_set():
                emit(STARTED, server=self)
                if self._ready is not None:
                    self._ready(STARTED.sentence.format(server=self))
            await self._stop.wait()
        finally:
            for loop in self._loops:
                loop.stop()
            done, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            await _cancel(*late)
        for task in done:
            task.result()

    async def _serve_store(self, store: Store, inboxes: Sequence[Inbox], opened: asyncio.Event) -> None:
        await self._until_stopped(insist("store", functools.partial(store.open, self._home)))
        if self._stop.is_set():
            return
        tick = None if self._timetable is None else self._tick(store, self._timetable)
        dispatch = Dispatch(store, self.layer, before=None if tick is None else tick.before_dispatch)
        loops: list[Loop] = [dispatch, *([tick] if tick else ()), *(self._intake(inbox, store) for inbox in inboxes)]
        if len(self.stores) > 1:
            for loop in loops:
                loop.name += f" of {store}"
        self._loops += loops
        waker = asyncio.create_task(self._wake_for_earlier(store, dispatch), name="delayserver waker")
        doubting = asyncio.create_task(_tell_doubts(store), name="delayserver doubts")
        opened.set()
        try:
            async with asyncio.TaskGroup() as running:
                for loop in loops:
                    running.create_task(loop.run(), name=f"delayserver {loop.name}")
        finally:
            await _cancel(waker, doubting)

    def _tick(self, store: Store, timetable: Timetable) -> Tick:
        """For the schedules whose messages wait in this store."""
        return Tick(store, self.layer, timetable, lambda name: self.stores.choose(key=name) is store, self._home)

    def _intake(self, inbox: Inbox, store: Store) -> Loop:
        assert self._channel is not None
        return Intake(inbox, store, self.stores, self.layer, self._channel, self._max_bytes, self._home)

    async def _wake_for_earlier(self, store: Store, dispatch: Dispatch) -> None:
        """Wake dispatch whenever something was put that is due before it would look."""
        while True:
            await insist("waker", store.earlier)
            dispatch.wake()

    async def _until_stopped(self, work: Coroutine[Any, Any, object]) -> None:
        task, stop = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        await _cancel(task, stop)


async def _tell_doubts(store: Store) -> None:
    """What an operator should know about the store; that it could not be asked is no news."""
    with contextlib.suppress(Exception):
        for doubt in await store.doubts():
            emit(DOUBT, of=f"{store} {doubt.id}", sentence=doubt.sentence, hint=doubt.hint, id=doubt.id)


def _share_out(inboxes: Sequence[Inbox], stores: Sequence[Store]) -> list[list[Inbox]]:
    """The inboxes for each store: those on its own server; and for the first those that have no store beside them."""
    places = [store.place for store in stores]
    shares: list[list[Inbox]] = [[] for _ in stores]
    for inbox in inboxes:
        shared = inbox.place is not None and inbox.place in places
        shares[places.index(inbox.place) if shared else 0].append(inbox)
    return shares


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
