"""What lies in this process's memory, and what people see of it."""

from __future__ import annotations

import heapq
import threading
from abc import ABC
from binascii import crc32
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..clock import Clock, SystemClock
from ..conf import LayerSettings
from ..message import DeadLetter, Target, Waiting
from .base import Named, Store
from .shelf import MAX_LISTED_BYTES, SLOT_MS, Listed, Page, Spot, Tally, Wanted
from .wake import Wake

OUTSIDE = ""  # of backlogs: no target's name


class Entry(NamedTuple):
    """A message; generation 0: it waits, in this backlog or outside of all."""

    message: Waiting
    generation: int
    backlog: str


class MemoryShelf(Store, ABC):
    """Dicts, and a heap for each backlog, under one lock. What no longer holds in a heap is skipped when met."""

    def __init__(self, layer: LayerSettings | None = None, *, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self._messages: dict[str, Entry] = {}
        self._keys: dict[str, str] = {}
        self._orders: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)  # due instants and ids, by backlog
        self._dead: dict[str, DeadLetter] = {}
        self._cursors: dict[str, bytes] = {}  # by schedule
        self._generation = 0
        self._lock = threading.Lock()
        self._wake = Wake()

    def __str__(self) -> str:
        return "memory"

    def read_clock(self) -> Clock:
        return self.clock

    async def aread_clock(self) -> Clock:
        return self.clock

    # -- for people ---------------------------------------------------------------------------------------

    async def count(self) -> int:
        return len(self._messages)

    async def first_due(self) -> int | None:
        with self._lock:
            return min((first.due for name in list(self._orders) if (first := self._first(name))), default=None)

    async def look(self, wanted: Wanted, limit: int, after: Spot | None = None) -> Page:
        with self._lock:
            entries = self._in_order(after)
        found = [_listed(spot, entry) for spot, entry in entries if wanted.fits(entry.message)]
        return Page(found[:limit], found[limit - 1].spot if len(found) > limit else None)

    async def tally(self, after: Spot | None = None) -> tuple[Mapping[Target, Tally], Spot | None]:
        tallies: defaultdict[Target, Tally] = defaultdict(Tally)
        with self._lock:
            for spot, (message, generation, _) in self._in_order(after):
                one = Tally(claimed=1) if generation else Tally(first_due=message.due)
                if not generation:
                    one = one._replace(**{"held_back" if spot.at >= SLOT_MS else "waiting": 1})
                tallies[message.target] = tallies[message.target].plus(one)
        return tallies, None

    async def count_dead(self) -> int:
        return len(self._dead)

    async def dead_letters(self, limit: int, after: Spot | None = None) -> list[DeadLetter]:
        newest_first = sorted(self._dead.values(), key=died, reverse=True)
        behind = [letter for letter in newest_first if after is None or died(letter) < after]
        return [_cut(letter) for letter in behind[:limit]]

    async def find_dead(self, ids: Sequence[str]) -> list[DeadLetter | None]:
        return [self._dead.get(id) for id in ids]

    async def requeue(self, letters: Sequence[DeadLetter], now: int) -> list[bool]:
        with self._lock:
            requeued = [self._requeue(letter, now) for letter in letters]
        self._wake.ring()
        return requeued

    def _requeue(self, letter: DeadLetter, now: int) -> bool:
        if letter.message is None or self._dead.pop(letter.id, None) is None:
            return False
        if letter.id not in self._messages:  # else it was put again
            self._put_back(letter.message.anew(now))
        return True

    async def purge(self, ids: Sequence[str]) -> list[bool]:
        return [self._dead.pop(id, None) is not None for id in ids]

    # -- inside -------------------------------------------------------------------------------------------

    def _head(self) -> int | None:
        """The earliest due instant, of what waits or is claimed, outside of backlogs."""
        first = self._first()
        return None if first is None else first.due

    def _first(self, backlog: str = OUTSIDE) -> Waiting | None:
        """The first in this backlog, or outside of all: there, what is claimed as well."""
        order = self._orders.get(backlog, [])
        while order:
            due, id = order[0]
            entry = self._messages.get(id)
            if entry is not None and (entry.message.due, entry.backlog) == (due, backlog):
                return entry.message
            heapq.heappop(order)
        self._orders.pop(backlog, None)
        return None

    def _set(self, message: Waiting, generation: int = 0, backlog: str = OUTSIDE) -> None:
        self._messages[message.id] = Entry(message, generation, backlog)
        order = self._orders[backlog]
        heapq.heappush(order, (message.due, message.id))
        if len(order) > 2 * len(self._messages) + 1_000:  # mostly entries that no longer hold
            order[:] = [(one.message.due, id) for id, one in self._messages.items() if one.backlog == backlog]
            heapq.heapify(order)

    def _find(self, named: Named) -> Waiting | None:
        """The waiting message of this id or key; one that is claimed or has expired is not waiting."""
        id = named.id if named.id is not None else self._keys.get(named.key or "")
        entry = self._messages.get(id or "")
        if entry is None or entry.generation or entry.message.expired(self.clock.now()):
            return None
        return entry.message

    def _in_order(self, after: Spot | None) -> list[tuple[Spot, Entry]]:
        """All that stands behind `after`: each backlog has a range behind what is outside."""
        spots = ((_spot(entry), entry) for entry in self._messages.values())
        return sorted((pair for pair in spots if after is None or pair[0] > after), key=lambda pair: pair[0])

    def _remove(self, message: Waiting) -> None:
        del self._messages[message.id]
        self._free_key(message)

    def _free_key(self, message: Waiting) -> None:
        if message.key is not None and self._keys.get(message.key) == message.id:
            del self._keys[message.key]

    def _put_back(self, message: Waiting, backlog: str = OUTSIDE) -> None:
        if message.key is not None:
            self._keys.setdefault(message.key, message.id)
        self._set(message, backlog=backlog)


def _spot(entry: Entry) -> Spot:
    slot = 1 + crc32(entry.backlog.encode()) % 1_000 if entry.backlog != OUTSIDE else 0
    return Spot(slot * SLOT_MS + entry.message.due, entry.message.id)


def _listed(spot: Spot, entry: Entry) -> Listed:
    body = entry.message.body
    return Listed(replace(entry.message, body=body[:MAX_LISTED_BYTES]), len(body), entry.generation != 0, spot)


def died(letter: DeadLetter) -> Spot:
    return Spot(letter.at, letter.id)


def _cut(letter: DeadLetter) -> DeadLetter:
    return replace(letter, body=letter.body[:MAX_LISTED_BYTES])
