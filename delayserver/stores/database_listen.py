"""How a server hears that something was put: from its own process, and from others over PostgreSQL's NOTIFY."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from weakref import WeakSet

from .. import events

CHANNEL = "delayserver"  # its payload is the layer's alias
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
# A peer that went away without a word is noticed after some 30 s, not after the system's two hours.
KEEPALIVES = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}


class Ear(Protocol):
    """A store that is open in this process."""

    using: str
    layer: str

    def hear(self, due: int) -> None:
        """Something due then was put; called from any thread."""


_ears: WeakSet[Ear] = WeakSet()
_ears_lock = threading.Lock()


def lend(ear: Ear) -> None:
    with _ears_lock:
        _ears.add(ear)


def withdraw(ear: Ear) -> None:
    with _ears_lock:
        _ears.discard(ear)


def tell(using: str, layer: str, due: int) -> None:
    """Tell the open stores of this process on the same database and layer."""
    with _ears_lock:
        ears = [ear for ear in _ears if (ear.using, ear.layer) == (using, layer)]
    for ear in ears:
        ear.hear(due)


class Listener:
    """One PostgreSQL connection that listens, and is made anew when it is lost.

    `parameters` gives what to connect with; `ring` is called on each notice for `layer`, and whenever
    `hears` has changed.
    """

    def __init__(
        self, layer: str, parameters: Callable[[], Awaitable[Mapping[str, Any]]], ring: Callable[[], None]
    ) -> None:
        self.hears = False
        self._layer = layer
        self._parameters = parameters
        self._ring = ring
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen from now on, if the first attempt succeeds; else as soon as one does."""
        self._task = asyncio.create_task(self._run())
        await self._tried.wait()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001  whatever it was, servers poll meanwhile
                if self.hears or not self._tried.is_set():
                    events.emit(events.LISTENER_LOST, error=error)
            pause = FIRST_PAUSE if self.hears else min(pause * 2, LONGEST_PAUSE)
            self._now(hears=False)
            await asyncio.sleep(pause)

    async def _listen(self) -> None:
        from psycopg import AsyncConnection

        parameters = {**KEEPALIVES, **await self._parameters()}
        async with await AsyncConnection.connect(**parameters, autocommit=True) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            self._now(hears=True)
            async for notice in connection.notifies():
                if notice.payload == self._layer:
                    self._ring()

    def _now(self, *, hears: bool) -> None:
        changed, self.hears = hears != self.hears, hears
        self._tried.set()
        if changed:
            self._ring()


def can_listen() -> bool:
    """Whether psycopg 3 is there; with psycopg2 alone, servers poll."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return False
    return True
