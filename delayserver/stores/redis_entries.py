"""Versioned entries, each a hash of its own with a TTL, read and changed by Lua acts."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import Any

from ..redis_link import Script, parts
from .base import MAX_BATCH
from .entries import Change, Entry, refuse_changes, refuse_names
from .redis_shelf import MAX_ACT_BYTES
from .redis_tickets import RedisTickets
from .redis_waitlist import Translated

READ_ENTRIES, CHANGE_ENTRIES = Script("entries", "read_entries"), Script("entries", "change_entries")
KEY_BYTES = 128  # to change an entry holds up Redis as long as to copy so many bytes more than its body has


class RedisEntries(RedisTickets, ABC):
    """What `RedisStore` has for progress."""

    async def entries(self, names: Sequence[str]) -> list[Entry | None]:
        refuse_names(names)
        await self.aread_clock()
        keys = [self._entry_key(name) for name in names]
        found: list[Entry | None] = []
        with Translated():
            while len(found) < len(keys):  # one act answers as many as it has time for
                reply = await self._link.arun(READ_ENTRIES, keys[len(found) :], [MAX_ACT_BYTES])
                found += [Entry(*one) if one else None for one in reply]
        return found

    async def change_entries(self, changes: Sequence[Change]) -> list[int]:
        refuse_changes(changes)
        versions: list[int] = []
        with Translated():
            for part in parts(changes, MAX_BATCH, MAX_ACT_BYTES, _size):
                keys = [self._entry_key(change.name) for change in part]
                args = [arg for change in part for arg in _args(change)]
                versions += await self._link.arun(CHANGE_ENTRIES, keys, args)
        return versions

    def _entry_key(self, name: str) -> str:
        return f"{self._entry_prefix}{name}"


def _args(change: Change) -> tuple[Any, ...]:
    """What ``change_entries.lua`` takes of a change."""
    return "" if change.seen is None else change.seen, change.keep, change.body


def _size(change: Change) -> int:
    return KEY_BYTES + len(change.body)
