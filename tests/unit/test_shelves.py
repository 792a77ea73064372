"""All stores as one, where one of several is away: what the others have is told, and nothing is said that is not so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from delayserver.errors import StoreUnavailable
from delayserver.message import DeadLetter, Target, Waiting
from delayserver.stores import Stores
from delayserver.stores.base import Named
from delayserver.stores.memory import MemoryStore
from delayserver.stores.shelf import Spot, Tally, Wanted
from delayserver.stores.shelves import Shelves

from ..support.clock import FakeClock

SINK = Target("channel", "sink")
VERBS = (
    *("aread_clock", "aget", "acancel", "areschedule", "look", "tally"),
    *("count_dead", "dead_letters", "find_dead", "requeue", "purge"),
)


class Far(MemoryStore):
    """A store that may be away."""

    def __init__(self, name: str, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.name, self.is_away, self.asked = name, False, 0

    def __str__(self) -> str:
        return self.name

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return self._asked(found) if name in VERBS else found

    def _asked(self, verb: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def ask(*args: Any, **options: Any) -> Any:
            self.asked += 1
            if self.is_away:
                raise StoreUnavailable(f"{self.name} did not answer")
            return await verb(*args, **options)

        return ask


@pytest.fixture
def stores(clock: FakeClock) -> list[Far]:
    return [Far(name, clock) for name in "abc"]


@pytest.fixture(params=[0, 1, 2])
async def shelves(request: pytest.FixtureRequest, stores: list[Far], clock: FakeClock) -> Shelves:
    """Each store has a message m, due in a second, and a dead letter d; then one of them goes away."""
    for store in stores:
        store.put([Waiting(f"m{store}", clock.now() + 1000, SINK, b"", key=f"k{store}")])
        message = Waiting(f"d{store}", clock.now(), SINK, b"")
        store.put([message])
        [claim] = await store.claim(clock.now(), 1, 1000)
        await store.bury([claim], [DeadLetter.of(message, clock.now(), "it would not go")])
    stores[request.param].is_away = True
    return Shelves(Stores(stores))


def there(stores: list[Far]) -> list[str]:
    return [store.name for store in stores if not store.is_away]


def gone(stores: list[Far]) -> str:
    [name] = [store.name for store in stores if store.is_away]
    return name


async def test_what_is_named_is_found_where_a_store_answers(shelves: Shelves, stores: list[Far]) -> None:
    one, other = there(stores)
    for named in (Named(f"m{other}"), Named(key=f"k{other}")):
        found = await shelves.find(named)
        assert found is not None
        assert (str(found[0]), found[1].id) == (other, f"m{other}")
    assert list(await shelves.find_dead([f"d{other}"])) == [f"d{other}"]
    assert await shelves.run_now(Named(f"m{other}"))
    assert await shelves.cancel([f"m{other}", f"m{gone(stores)}"]) == [True, False]
    assert await shelves.cancel_key(f"k{one}")
    assert await shelves.requeue([f"d{one}", f"d{gone(stores)}"]) == [True, False]
    assert await shelves.purge([f"d{gone(stores)}", f"d{other}"]) == [False, True]
    assert shelves.away == [gone(stores)]


async def test_what_is_not_found_may_be_where_a_store_is_away(shelves: Shelves, stores: list[Far]) -> None:
    id, key, dead = f"m{gone(stores)}", f"k{gone(stores)}", f"d{gone(stores)}"
    for ask in (
        lambda: shelves.find(Named(id)),
        lambda: shelves.find(Named(key=key)),
        lambda: shelves.run_now(Named(id)),
        lambda: shelves.cancel([id]),
        lambda: shelves.cancel_key(key),
        lambda: shelves.find_dead([dead]),
        lambda: shelves.requeue([dead]),
        lambda: shelves.purge([dead]),
    ):
        with pytest.raises(StoreUnavailable, match=f"^{gone(stores)} did not answer$"):
            await ask()
    assert await shelves.cancel([]) == []


async def test_a_list_has_what_the_others_have(shelves: Shelves, stores: list[Far], clock: FakeClock) -> None:
    assert await shelves.now() == clock.now()
    page = await shelves.page(Wanted(), 1)
    assert page.rest is not None
    rest = await shelves.page(Wanted(), 5, page.rest)
    assert [one.message.id for one in (*page.listed, *rest.listed)] == [f"m{name}" for name in there(stores)]
    for name in there(stores):
        assert [one.message.id for one in (await shelves.page(Wanted(key=f"k{name}"), 5)).listed] == [f"m{name}"]
    assert (await shelves.page(Wanted(key=f"k{gone(stores)}"), 5)).listed == []
    letters, _ = await shelves.dead_letters(5)
    assert sorted(letter.id for letter in letters) == [f"d{name}" for name in there(stores)]
    assert shelves.away == [gone(stores)]


async def test_counts_and_a_bulk_have_what_the_others_have(
    shelves: Shelves, stores: list[Far], clock: FakeClock
) -> None:
    *_, overview = [one async for one in shelves.overview()]
    assert (overview.total.waiting, overview.dead, overview.next_due) == (2, 2, clock.now() + 1000)
    assert await shelves.count_wanted(Wanted(), 10) == 2
    assert [number async for number in shelves.cancel_wanted(Wanted())] == [2]


async def test_what_was_counted_of_a_store_that_goes_away_does_not_count(
    stores: list[Far], clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def tally(after: Spot | None = None) -> Any:
        stores[1].is_away = True
        return {SINK: Tally(waiting=7)}, Spot(0, "")

    for store in stores:
        store.put([Waiting(f"m{store}", clock.now() + 1000, SINK, b"")])
    monkeypatch.setattr(stores[1], "tally", tally)
    shelves = Shelves(Stores(stores))
    steps = [overview.total.waiting async for overview in shelves.overview()]
    assert steps == [8, 2]
    assert shelves.away == ["b"]


async def test_who_is_away_is_not_asked_again(shelves: Shelves, stores: list[Far]) -> None:
    [away] = [store for store in stores if store.is_away]
    await shelves.page(Wanted(), 1)
    away.is_away = False
    with pytest.raises(StoreUnavailable):
        await shelves.find(Named(f"m{away}"))
    assert away.asked == 1
    assert await Shelves(Stores(stores)).find(Named(f"m{away}"))


async def test_when_all_are_away_nothing_is_told(shelves: Shelves, stores: list[Far]) -> None:
    for store in stores:
        store.is_away = True
    for _ in range(2):
        for ask in (shelves.now, lambda: shelves.page(Wanted(), 1), lambda: shelves.dead_letters(1)):
            with pytest.raises(StoreUnavailable):
                await ask()
        with pytest.raises(StoreUnavailable):
            await anext(shelves.overview())
    assert shelves.away == ["a", "b", "c"]
