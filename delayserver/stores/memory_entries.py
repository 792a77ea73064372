"""Versioned entries in this process's memory."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import Any

from .entries import Change, Entry, refuse_changes, refuse_names
from .memory_shelf import MemoryShelf

FEW = 100  # so many may lie here, though they are too old


class MemoryEntries(MemoryShelf, ABC):
    """What `MemoryStore` has for progress."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._entries: dict[str, tuple[Entry, int]] = {}  # and when each expires
        self._roomy = FEW  # with more of them it is time to drop those that have

    async def entries(self, names: Sequence[str]) -> list[Entry | None]:
        refuse_names(names)
        with self._lock:
            now = self.clock.now()
            return [self._entry(name, now) for name in names]

    async def change_entries(self, changes: Sequence[Change]) -> list[int]:
        refuse_changes(changes)
        with self._lock:
            now = self.clock.now()
            versions = [self._change_entry(change, now) for change in changes]
            self._drop_expired(now)
        return versions

    def _entry(self, name: str, now: int) -> Entry | None:
        entry, expires = self._entries.get(name, (None, 0))
        return entry if expires > now else None

    def _change_entry(self, change: Change, now: int) -> int:
        stands = self._entry(change.name, now)
        version = 0 if stands is None else stands.version
        if change.seen not in (None, version):
            return 0
        self._entries[change.name] = Entry(version + 1, bytes(change.body)), now + change.keep
        return version + 1

    def _drop_expired(self, now: int) -> None:
        if len(self._entries) > self._roomy:
            self._entries = {name: kept for name, kept in self._entries.items() if kept[1] > now}
            self._roomy = 2 * len(self._entries) + FEW
