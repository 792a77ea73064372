"""What was handled -> the store's word on it, many at a time; only then it leaves the worker's hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from ..acking import Handled, Settling
from .base import Loop

BATCH = 500
IDLE_SECONDS = 3_600.0


class SettlingLoop(Loop):
    """`settled` is called for each that is settled."""

    name = "settling"

    def __init__(self, settling: Settling) -> None:
        super().__init__()
        self._settling = settling
        self._pile: dict[Handled, Callable[[], None]] = {}
        self._batch = BATCH

    def __len__(self) -> int:
        """How many are not settled yet."""
        return len(self._pile)

    def add(self, handled: Handled, settled: Callable[[], None]) -> None:
        """Settle this; then `settled` is called."""
        self._pile[handled] = settled
        self.wake()

    async def run_once(self) -> float:
        some = list(itertools.islice(self._pile, self._batch))
        if not some:
            return IDLE_SECONDS
        try:
            await self._settling.settle(some, self._settled)
        except Exception:
            self._put_back(some[0])
            raise
        self._batch = min(BATCH, 2 * self._batch)
        return 0

    def _put_back(self, first: Handled) -> None:
        """One by one, so that what cannot be settled holds up no other."""
        self._batch = 1
        if first in self._pile:
            self._pile[first] = self._pile.pop(first)

    def _settled(self, handled: Handled) -> None:
        self._pile.pop(handled)()
