"""Worker channels -> in hand: what is done is handed in, and what there is room for is taken, in one act."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from ..clock import monotonic
from ..events import HAND_LOST, RESUMED, emit
from ..layers.base import Desired, Source, Taken
from .base import Loop
from .room import Room

BATCH = 500
FULL_SECONDS = 3_600.0  # until a handler is done, which wakes
# After it was away, a host is not asked for what others had in hand: they may be back, and need a moment to say so.
CALM_SECONDS = 2.0


class Taking(Loop):
    """Takes from one source; `begin` is given what was taken. What it raises, the taken must have been given back."""

    name = "taking"

    def __init__(self, source: Source, room: Room, begin: Callable[[Sequence[Taken]], Awaitable[None]]) -> None:
        super().__init__()
        self._source, self._room, self._begin = source, room, begin
        self._done: list[Taken] = []
        self._calm_since = monotonic()
        self._unsure = False  # whether the last turn may have been done although it failed

    async def open(self) -> None:
        await self._source.open(self.wake)

    def done(self, taken: Taken) -> None:
        """In hand no more: that is said with the next turn."""
        if taken.generation:
            self._done.append(taken)
        self.wake()

    async def run_once(self) -> float:
        desired, most = self._room.reserve(self.wake)
        if not most and not self._done:
            return FULL_SECONDS
        taken: Sequence[Taken] = ()
        try:
            taken, seconds = await self._turn(desired, most)
        except Exception:
            self._calm_since, self._unsure = monotonic(), True
            raise
        finally:
            self._room.settle(desired, most, taken)
        for one in taken:
            if one.again:
                emit(RESUMED, of=one.channel, channel=one.channel)
        if taken:
            await self._begin(taken)
        return 0 if self._done or _filled(desired, most, taken) else seconds

    async def _turn(self, desired: Sequence[Desired], most: int) -> tuple[Sequence[Taken], float]:
        done = self._done[:BATCH]
        over = monotonic() > self._calm_since + CALM_SECONDS
        taken, lost, seconds = await self._source.turn(done, desired, min(most, BATCH), over=over)
        del self._done[: len(done)]
        for one in () if self._unsure else lost:
            emit(HAND_LOST, of=one.channel, channel=one.channel)
        self._unsure = False
        return taken, seconds

    async def aclose(self) -> None:
        """What is done is handed in, if that can be: else others do it again."""
        try:
            while self._done:
                await self._turn((), 0)
        finally:
            await self._source.aclose()


def _filled(desired: Sequence[Desired], most: int, taken: Sequence[Taken]) -> bool:
    """Whether there may be more than was taken."""
    if not taken:
        return False
    number = Counter(one.channel for one in taken)
    return len(taken) == most or any(number[one.channel] == one.most for one in desired)
