"""Entries: what a name stands for changes only where its version is still the one that was seen."""

from __future__ import annotations

import pytest

from delayserver.conf import REDIS_LAYER, LayerSettings
from delayserver.stores.base import MAX_BATCH, Store
from delayserver.stores.database import DatabaseStore
from delayserver.stores.entries import MAX_KEEP, Change, Entry
from delayserver.stores.memory import MemoryStore
from delayserver.stores.redis import RedisStore

from ..support.wait import await_for
from .entries import KEEP, change, read

BODIES = [b"", b"\0", b"\x00\xff", bytes(range(256)), b"%s %d \\' \"", "ö".encode(), b"x" * 60_000]
NAMES = [
    "a",
    "A",
    "a ",
    "a  ",
    " a",
    "ä",
    "a\u0308",
    "e",
    "é",
    "ss",
    "ß",
    "夜",
    "🎉",
    "🎊",
    "a_b",
    "a%b",
    "x" * 200,
    "🎉" * 200,
]


# -- one entry -------------------------------------------------------------------------------------------------


async def test_where_there_is_nothing_a_name_stands_for_nothing(store: Store) -> None:
    assert await store.entries(["nobody", "nothing"]) == [None, None]
    assert await store.entries([]) == []
    assert await store.change_entries([]) == []


async def test_a_change_is_made_where_its_version_is_the_one_that_was_seen(store: Store, other: Store) -> None:
    assert await change(store, "a", 1, b"never") == 0
    assert await change(store, "a", 0, b"1") == 1
    assert await change(store, "a", 0, b"never") == 0
    assert await read(other, "a") == Entry(1, b"1")
    assert await change(other, "a", 1, b"2") == 2
    assert await change(other, "a", 1, b"never") == 0
    assert await change(store, "a", 3, b"never") == 0
    assert await read(store, "a") == Entry(2, b"2")


async def test_a_change_that_saw_nothing_in_particular_is_always_made(store: Store) -> None:
    assert [await change(store, "a", None, body) for body in (b"1", b"2", b"3")] == [1, 2, 3]
    assert await read(store, "a") == Entry(3, b"3")


@pytest.mark.parametrize("seen", [-1, 2**31, 2**53 + 1, 2**63, 2**70])
async def test_a_version_that_no_entry_has_changes_nothing(store: Store, seen: int) -> None:
    await change(store, "a", 0, b"1")
    assert await store.change_entries([Change("a", seen, b"no", KEEP), Change("b", seen, b"no", KEEP)]) == [0, 0]
    assert await store.entries(["a", "b"]) == [Entry(1, b"1"), None]


async def test_a_body_is_any_bytes(store: Store, other: Store) -> None:
    names = [f"n{n}" for n in range(len(BODIES))]
    for turn in range(3):
        bodies = BODIES[turn:] + BODIES[:turn]
        changes = [Change(name, turn, body, KEEP) for name, body in zip(names, bodies, strict=True)]
        assert await store.change_entries(changes) == [turn + 1] * len(names)
        assert await other.entries(names) == [Entry(turn + 1, body) for body in bodies]


# -- many of them ----------------------------------------------------------------------------------------------


async def test_changes_in_one_call_are_made_in_order_and_each_sees_the_one_before(store: Store) -> None:
    changes = [
        Change("b", 0, b"b1", KEEP),
        Change("a", 0, b"a1", KEEP),
        Change("a", 0, b"never", KEEP),
        Change("a", 1, b"a2", KEEP),
        Change("b", 7, b"never", KEEP),
        Change("a", None, b"a3", KEEP),
        Change("c", 1, b"never", KEEP),
    ]
    assert await store.change_entries(changes) == [1, 1, 0, 2, 0, 3, 0]
    assert await store.entries(["c", "a", "b", "a"]) == [None, Entry(3, b"a3"), Entry(1, b"b1"), Entry(3, b"a3")]


async def test_as_many_as_one_call_takes(store: Store, other: Store) -> None:
    names = [f"n{n}" for n in range(MAX_BATCH)]
    for turn in range(3):
        changes = [Change(name, turn if n % 2 else None, name.encode(), KEEP) for n, name in enumerate(names)]
        assert await store.change_entries(changes) == [turn + 1] * MAX_BATCH
    assert await other.entries(names) == [Entry(3, name.encode()) for name in names]


async def test_large_bodies_are_all_stored_and_read(store: Store, other: Store) -> None:
    names = [f"n{n}" for n in range(60)]
    bodies = [f"{n}".encode() + b"x" * 60_000 for n in range(60)]
    changes = [Change(name, 0, body, KEEP) for name, body in zip(names, bodies, strict=True)]
    assert await store.change_entries([*changes, Change("n0", 1, b"2", KEEP)]) == [*[1] * 60, 2]
    assert await other.entries(names) == [Entry(2, b"2"), *(Entry(1, body) for body in bodies[1:])]


