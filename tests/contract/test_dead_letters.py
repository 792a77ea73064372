"""What can never be handed over is kept for a person, newest first, and not without end."""

from __future__ import annotations

import pytest

from delayserver.message import DeadLetter
from delayserver.stores import base, database_shelf, memory, redis
from delayserver.stores.base import Store

from ..support.clock import NOW
from .places import LEASE, Place, in_thread, letter, waiting


@pytest.fixture
def most(monkeypatch: pytest.MonkeyPatch) -> int:
    """A cap that is cheap to reach."""
    for module in (base, database_shelf, memory, redis):
        monkeypatch.setattr(module, "MAX_DEAD_LETTERS", 5)
    return 5


async def test_what_is_refused_is_kept_newest_first(store: Store, other: Store) -> None:
    letters = [letter(NOW + n, reason=f"reason {n}") for n in range(4)]
    await store.refuse(letters[:3])
    await other.refuse(letters[3:])
    assert await store.dead_letters(10) == letters[::-1]
    assert await store.dead_letters(2) == letters[:1:-1]
    assert await store.dead_letters(0) == []


async def test_bury_takes_the_message_from_those_that_wait(store: Store, place: Place) -> None:
    await store.aput([waiting(key="k"), waiting()])
    claims = await store.claim(NOW, 10, LEASE)
    letters = [letter(NOW), letter(NOW + 1)]
    assert await store.bury(claims, letters) == [True, True]
    assert await store.count() == 0
    assert await store.next_due() is None
    assert await store.dead_letters(10) == letters[::-1]
    assert await store.bury(claims, letters) == [False, False]
    assert len(await store.dead_letters(10)) == 2


async def test_only_what_was_held_is_buried(store: Store) -> None:
    await store.aput([waiting(NOW), waiting(NOW + 1)])
    claims = await store.claim(NOW + 1, 10, LEASE)
    await store.finish(claims[:1])
    letters = [letter(NOW), letter(NOW + 1)]
    assert await store.bury(claims, letters) == [False, True]
    assert await store.dead_letters(10) == letters[1:]


async def test_the_oldest_go_first_when_there_are_too_many(store: Store, most: int) -> None:
    letters = [letter(NOW + n) for n in range(most + 3)]
    await store.refuse(letters[:2])
    await store.refuse(letters[2:])
    assert await store.dead_letters(100) == letters[: -most - 1 : -1]


async def test_burying_too_keeps_to_the_cap(store: Store, most: int) -> None:
    await store.refuse([letter(NOW + n) for n in range(most)])
    await store.aput([waiting()])
    last = letter(NOW + most)
    await store.bury(await store.claim(NOW, 10, LEASE), [last])
    letters = await store.dead_letters(100)
    assert (len(letters), letters[0]) == (most, last)


async def test_a_dead_letter_is_kept_exactly(store: Store) -> None:
    body = bytes(range(256)) * 4
    exact = DeadLetter("an id of any form", NOW, 'ünïcode 𝄞 "quoted" \\ reason', "asgi.delay", body)
    await store.refuse([exact])
    assert await store.dead_letters(1) == [exact]


async def test_a_reason_that_a_database_could_not_hold_is_kept_in_some_form(store: Store) -> None:
    await store.refuse([letter(NOW, reason="a\0b" + "long " * 1_000)])
    [kept] = await store.dead_letters(10)
    assert kept.reason.startswith("a")


async def test_the_body_of_a_dead_letter_may_be_a_megabyte(store: Store) -> None:
    large = DeadLetter("large", NOW, "too large", "asgi.delay", b"\xff" * 1_048_576)
    await store.refuse([large])
    assert await store.find_dead(["large"]) == [large]


async def test_dead_letters_do_not_wait(store: Store, place: Place) -> None:
    await store.refuse([letter(NOW)])
    assert await store.claim(NOW + 10, 10, LEASE) == []
    assert await store.next_due() is None
    assert await store.count() == 0
    assert len(await in_thread(place.leftovers)) <= 2
