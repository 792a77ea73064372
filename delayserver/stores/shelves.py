"""What people see and steer, in all the stores of a layer as if they were one.

A list goes page by page, a count step by step, however much there is; each step is an act that holds nobody up.

One of several stores may be away. Lists and counts tell what the others have. What is named and found is an answer;
what is not found may be where nobody answers, and that is raised.
"""

from __future__ import annotations

import functools
import heapq
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from ..errors import StoreUnavailable
from ..message import DeadLetter, Target, Waiting
from . import Stores
from .base import MAX_BATCH, Named, Store
from .shelf import Listed, Page, Spot, Tally, Wanted

T = TypeVar("T")

LETTERS_AT_ONCE = 100  # each may be as large as a list shows


class Overview(NamedTuple):
    """How things stand: in all, for each target, when the next is due that is not yet, and how many are dead."""

    now: int
    targets: Mapping[Target, Tally]
    next_due: int | None
    dead: int

    @property
    def total(self) -> Tally:
        total = Tally()
        for tally in self.targets.values():
            total = total.plus(tally)
        return total

    @property
    def oldest_overdue(self) -> int | None:
        """The due instant of what should have gone out first, and has not; None where nothing should have."""
        first = self.total.first_due
        return first if first is not None and first <= self.now else None


class Shelves:
    """Those of `stores`, for one look at them: a store that was away is not asked again.

    Every verb raises `StoreUnavailable` where all are away.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._errors: dict[int, StoreUnavailable] = {}  # by the number of the store

    @property
    def away(self) -> list[str]:
        """The names of the stores that did not answer."""
        return [str(self._stores[number]) for number in sorted(self._errors)]

    async def _ask(self, number: int, ask: Callable[[Store], Awaitable[T]]) -> T | None:
        """What one store answers; None where it is away."""
        if number not in self._errors:
            try:
                return await ask(self._stores[number])
            except StoreUnavailable as error:
                self._errors[number] = error
        if len(self._errors) == len(self._stores):
            raise self._errors[number]
        return None

    async def _each(self, ask: Callable[[Store], Awaitable[T]]) -> list[T]:
        """What all stores answer that are there."""
        answers = [await self._ask(number, ask) for number in range(len(self._stores))]
        return [answer for answer in answers if answer is not None]

    async def _first(self, ask: Callable[[Store], Awaitable[T]]) -> T | None:
        """The first answer that is not empty."""
        for number in range(len(self._stores)):
            if answer := await self._ask(number, ask):
                return answer
        return None

    def _found(self, answer: T) -> T:
        """The answer; `StoreUnavailable` where it is empty, and a store is away that may know better."""
        if not answer and self._errors:
            raise next(iter(self._errors.values()))
        return answer

    async def now(self) -> int:
        """The present by the stores' clock, in milliseconds since the epoch."""
        clock = await self._first(lambda store: store.aread_clock())
        assert clock is not None, "else all are away"
        return clock.now()

    # -- what waits ---------------------------------------------------------------------------------------

    async def page(self, wanted: Wanted, limit: int, after: Spot | None = None) -> Page:
        """The first `limit` messages that are `wanted` behind `after`, and where the next page begins."""
        if wanted.key is not None and not wanted.key.endswith("*"):
            wanted = await self._narrowed(wanted, wanted.key)
        piles = await self._each(lambda store: _all(store, wanted, limit + 1, after))
        listed = list(heapq.merge(*piles, key=_spot))
        return Page(listed[:limit], listed[limit - 1].spot if len(listed) > limit else None)

    async def _narrowed(self, wanted: Wanted, key: str) -> Wanted:
        """The same, where the one message that waits under this key is due: so it need not be looked for."""
        found = await self._find(Named(key=key))
        due = found[1].due if found is not None else 0
        return wanted._replace(due_from=max(wanted.due_from, due), due_before=min(wanted.due_before, due + 1))

    async def find(self, named: Named) -> tuple[Store, Waiting] | None:
        """The waiting message of this id or key, and where it waits."""
        return self._found(await self._find(named))

    async def _find(self, named: Named) -> tuple[Store, Waiting] | None:
        async def ask(store: Store) -> tuple[Store, Waiting] | None:
            message = await store.aget(named)
            return None if message is None else (store, message)

        return await self._first(ask)

    async def run_now(self, named: Named) -> bool:
        """Waiting -> waiting, due now."""

        async def ask(store: Store) -> bool:
            return await store.areschedule(named, (await store.aread_clock()).now())

        return self._found(bool(await self._first(ask)))

    async def cancel_key(self, key: str) -> bool:
        """The message that waits under this key -> gone."""
        return self._found([True] in await self._each(lambda store: store.acancel([Named(key=key)])))

    async def cancel(self, ids: Sequence[str]) -> list[bool]:
        """For each id whether its message was waiting; it is gone now. Raises only where none was."""
        cancelled = await self._cancel(ids)
        self._found(cancelled or not ids)
        return [id in cancelled for id in ids]

    async def _cancel(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids whose messages were waiting, and are gone now."""
        cancelled: set[str] = set()

        async def ask(store: Store) -> None:
            left = [id for id in ids if id not in cancelled]
            answers = await store.acancel([Named(id) for id in left])
            cancelled.update(id for id, done in zip(left, answers, strict=True) if done)

        await self._each(ask)
        return cancelled

    async def cancel_wanted(self, wanted: Wanted) -> AsyncIterator[int]:
        """Waiting and `wanted` -> gone, page by page; how many are gone by now."""
        gone = 0
        async for page in self._pages(wanted):
            gone += len(await self._cancel(page))
            yield gone

    async def count_wanted(self, wanted: Wanted, most: int) -> int:
        """How many of those that wait are `wanted`; where they are more than `most`, some number above it."""
        number = 0
        async for page in self._pages(wanted):
            number += len(page)
            if number > most:
                break
        return number

    async def _pages(self, wanted: Wanted) -> AsyncIterator[list[str]]:
        """The ids of those that wait and are `wanted`."""
        now, after = await self.now(), None
        while True:
            page = await self.page(wanted, MAX_BATCH, after)
            yield [one.message.id for one in page.listed if not (one.claimed or one.message.expired(now))]
            after = page.rest
            if after is None:
                return

    async def overview(self) -> AsyncIterator[Overview]:
        """How things stand, as far as is counted: each is more complete, the last one is."""
        now = await self.now()
        targets: defaultdict[Target, Tally] = defaultdict(Tally)
        for number in range(len(self._stores)):
            of_others, after = targets.copy(), None
            while True:
                counted = await self._ask(number, functools.partial(_tally, after=after))
                if counted is None:  # what was counted of it would be half the truth
                    targets = of_others
                    break
                tallies, after = counted
                for target, tally in tallies.items():
                    targets[target] = targets[target].plus(tally)
                if after is None:
                    break
                yield Overview(now, targets, None, 0)
        dead = sum(await self._each(lambda store: store.count_dead()))
        yield Overview(now, targets, await self._next_due(now), dead)

    async def _next_due(self, now: int) -> int | None:
        """When the next is due that is not claimed; a few hundred may be."""
        after: Spot | None = None
        while True:
            page = await self.page(Wanted(due_from=now + 1), MAX_BATCH, after)
            for one in page.listed:
                if not one.claimed:
                    return one.message.due
            after = page.rest
            if after is None:
                return None

    # -- dead letters ----------------------------------------------------------------------------------------

    async def dead_letters(self, limit: int, after: Spot | None = None) -> tuple[list[DeadLetter], Spot | None]:
        """The newest dead letters behind `after`, and where the next page begins."""
        piles = await self._each(lambda store: store.dead_letters(limit + 1, after))
        letters = list(heapq.merge(*piles, key=_died, reverse=True))
        return letters[:limit], _died(letters[limit - 1]) if len(letters) > limit else None

    async def dead_pages(self, before: int | None = None) -> AsyncIterator[list[DeadLetter]]:
        """All dead letters, newest first; or those which died before an instant."""
        after = None if before is None else Spot(before, "")
        while True:
            letters, after = await self.dead_letters(LETTERS_AT_ONCE, after)
            yield letters
            if after is None:
                return

    async def find_dead(self, ids: Sequence[str]) -> dict[str, DeadLetter]:
        """The dead letters of these ids, as far as there are any. Raises only where there is none."""
        piles = await self._each(lambda store: store.find_dead(ids))
        return self._found({letter.id: letter for pile in piles for letter in pile if letter is not None})

    async def requeue(self, ids: Sequence[str]) -> list[bool]:
        """Dead letter -> waiting, due now; False for what is gone, or never was a message. Raises only where none of
        them was found.
        """
        found, requeued = set[str](), set[str]()

        async def ask(store: Store) -> None:
            now = (await store.aread_clock()).now()
            for id in ids:  # each may be as large as a message
                letters = [letter for letter in await store.find_dead([id]) if letter is not None]
                found.update(letter.id for letter in letters)
                if any(await store.requeue(letters, now)):
                    requeued.add(id)

        await self._each(ask)
        self._found(found or not ids)
        return [id in requeued for id in ids]

    async def purge(self, ids: Sequence[str]) -> list[bool]:
        """Dead letter -> gone. Raises only where none of them was found."""
        purged: set[str] = set()

        async def ask(store: Store) -> None:
            for start in range(0, len(ids), MAX_BATCH):
                some = ids[start : start + MAX_BATCH]
                answers = await store.purge(some)
                purged.update(id for id, done in zip(some, answers, strict=True) if done)

        await self._each(ask)
        self._found(purged or not ids)
        return [id in purged for id in ids]


async def _all(store: Store, wanted: Wanted, limit: int, after: Spot | None) -> list[Listed]:
    """The first `limit` of one store, in as many looks as it takes."""
    listed: list[Listed] = []
    while len(listed) < limit:
        page = await store.look(wanted, limit - len(listed), after)
        listed += page.listed
        after = page.rest
        if after is None:
            break
    return listed


async def _tally(store: Store, after: Spot | None) -> tuple[Mapping[Target, Tally], Spot | None]:
    return await store.tally(after)


def _spot(one: Listed) -> Spot:
    return one.spot


def _died(letter: DeadLetter) -> Spot:
    return Spot(letter.at, letter.id)
