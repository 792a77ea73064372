"""What people see and steer, in all the stores of a layer as if they were one.

A list goes page by page, a count step by step, however much there is; each step is an act that holds nobody up.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

from ..message import DeadLetter, Target, Waiting
from . import Stores
from .base import MAX_BATCH, Named, Store
from .shelf import Listed, Page, Spot, Tally, Wanted

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
    """Those of `stores`."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def now(self) -> int:
        """The present by the stores' clock, in milliseconds since the epoch."""
        return (await self._stores[0].aread_clock()).now()

    # -- what waits ---------------------------------------------------------------------------------------

    async def page(self, wanted: Wanted, limit: int, after: Spot | None = None) -> Page:
        """The first `limit` messages that are `wanted` behind `after`, and where the next page begins."""
        if wanted.key is not None and not wanted.key.endswith("*"):
            wanted = await self._narrowed(wanted, wanted.key)
        piles = [[one async for one in _all(store, wanted, limit + 1, after)] for store in self._stores]
        listed = list(heapq.merge(*piles, key=_spot))
        return Page(listed[:limit], listed[limit - 1].spot if len(listed) > limit else None)

    async def _narrowed(self, wanted: Wanted, key: str) -> Wanted:
        """The same, where the one message that waits under this key is due: so it need not be looked for."""
        found = await self.find(Named(key=key))
        due = found[1].due if found is not None else 0
        return wanted._replace(due_from=max(wanted.due_from, due), due_before=min(wanted.due_before, due + 1))

    async def find(self, named: Named) -> tuple[Store, Waiting] | None:
        """The waiting message of this id or key, and where it waits."""
        for store in self._stores:
            message = await store.aget(named)
            if message is not None:
                return store, message
        return None

    async def run_now(self, named: Named) -> bool:
        """Waiting -> waiting, due now."""
        for store in self._stores:
            if await store.areschedule(named, (await store.aread_clock()).now()):
                return True
        return False

    async def cancel_key(self, key: str) -> bool:
        """The message that waits under this key -> gone."""
        cancelled = [await store.acancel([Named(key=key)]) for store in self._stores]
        return [True] in cancelled

    async def cancel(self, ids: Sequence[str]) -> list[bool]:
        """For each id whether its message was waiting; it is gone now."""
        cancelled = dict.fromkeys(ids, False)
        for store in self._stores:
            left = [id for id, done in cancelled.items() if not done]
            for id, done in zip(left, await store.acancel([Named(id) for id in left]), strict=True):
                cancelled[id] |= done
        return [cancelled[id] for id in ids]

    async def cancel_wanted(self, wanted: Wanted) -> AsyncIterator[int]:
        """Waiting and `wanted` -> gone, page by page; how many are gone by now."""
        gone = 0
        async for page in self._pages(wanted):
            gone += sum(await self.cancel(page))
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
        for store in self._stores:
            after: Spot | None = None
            while True:
                tallies, after = await store.tally(after)
                for target, tally in tallies.items():
                    targets[target] = targets[target].plus(tally)
                if after is None:
                    break
                yield Overview(now, targets, None, 0)
        dead = sum([await store.count_dead() for store in self._stores])
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
        piles = [await store.dead_letters(limit + 1, after) for store in self._stores]
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
        """The dead letters of these ids, as far as there are any."""
        found: dict[str, DeadLetter] = {}
        for store in self._stores:
            found |= {letter.id: letter for letter in await store.find_dead(ids) if letter is not None}
        return found

    async def requeue(self, ids: Sequence[str]) -> list[bool]:
        """Dead letter -> waiting, due now; False for what is gone, or never was a message."""
        requeued = dict.fromkeys(ids, False)
        for store in self._stores:
            now = (await store.aread_clock()).now()
            for id in ids:  # each may be as large as a message
                letters = [letter for letter in await store.find_dead([id]) if letter is not None]
                requeued[id] |= any(await store.requeue(letters, now))
        return [requeued[id] for id in ids]

    async def purge(self, ids: Sequence[str]) -> list[bool]:
        """Dead letter -> gone."""
        purged = dict.fromkeys(ids, False)
        for store in self._stores:
            for start in range(0, len(ids), MAX_BATCH):
                some = ids[start : start + MAX_BATCH]
                for id, done in zip(some, await store.purge(some), strict=True):
                    purged[id] |= done
        return [purged[id] for id in ids]


async def _all(store: Store, wanted: Wanted, limit: int, after: Spot | None) -> AsyncIterator[Listed]:
    """The first `limit` of one store, in as many looks as it takes."""
    while limit > 0:
        page = await store.look(wanted, limit, after)
        for one in page.listed:
            yield one
        limit, after = limit - len(page.listed), page.rest
        if after is None:
            return


def _spot(one: Listed) -> Spot:
    return one.spot


def _died(letter: DeadLetter) -> Spot:
    return Spot(letter.at, letter.id)
