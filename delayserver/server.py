"""`DelayServer`: the list of loops, and the order in which things start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from .conf import get_layer_settings, get_settings
from .events import STARTED, STOPPED, emit
from .layers import get_layer
from .loops.base import Loop, insist
from .loops.dispatch import Dispatch
from .loops.intake import Intake
from .stores import get_store

STOP_SECONDS = 3.0  # what is in hand may take that long; then claims run out by themselves


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
        self.store, self.layer = get_store(self.alias), get_layer(self.alias)
        self._stop = asyncio.Event()

    def __str__(self) -> str:
        listening = f"listening on {self._channel}" if self._channel else "not listening on any channel"
        return f"store {self.store}, layer {self.alias}, {listening}"

    def stop(self) -> None:
        """Finish what is in hand, then let `run` return."""
        self._stop.set()

    async def health(self) -> tuple[int, float]:
        """How many messages wait, and for how many seconds the oldest of them has been overdue."""
        due = await self.store.first_due()
        overdue = 0.0 if due is None else max(0.0, (self.store.clock.now() - due) / 1000)
        return await self.store.count(), overdue

    async def run(self) -> None:
        """Run until `stop`. No error of the store or the layer ends it."""
        try:
            await self._until_stopped(self._open())
            if not self._stop.is_set():
                await self._run_loops()
        finally:
            await self.layer.aclose()
            await self.store.aclose()
            emit(STOPPED)

    async def _open(self) -> None:
        """Connect; try for ever."""
        await insist("layer", self.layer.open)
        await insist("store", functools.partial(self.store.open, self._home))

    async def _run_loops(self) -> None:
        dispatch = Dispatch(self.store, self.layer)
        loops: list[Loop] = [dispatch]
        if self._channel:
            loops.append(Intake(self.store, self.layer, self._channel, self._max_bytes, self._home))
        waker = asyncio.create_task(self._wake_for_earlier(dispatch), name="delayserver waker")
        tasks = [asyncio.create_task(loop.run(), name=f"delayserver {loop.name}") for loop in loops]
        emit(STARTED, server=self)
        if self._ready is not None:
            self._ready(STARTED.sentence.format(server=self))
        try:
            await self._stop.wait()
        finally:
            for loop in loops:
                loop.stop()
            _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            await _cancel(waker, *late)

    async def _wake_for_earlier(self, dispatch: Dispatch) -> None:
        """Wake dispatch whenever something was put that is due before it would look."""
        while True:
            await insist("waker", self.store.earlier)
            dispatch.wake()

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        task, stop = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        await _cancel(task, stop)


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
