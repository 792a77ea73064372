"""What people see: lists in due order, page by page; tallies; dead letters, requeued and purged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from delayserver.backoff import Retry
from delayserver.message import DeadLetter, Target, Waiting
from delayserver.models import DelayedMessage
from delayserver.stores import Stores, shelf
from delayserver.stores import redis_shelf as redis_module
from delayserver.stores.base import Named, Store
from delayserver.stores.redis import RedisStore
from delayserver.stores.shelf import SLOT_MS, Listed, Spot, Tally, Wanted
from delayserver.stores.shelves import Overview, Shelves

from ..support.clock import NOW
from .places import LEASE, Place, ids, in_thread, letter, waiting


async def listed(store: Store, wanted: Wanted = Wanted(), size: int = 100) -> list[Listed]:  # noqa: B008
    """All that is wanted, in pages of this size."""
    found: list[Listed] = []
    shelves, after = Shelves(Stores([store])), None
    while True:
        page = await shelves.page(wanted, size, after)
        assert len(page.listed) == size or page.rest is None
        found += page.listed
        after = page.rest
        if after is None:
            return found


def seen(found: list[Listed]) -> list[str]:
    return [one.message.id for one in found]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """So many messages does one look pass over."""
    monkeypatch.setattr(redis_module, "MAX_LOOKED_AT", 3)
    monkeypatch.setattr("delayserver.stores.database_shelf.MAX_LOOKED_AT", 3)
    return 3


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_a_list_is_in_due_order_whatever_the_size_of_its_pages(store: Store, size: int) -> None:
    messages = [waiting(NOW + due) for due in (5, 3, 3, 3, 1, 9, 3)]
    await store.aput(messages)
    expected = [message.id for message in sorted(messages, key=lambda message: (message.due, message.id))]
    assert seen(await listed(store, size=size)) == expected


async def test_pages_go_on_where_the_last_one_ended_though_that_message_is_gone(store: Store) -> None:
    messages = [waiting(NOW) for _ in range(6)]
    await store.aput(messages)
    page = await store.look(Wanted(), 3)
    assert page.rest is not None
    await store.acancel([Named(messages[2].id), Named(messages[3].id)])
    rest = await store.look(Wanted(), 10, page.rest)
    assert seen([*rest.listed]) == ids(messages[4:])


async def test_a_message_is_listed_as_it_waits(store: Store) -> None:
    message = waiting(NOW, key="k", expires=NOW + 50, retry=Retry(max_attempts=3, backoff=timedelta(seconds=2)))
    group = Waiting("g" * 5, NOW + 1, Target("group", "listeners"), b"\x81\xa4type\xa1x")
    await store.aput([message, group])
    one, other = await listed(store)
    assert (one.message, other.message) == (message, group)
    assert (one.size, one.claimed, one.held_back) == (len(message.body), False, False)


async def test_what_is_claimed_or_held_back_is_listed_as_such(store: Store) -> None:
    claimed, held_back, free = waiting(NOW), waiting(NOW + 1, channel="full"), waiting(NOW + 9)
    await store.aput([claimed, held_back, free])
    await store.claim(NOW + 1, 10, LEASE, full=["full"])
    found = {one.message.id: one for one in await listed(store)}
    assert [(found[id].claimed, found[id].held_back) for id in ids([claimed, held_back, free])] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert found[held_back.id].message.due == NOW + 1
    assert found[claimed.id].message.due == NOW + 1 + LEASE
    assert seen(await listed(store))[-1] == held_back.id  # backlogs come last


async def test_a_large_content_is_cut(store: Store) -> None:
    large = waiting(body=b"\xc5\xff\xff" + b"x" * 65_535, key="k")
    await store.aput([large])
    [one] = await listed(store)
    assert (one.message.body, one.size) == (large.body[: shelf.MAX_LISTED_BYTES], 65_538)


WANTED: list[tuple[Wanted, list[int]]] = [
    (Wanted(), [0, 1, 2, 3, 4]),
    (Wanted("channel", "sink"), [0]),
    (Wanted("channel"), [0, 1, 2, 3]),
    (Wanted("group"), [4]),
    (Wanted("group", "sink"), [4]),
    (Wanted(name="sink"), [0, 4]),
    (Wanted(name="sink-*"), [1, 2]),
    (Wanted(name="*"), [0, 1, 2, 3, 4]),
    (Wanted(name="sin"), []),
    (Wanted(key="a:1"), [1]),
    (Wanted(key="a:*"), [1, 2]),
    (Wanted(key="b"), []),
    (Wanted(due_from=NOW + 1), [1, 2, 3, 4]),
    (Wanted(due_before=NOW + 3), [0, 1, 2]),
    (Wanted(due_from=NOW + 1, due_before=NOW + 4), [1, 2, 3]),
    (Wanted(name="sink-*", key="a:*", due_from=NOW + 2), [2]),
]


@pytest.mark.parametrize(("wanted", "expected"), WANTED)
@pytest.mark.usefixtures("few")
async def test_a_list_shows_what_is_wanted(store: Store, wanted: Wanted, expected: list[int]) -> None:
    group = Waiting("fffe", NOW + 4, Target("group", "sink"), b"\x80")
    messages = [
        waiting(NOW, channel="sink"),
        waiting(NOW + 1, channel="sink-one", key="a:1"),
        waiting(NOW + 2, channel="sink-two", key="a:2"),
        waiting(NOW + 3, channel="other", key="c"),
        group,
    ]
    await store.aput(messages)
    assert seen(await listed(store, wanted, size=1)) == [messages[n].id for n in expected]
    assert seen(await listed(store, wanted)) == [messages[n].id for n in expected]


async def test_a_window_of_time_holds_what_is_in_a_backlog_too(store: Store) -> None:
    messages = [waiting(NOW + n, channel="full") for n in range(4)]
    await store.aput([*messages, waiting(NOW + 100)])
    assert await store.claim(NOW + 10, 10, LEASE, full=["full"]) == []
    window = Wanted(due_from=NOW + 1, due_before=NOW + 3)
    assert seen(await listed(store, window)) == ids(messages[1:3])


async def test_one_look_is_bounded_and_yet_all_is_found(store: Store, few: int) -> None:
    messages = [waiting(NOW + n, channel="rare" if n == 9 else "sink", key=f"k{n}") for n in range(10)]
    await store.aput(messages)
    assert seen(await listed(store, Wanted(name="rare"))) == [messages[9].id]
    assert seen(await listed(store, Wanted(key="k9*"))) == [messages[9].id]


async def test_what_is_no_message_is_passed_over(store: Store, place: Place) -> None:
    """A raw writer can put anything into a store."""
    messages = [waiting(NOW + n) for n in range(4)]
    await store.aput(messages)
    await in_thread(spoil, place, messages[1].id, NOW + 1)
    good = [messages[0].id, *ids(messages[2:])] if place.kind != "memory" else ids(messages)
    for size in (1, 2, 100):
        assert seen(await listed(store, size=size)) == good
    assert [*(await overview(store)).targets] == [Target("channel", "sink")]


def spoil(place: Place, id: str, due: int) -> None:
    """Make something else of a message, where others can write."""
    if place.kind.startswith("database"):
        DelayedMessage.objects.using(place.kind.removeprefix("database-")).filter(pk=id).update(kind="neither")
    elif place.kind.startswith("redis"):
        store = place.store()
        assert isinstance(store, RedisStore)
        assert store.cancel([Named(id)]) == [True]
        name_of_bytes = b"\0" + b"i" * 16 + b"\0\3\xff\xff\xff" + b"\x80"
        store._link.sync.ask("ZADD", store._keys.waiting, due, b"\xffjunk", due, b"j", due, name_of_bytes)


# -- tallies ----------------------------------------------------------------------------------------------------


async def overview(store: Store) -> Overview:
    steps: AsyncIterator[Overview] = Shelves(Stores([store])).overview()
    return [step async for step in steps][-1]


@pytest.mark.usefixtures("few")
async def test_an_overview_counts_by_target_and_state(store: Store) -> None:
    here = (await store.aread_clock()).now()
    await store.aput([waiting(here - 5_000 + n) for n in range(3)])
    assert len(await store.claim(here, 3, 10**6)) == 3
    await store.aput([waiting(here - 1_000 + n, channel="full") for n in range(4)])
    assert await store.claim(here, 10, 10**6, full=["full"]) == []
    await store.aput(
        [
            waiting(here + 10**9, channel="later"),
            Waiting("abc", here + 10**8, Target("group", "sink"), b"\x80"),
        ]
    )
    told = await overview(store)
    assert told.targets == {
        Target("channel", "sink"): Tally(0, 0, 3, None),
        Target("channel", "full"): Tally(0, 4, 0, here - 1_000),
        Target("channel", "later"): Tally(1, 0, 0, here + 10**9),
        Target("group", "sink"): Tally(1, 0, 0, here + 10**8),
    }
    assert told.total == Tally(2, 4, 3, here - 1_000)
    assert (told.oldest_overdue, told.next_due) == (here - 1_000, here + 10**8)


async def test_an_empty_store_has_nothing_to_tell(store: Store) -> None:
    told = await overview(store)
    assert (told.total, told.oldest_overdue, told.next_due, told.dead) == (Tally(), None, None, 0)


# -- dead letters -----------------------------------------------------------------------------------------------


async def buried(store: Store, message: Waiting, reason: str = "no") -> DeadLetter:
    await store.aput([message])
    claims = await store.claim(message.due, 1, LEASE)
    dead = DeadLetter.of(claims[0].message, message.due, reason)
    assert await store.bury(claims, [dead]) == [True]
    return dead


async def test_a_dead_message_is_kept_whole(store: Store) -> None:
    message = waiting(key="k", expires=NOW + 9, retry=Retry(max_attempts=2), body=b"x" * 20_000)
    dead = await buried(store, message)
    assert await store.find_dead([message.id, "nobody"]) == [dead, None]
    [cut] = await store.dead_letters(1)
    assert len(cut.body) <= 2 * shelf.MAX_LISTED_BYTES
    assert cut.message is not None
    assert (cut.id, cut.message.target, cut.message.key, cut.reason) == (message.id, message.target, "k", "no")


async def test_a_requeued_message_is_due_now_with_all_its_attempts_and_no_expiry(store: Store) -> None:
    message = waiting(key="k", expires=NOW + 9, retry=Retry(max_attempts=2))
    dead = await buried(store, message)
    assert await store.requeue([dead], NOW + 100) == [True]
    assert await store.find_dead([message.id]) == [None]
    [claim] = await store.claim(NOW + 100, 10, LEASE)
    assert claim.message == message.anew(NOW + 100)
    assert (claim.message.expires, claim.message.attempt) == (None, 0)
    assert await store.requeue([dead], NOW + 100) == [False]


async def test_a_requeued_message_has_its_key_again_unless_another_waits_under_it(store: Store) -> None:
    dead = await buried(store, waiting(key="k"))
    other = waiting(NOW + 50, key="k")
    await store.aput([other])
    assert await store.requeue([dead], NOW) == [True]
    found = await store.aget(Named(key="k"))
    assert found is not None
    assert found.id == other.id
    assert await store.count() == 2


async def test_what_never_was_a_message_cannot_be_requeued(store: Store) -> None:
    refused = letter(NOW)
    await store.refuse([refused])
    assert await store.requeue([refused], NOW) == [False]
    assert await store.find_dead([refused.id]) == [refused]


async def test_a_purged_letter_is_gone(store: Store) -> None:
    letters = [letter(NOW + n) for n in range(3)]
    await store.refuse(letters)
    assert await store.purge([letters[1].id, "nobody"]) == [True, False]
    assert await store.dead_letters(10) == [letters[2], letters[0]]
    assert await store.count_dead() == 2


async def test_dead_letters_come_page_by_page(store: Store) -> None:
    letters = sorted((letter(NOW + n // 3) for n in range(10)), key=lambda one: Spot(one.at, one.id), reverse=True)
    await store.refuse(letters)
    shelves, after, found = Shelves(Stores([store])), None, []
    while True:
        page, after = await shelves.dead_letters(3, after)
        found += page
        if after is None:
            break
        await store.purge([page[-1].id])  # the next page begins behind it all the same
    assert found == letters


def test_a_slot_lies_behind_every_instant_that_is_allowed() -> None:
    year_2240 = 8_520_336_000_000
    assert year_2240 < SLOT_MS
