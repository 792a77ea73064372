"""The memory store, and a look into it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..conf import LayerSettings
from ..message import DeadLetter, Message, Waiting
from ..stores.base import Store
from ..stores.memory import MemoryStore


class ReadableStore(MemoryStore):
    """``STORE_OPTIONS`` hand in the one to use, so that it outlives every change of settings in a test."""

    @classmethod
    def shards(cls, layer: LayerSettings, **options: Any) -> Sequence[Store]:
        return [options["store"]]

    def scheduled(self) -> list[Message]:
        """All that wait, in backlogs too, in the order in which they are due."""
        with self._lock:
            waiting = [entry.message for entry in self._messages.values()]
        return [one.asked_for() for one in sorted(waiting, key=_order)]

    def dead(self) -> list[DeadLetter]:
        """All dead letters, the oldest first."""
        return list(self._dead.values())


def _order(message: Waiting) -> tuple[int, str]:
    return message.due, message.id
