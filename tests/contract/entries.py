"""How the tests change and read one entry."""

from __future__ import annotations

from delayserver.stores.base import Store
from delayserver.stores.entries import Change, Entry

KEEP = 600_000


async def change(store: Store, name: str, seen: int | None, body: bytes = b"", keep: int = KEEP) -> int:
    [version] = await store.change_entries([Change(name, seen, body, keep)])
    return version


async def read(store: Store, name: str) -> Entry | None:
    [entry] = await store.entries([name])
    return entry
