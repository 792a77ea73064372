"""A loop has two halves. The work half is `run_once`: it does what there is to do now, and returns for how many seconds
there will be nothing. The loop half starts, sleeps, wakes, survives errors and stops, and is the same for all.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from ..clock import monotonic
from ..events import LOOP_FAILED, LOOP_RECOVERED, emit
from .alarm import Alarm

RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0)  # then every second


class Failures:
    """The failures in a row of one thing: each is told (at most a line a second), and says how long to wait."""

    def __init__(self, name: str) -> None:
        self._name, self._count = name, 0

    def failed(self, error: Exception) -> float:
        seconds = RETRY_SECONDS[min(self._count, len(RETRY_SECONDS) - 1)]
        self._count += 1
        emit(LOOP_FAILED, of=self._name, error=error, loop=self._name, seconds=seconds)
        return seconds

    def succeeded(self) -> None:
        if self._count:
            emit(LOOP_RECOVERED, of=self._name, loop=self._name, failures=self._count)
            self._count = 0


async def insist(name: str, act: Callable[[], Awaitable[None]]) -> None:
    """Do `act` until it succeeds."""
    failures = Failures(name)
    while True:
        try:
            await act()
        except Exception as error:  # noqa: BLE001  no error ends the server
            await asyncio.sleep(failures.failed(error))
        else:
            failures.succeeded()
            return


class Loop(ABC):
    """Subclasses give `name` and `run_once`, and may give `open` and `aclose`."""

    name: str

    def __init__(self) -> None:
        self._alarm = Alarm()
        self._stopping = False

    @abstractmethod
    async def run_once(self) -> float:
        """Do what there is to do; return for how many seconds there will be nothing, 0 for go on."""

    async def open(self) -> None:
        """Before the first `run_once`."""

    async def aclose(self) -> None:
        """After the last `run_once`."""

    def wake(self) -> None:
        """Look again now. Only from the event loop's own thread."""
        self._alarm.ring()

    def stop(self) -> None:
        """Finish what is in hand and end."""
        self._stopping = True
        self._alarm.ring()

    async def run(self) -> None:
        """Run until `stop`, whatever goes wrong."""
        failures = Failures(self.name)
        try:
            await insist(self.name, self.open)
            while not self._stopping:
                self._alarm.reset()
                try:
                    seconds = await self.run_once()
                except Exception as error:  # noqa: BLE001  no error ends a loop
                    await self._pause(failures.failed(error))
                else:
                    failures.succeeded()
                    await self._sleep(seconds)
        finally:
            self._alarm.close()
            await self.aclose()

    async def _sleep(self, seconds: float) -> None:
        """Until `wake`, `stop` or the time is over; at 0 only let others run."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        await self._alarm.wait(seconds)

    async def _pause(self, seconds: float) -> None:
        """After an error: a wake does not cut it short, a stop does."""
        until = monotonic() + seconds
        while not self._stopping and (left := until - monotonic()) > 0:
            self._alarm.reset()
            await self._sleep(left)
