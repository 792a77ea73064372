"""What has expired does not stay in memory."""

from __future__ import annotations

from delayserver.stores.entries import Change, Entry
from delayserver.stores.memory import MemoryStore
from delayserver.stores.memory_entries import FEW

from ..support.clock import FakeClock


async def test_entries_that_have_expired_are_dropped_as_new_ones_come(clock: FakeClock) -> None:
    store = MemoryStore(clock=clock)
    await store.change_entries([Change("kept", 0, b"x", 1_000_000)])
    for n in range(20 * FEW):
        await store.change_entries([Change(f"n{n}", 0, b"x", 10)])
        assert len(store._entries) <= 2 * FEW
        clock.advance(1)
    assert await store.entries(["kept", "n0", f"n{20 * FEW - 1}"]) == [Entry(1, b"x"), None, Entry(1, b"x")]


async def test_an_entry_is_there_until_its_time_has_passed(clock: FakeClock) -> None:
    store = MemoryStore(clock=clock)
    await store.change_entries([Change("a", 0, b"x", 10)])
    clock.advance(9)
    assert await store.entries(["a"]) == [Entry(1, b"x")]
    clock.advance(1)
    assert await store.entries(["a"]) == [None]
