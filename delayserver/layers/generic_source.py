"""Any layer's worker channels, read by one `receive` for each that lives as long as the worker.

What was received is in this process alone: where that dies it is lost, as with ``runworker``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ..events import LOOP_FAILED, emit
from .base import Desired, Source, Taken, Turn

POLL_SECONDS = 3_600.0
RECEIVE_AGAIN_SECONDS = 1.0


class GenericSource(Source):
    """A `receive` is begun when there is room for what it brings, and never cancelled before the worker stops."""

    def __init__(self, channel_layer: Any, channels: Sequence[str]) -> None:
        self._layer = channel_layer
        self._found: dict[str, deque[Taken]] = {channel: deque() for channel in channels}
        self._room = dict.fromkeys(channels, 1)
        self._roomier = {channel: asyncio.Event() for channel in channels}
        self._tasks: list[asyncio.Task[None]] = []
        self._sent_back: set[Taken] = set()  # of what could not all go back

    async def open(self, wake: Callable[[], None]) -> None:
        self._tasks = [
            asyncio.create_task(self._receive_for_ever(channel, wake), name=f"delayserver source {channel}")
            for channel in self._found
        ]

    async def _receive_for_ever(self, channel: str, wake: Callable[[], None]) -> None:
        while True:
            while len(self._found[channel]) >= self._room[channel]:
                self._roomier[channel].clear()
                await self._roomier[channel].wait()
            try:
                content = await self._layer.receive(channel)
            except Exception as error:  # noqa: BLE001  whatever it was, the next message may be good
                emit(LOOP_FAILED, of=channel, error=error, loop=f"source {channel}", seconds=RECEIVE_AGAIN_SECONDS)
                await asyncio.sleep(RECEIVE_AGAIN_SECONDS)
            else:
                self._found[channel].append(Taken(channel, b"", content))
                wake()

    async def turn(self, done: Sequence[Taken], desired: Sequence[Desired], most: int, *, over: bool) -> Turn:
        taken: list[Taken] = []
        for channel, room, _ in desired:
            found = self._found[channel]
            while found and room > 0 and len(taken) < most:
                taken.append(found.popleft())
                room -= 1
            self._room[channel] = room
            self._roomier[channel].set()
        return Turn(taken, (), POLL_SECONDS)

    async def give_back(self, taken: Sequence[Taken]) -> None:
        """If it raises, it can be done again: nothing goes back twice."""
        for one in taken:
            if one not in self._sent_back:
                await self._layer.send(one.channel, one.content)
                self._sent_back.add(one)
        self._sent_back.difference_update(taken)

    async def aclose(self) -> None:
        """What was received and not taken goes back."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.give_back([one for found in self._found.values() for one in found])
