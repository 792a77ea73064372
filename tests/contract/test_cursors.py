"""A schedule's cursor and what it puts move together, by one server, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from delayserver.conf import REDIS_LAYER, LayerSettings
from delayserver.stores.base import MAX_BATCH, Named, Store
from delayserver.stores.database import DatabaseStore
from delayserver.stores.memory import MemoryStore
from delayserver.stores.moves import Move, Moved, Step
from delayserver.stores.redis import RedisStore

from ..support.clock import NOW
from .occurrences import OTHER_BODY, do, everything, first, occurrence
from .places import LEASE, Place, ids, in_thread

NAMES = ["nightly", "Nightly", "nächtlich", "na\u0308chtlich", "夜間", "a.b:c d", "x" * 200, "ö" * 100]


# -- the cursor ------------------------------------------------------------------------------------------------


async def test_an_occurrence_waits_and_the_cursor_has_moved_past_it(store: Store, other: Store) -> None:
    message = occurrence()
    assert await do(store, first(message, b"\0any \xff bytes")) == Moved(Step.DONE, b"\0any \xff bytes", 0)
    assert await other.cursors() == {"nightly": b"\0any \xff bytes"}
    assert await other.aget(Named(message.id)) == message
    assert await store.next_due() == NOW
    [claim] = await other.claim(NOW, 10, LEASE)
    assert claim.message == message


@pytest.mark.parametrize(("seen", "stands"), [(None, b"1"), (b"0", b"1"), (b"", b"1"), (b"1", None), (b"", None)])
async def test_one_that_is_overtaken_does_nothing_and_is_told_what_stands_there(
    store: Store, seen: bytes | None, stands: bytes | None
) -> None:
    there = occurrence()
    await do(store, Move("nightly", None, stands, put=[there]))
    move = Move("nightly", seen, b"2", put=[occurrence(1)], take=[there.id])
    assert await do(store, move) == Moved(Step.OVERTAKEN, stands)
    assert await store.cursors() == ({} if stands is None else {"nightly": stands})
    assert await everything(store) == {there.id: there}


async def test_a_cursor_may_be_empty_and_that_is_not_none(store: Store) -> None:
    assert await do(store, Move("nightly", None, b"")) == Moved(Step.DONE, b"")
    assert await store.cursors() == {"nightly": b""}
    assert await do(store, Move("nightly", b"", b"x" * 700)) == Moved(Step.DONE, b"x" * 700)
    assert await store.cursors(["nightly"]) == {"nightly": b"x" * 700}


async def test_cursors_of_any_bytes_move_together(store: Store) -> None:
    cursors = [bytes(range(256)), b"\0", b"\xff\xfe", b"", b"%s %d \\' \"", "ö".encode()]
    stands: list[bytes | None] = [None] * len(cursors)
    for turn in range(len(cursors)):
        then = cursors[turn:] + cursors[:turn]
        moves = [Move(f"s{n}", seen, cursor) for n, (seen, cursor) in enumerate(zip(stands, then, strict=True))]
        assert await store.put_occurrences(moves) == [Moved(Step.DONE, cursor) for cursor in then]
        assert await store.cursors() == {f"s{n}": cursor for n, cursor in enumerate(then)}
        stands = [*then]


async def test_a_cursor_that_is_removed_leaves_nothing(store: Store, place: Place) -> None:
    message = occurrence()
    await do(store, first(message))
    assert await do(store, Move("nightly", b"1", None, take=[message.id])) == Moved(Step.DONE, None, 1)
    assert await do(store, Move("never there", None, None)) == Moved(Step.DONE, None)
    assert await store.cursors() == {}
    assert await in_thread(place.leftovers) == []


async def test_no_move_is_nothing(store: Store) -> None:
    assert await store.put_occurrences([]) == []
    assert await store.cursors() == {}


async def test_names_that_look_alike_have_cursors_of_their_own(store: Store, other: Store) -> None:
    cursors = {name: f"of {name}".encode() for name in NAMES}
    moved = await store.put_occurrences([Move(name, None, cursor) for name, cursor in cursors.items()])
    assert [one.step for one in moved] == [Step.DONE] * len(NAMES)
    assert await other.cursors() == cursors
    for name in NAMES:
        assert await other.cursors([name, "nobody"]) == {name: cursors[name]}
        assert await do(other, Move(name, cursors[name], b"next")) == Moved(Step.DONE, b"next")
    assert await store.cursors(NAMES[::2]) == dict.fromkeys(NAMES[::2], b"next")


async def test_another_layer_has_cursors_of_its_own(store: Store) -> None:
    elsewhere = on_another_layer(store)
    await elsewhere.open()
    try:
        await store.put_occurrences([Move("nightly", None, b"here", put=[occurrence()])])
        assert await elsewhere.cursors() == {}
        await elsewhere.put_occurrences([Move("nightly", None, b"there", put=[occurrence(1)])])
        assert await do(elsewhere, Move("nightly", b"there", b"2", take=[occurrence().id])) == Moved(Step.DONE, b"2")
        assert await do(elsewhere, Move("nightly", b"2", b"3", unless=occurrence().id)) == Moved(Step.DONE, b"3")
        assert await store.cursors() == {"nightly": b"here"}
        assert list(await everything(store)) == [occurrence().id]
    finally:
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


# -- many moves ------------------------------------------------------------------------------------------------


async def test_moves_in_one_call_are_done_in_order_and_undo_no_other(store: Store) -> None:
    one, two, three, elsewhere = (occurrence(ms) for ms in range(4))
    moves = [
        Move("nightly", None, b"1", put=[one]),
        Move("nightly", None, b"lost", put=[elsewhere]),
        Move("nightly", b"1", b"2", put=[two], take=[one.id]),
        Move("other", b"never", b"lost", put=[elsewhere]),
        Move("nightly", b"2", b"3", put=[three], unless=two.id),
        Move("nightly", b"2", b"4", put=[three], take=["nobody"], sure=True),
        Move("other", None, b"5"),
    ]
    assert await store.put_occurrences(moves) == [
        Moved(Step.DONE, b"1"),
        Moved(Step.OVERTAKEN, b"1"),
        Moved(Step.DONE, b"2", 1),
        Moved(Step.OVERTAKEN, None),
        Moved(Step.HELD, b"2"),
        Moved(Step.GONE, b"2"),
        Moved(Step.DONE, b"5"),
    ]
    assert await store.cursors() == {"nightly": b"2", "other": b"5"}
    assert await everything(store) == {two.id: two}


async def test_what_a_call_removes_and_makes_anew_is_there(store: Store) -> None:
    await do(store, Move("nightly", None, b"1", put=[occurrence()]))
    anew = occurrence(body=OTHER_BODY)
    moves = [Move("nightly", b"1", None, take=[anew.id]), Move("nightly", None, b"2", put=[anew])]
    assert await store.put_occurrences(moves) == [Moved(Step.DONE, None, 1), Moved(Step.DONE, b"2")]
    assert await store.cursors() == {"nightly": b"2"}
    assert await everything(store) == {anew.id: anew}


async def test_as_many_moves_as_one_act_takes(store: Store) -> None:
    names = [f"s{n}" for n in range(MAX_BATCH)]
    messages = [occurrence(n % 7, schedule=name) for n, name in enumerate(names)]
    assert await store.put_occurrences([first(message) for message in messages]) == [Moved(Step.DONE, b"1")] * MAX_BATCH
    later = [occurrence(9, schedule=name) for name in names]
    moves = [
        Move(name, b"1", b"2", put=[new], take=[old.id], sure=True)
        for name, old, new in zip(names, messages, later, strict=True)
    ]
    assert await store.put_occurrences(moves) == [Moved(Step.DONE, b"2", 1)] * MAX_BATCH
    assert sorted(ids([claim.message for claim in await all_due(store, NOW + 9)])) == sorted(ids(later))


async def all_due(store: Store, now: int) -> list[Any]:
    claims: list[Any] = []
    while some := await store.claim(now, MAX_BATCH, LEASE):
        claims += some
    return claims


async def test_large_occurrences_are_all_put(store: Store) -> None:
    moves = [first(occurrence(schedule=f"s{n}", body=b"x" * 300_000)) for n in range(5)]
    assert await store.put_occurrences(moves) == [Moved(Step.DONE, b"1")] * 5
    assert await store.count() == len(await store.cursors()) == 5


@pytest.mark.parametrize(
    "moves",
    [
        [Move(f"s{n}", None, b"1") for n in range(MAX_BATCH + 1)],
        [Move("s", None, b"1", put=[occurrence(n) for n in range(MAX_BATCH + 1)])],
        [Move("s", None, b"1", take=[f"{n}" for n in range(MAX_BATCH + 1)])],
        [Move("s", None, b"1"), Move("s", None, b"1", put=[occurrence(key="k")])],
    ],
    ids=["moves", "put", "take", "key"],
)
async def test_more_than_an_act_takes_and_keys_are_refused(store: Store, moves: Sequence[Move]) -> None:
    with pytest.raises(ValueError, match=r"^expected (at most 500 moves|occurrences to have no key)"):
        await store.put_occurrences(moves)
    assert (await store.cursors(), await store.count()) == ({}, 0)


# -- two servers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [None, b"0"])
async def test_of_two_servers_exactly_one_makes_each_move(store: Store, other: Store, seen: bytes | None) -> None:
    names = [f"s{n:02}" for n in range(40)]
    if seen is not None:
        await store.put_occurrences([Move(name, None, seen) for name in names])

    async def serve(server: Store, mine: bytes, order: Sequence[str]) -> dict[str, Moved]:
        moved: dict[str, Moved] = {}
        for start in range(0, len(order), 8):
            some = order[start : start + 8]
            moves = [Move(name, seen, mine, put=[occurrence(len(mine), schedule=name, body=mine)]) for name in some]
            moved |= dict(zip(some, await server.put_occurrences(moves), strict=True))
        return moved

    one, two = await asyncio.gather(serve(store, b"one", names), serve(other, b"other", names[::-1]))
    cursors = await store.cursors()
    for name in names:
        assert sorted([one[name].step, two[name].step]) == [Step.OVERTAKEN, Step.DONE]
        assert one[name].cursor == two[name].cursor == cursors[name]
    assert {message.body for message in (await everything(store)).values()} == set(cursors.values())
    assert await store.count() == len(names)


async def test_an_occurrence_is_either_taken_or_claimed(store: Store, other: Store) -> None:
    messages = [occurrence(schedule=f"s{n:02}") for n in range(40)]
    await store.put_occurrences([first(message) for message in messages])

    async def take() -> list[Moved]:
        moves = [Move(f"s{n:02}", b"1", None, take=[message.id]) for n, message in enumerate(messages)][::-1]
        return [await do(other, move) for move in moves]

    async def serve() -> set[str]:
        seen: set[str] = set()
        while claims := await store.claim(NOW, 2, LEASE):
            seen |= set(ids(claims))
        return seen

    moved, claimed = await asyncio.gather(take(), serve())
    assert sum(one.taken for one in moved) + len(claimed) == len(messages)