async def test_names_that_look_alike_are_entries_of_their_own(store: Store, other: Store) -> None:
    for n, name in enumerate(NAMES):
        assert await change(store, name, 0, f"{n}".encode()) == 1
    assert await other.entries(NAMES) == [Entry(1, f"{n}".encode()) for n in range(len(NAMES))]
    changes = [Change(name, 1, name.encode(), KEEP) for name in NAMES]
    assert await other.change_entries(changes) == [2] * len(NAMES)
    assert await store.entries(NAMES) == [Entry(2, name.encode()) for name in NAMES]


async def test_another_layer_has_entries_of_its_own(store: Store) -> None:
    elsewhere = on_another_layer(store)
    await change(store, "a", 0, b"here")
    assert await read(elsewhere, "a") is None
    assert await change(elsewhere, "a", 0, b"there") == 1
    assert await change(elsewhere, "a", 1, b"there, too") == 2
    assert await read(store, "a") == Entry(1, b"here")
    await elsewhere.aclose()


def on_another_layer(store: Store) -> Store:
    layer = LayerSettings("other", REDIS_LAYER, {"prefix": "other"})
    match store:
        case RedisStore():
            return RedisStore(layer, store._link.host, cluster=store._link._cluster)
        case DatabaseStore():
            return DatabaseStore(layer, store.using)
        case _:
            return MemoryStore(layer)


@pytest.mark.parametrize("name", ["", "x" * 201, "a\0", "a\n", "a\xa0", "\ud800"])
async def test_a_name_that_not_every_store_can_hold_is_refused(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match=r"^expected a name of 1 to 200 printable characters, got "):
        await store.entries(["a", name])
    with pytest.raises(ValueError, match=r"^expected a name of 1 to 200 printable characters, got "):
        await store.change_entries([Change("a", None, b"", KEEP), Change(name, None, b"", KEEP)])
    assert await read(store, "a") is None


async def test_more_than_one_call_takes_is_refused(store: Store) -> None:
    names = [f"n{n}" for n in range(MAX_BATCH + 1)]
    with pytest.raises(ValueError, match=r"^expected at most 500 entries in one call, got 501$"):
        await store.entries(names)
    with pytest.raises(ValueError, match=r"^expected at most 500 entries in one call, got 501$"):
        await store.change_entries([Change(name, None, b"", KEEP) for name in names])
    assert await store.entries(names[:MAX_BATCH]) == [None] * MAX_BATCH


@pytest.mark.parametrize("keep", [0, -1, MAX_KEEP + 1])
async def test_a_time_to_keep_that_is_none_is_refused(store: Store, keep: int) -> None:
    with pytest.raises(ValueError, match=rf"^expected keep to be from 1 to \d+ ms \(100 years\), got {keep}$"):
        await change(store, "a", None, b"", keep)
    assert await change(store, "a", None, b"", MAX_KEEP) == 1


# -- how long --------------------------------------------------------------------------------------------------


async def test_what_is_too_old_is_nothing_and_its_name_begins_anew(store: Store, other: Store) -> None:
    await store.change_entries(
        [Change("short", 0, b"1", 50), Change("short", 1, b"2", 50), Change("long", 0, b"1", KEEP)]
    )
    await gone(other, "short")
    assert await change(store, "short", 2, b"never") == 0
    assert await change(other, "short", 0, b"anew") == 1
    assert await store.entries(["short", "long"]) == [Entry(1, b"anew"), Entry(1, b"1")]


async def test_a_later_change_keeps_it_for_as_long_as_it_says(store: Store) -> None:
    changes = [Change("renewed", 0, b"1", 50), Change("cut", 0, b"1", KEEP), Change("alone", 0, b"1", 50)]
    await store.change_entries(changes)
    await store.change_entries([Change("renewed", None, b"2", KEEP), Change("cut", 1, b"2", 50)])
    await gone(store, "alone")
    await gone(store, "cut")
    entry = await read(store, "renewed")
    assert entry is not None
    assert entry.body == b"2"


async def test_a_change_that_is_not_made_keeps_nothing_longer(store: Store) -> None:
    await change(store, "a", 0, b"1", 50)
    assert await change(store, "a", 7, b"2", KEEP) == 0
    await gone(store, "a")


async def gone(store: Store, name: str) -> None:
    async def is_gone() -> bool:
        return await read(store, name) is None

    await await_for(is_gone, 10, f"{name} to expire")
