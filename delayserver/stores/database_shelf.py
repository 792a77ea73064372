"""What people ask of the rows of one layer: how many, which, and what died."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db.models import BinaryField, Q
from django.db.models.functions import Length, Substr

from ..errors import InvalidMessage
from ..message import DeadLetter, Target, unpack_options
from ..models import INSTANT, SLOT_MS, DeadMessage, DeadMessageQuerySet, DelayedMessageQuerySet
from .base import MAX_DEAD_LETTERS
from .database_rows import Found, backlog_in, digest, from_dead, key_of, portions, to_dead, to_row, to_target
from .database_table import Table
from .shelf import MAX_LISTED_BYTES, MAX_LOOKED_AT, Listed, Page, Spot, Tally, Wanted, fits


class ShelfTable(Table):
    """The messages and dead letters of a layer, as people see them."""

    @property
    def _dead(self) -> DeadMessageQuerySet:
        return DeadMessage.objects.using(self.using).of(self.layer)

    def count(self) -> int:
        return self.again(self._rows.count)

    def first_due(self) -> int | None:
        return self.ask(self._first_due)

    def _first_due(self) -> int | None:
        outside = self._rows.outside_of_backlogs().in_order().values_list("due", flat=True).first()
        held_back = [due for _, due in self._slots()]
        return min(held_back if outside is None else [outside, *held_back], default=None)

    def backlogs(self) -> list[str]:
        return self.ask(self._backlogs)

    def _backlogs(self) -> list[str]:
        """Of two in one slot, that of the message which is due first."""
        return [name for name, _ in self._slots() if name is not None]

    def _slots(self) -> Iterator[tuple[str | None, int]]:
        """Of the first message in each slot, the backlog and the due instant: one look into the index each."""
        slot = 1
        with self.connection.cursor() as cursor:
            while True:
                cursor.execute(self._first_from, (self.layer, slot * SLOT_MS))
                first = cursor.fetchone()
                if first is None:
                    return
                slot, due = divmod(first[0], SLOT_MS)
                yield backlog_in(slot, first[1], first[2]), due
                slot += 1

    @functools.cached_property
    def _first_from(self) -> str:
        """SQL for the first row of a layer that stands at an instant or later: as `_head`, for there may be many."""
        query = self._rows.filter(due__gte=0).in_order().values_list("due", "kind", "name")[:1].query
        sql, _ = query.get_compiler(self.using).as_sql()
        return str(sql)

    # -- what waits ------------------------------------------------------------------------------------------

    def look(self, wanted: Wanted, limit: int, after: Spot | None) -> Page:
        return self.ask(self._look, wanted, limit, after)

    def _look(self, wanted: Wanted, limit: int, after: Spot | None) -> Page:
        """Outside of backlogs, and behind that in them: a range of the index each."""
        start = wanted.due_from if after is None else after.at
        page = Page([], after)
        for first, last in ((start, wanted.due_before), (max(start, SLOT_MS), None)):
            rows = _wanted(_between(self._rows, first, last, after), wanted).in_order()
            page = self._and(page, rows, wanted, limit)
            if page.rest is not None:
                break
        return page

    def _and(self, page: Page, rows: DelayedMessageQuerySet, wanted: Wanted, limit: int) -> Page:
        """The page, filled up with what these rows hold.

        What is no message is not listed, nor what only a database's collation takes for `wanted`.
        """
        rest = None
        if wanted.key is not None:  # it stands in the options, where no index finds it
            seen = list(rows.exclude(options=b"").values_list("due", "id", "options")[:MAX_LOOKED_AT])
            ids = [id for _, id, options in seen if fits(wanted.key, _key(options))]
            rest = Spot(*seen[-1][:2]) if len(seen) == MAX_LOOKED_AT else None
            rows = self._all.filter(pk__in=ids).in_order()
        room = limit - len(page.listed)
        found = _read(rows[: room + 1])
        if len(found) > room:
            rest = found[room - 1][0] if room else page.listed[-1].spot
        listed = [one for _, one in found[:room] if one is not None and wanted.fits(one.message)]
        return Page([*page.listed, *listed], rest)

    def tally(self) -> Mapping[Target, Tally]:
        return self.again(self._tally)

    def _tally(self) -> Mapping[Target, Tally]:
        tallies = {}
        for kind, name, *numbers in self._rows.tallied():
            with contextlib.suppress(InvalidMessage):  # a raw writer can put anything there
                tallies[to_target(kind, name)] = Tally(*numbers)
        return tallies

    # -- dead letters ----------------------------------------------------------------------------------------

    def refuse(self, letters: Sequence[DeadLetter]) -> None:
        self.write(self._refuse, letters)

    def _refuse(self, letters: Sequence[DeadLetter]) -> None:
        for rows in portions([to_dead(self.layer, letter) for letter in letters]):
            DeadMessage.objects.using(self.using).bulk_create(rows)
        oldest_kept = self._dead.newest_first().values_list("at", "id")[MAX_DEAD_LETTERS - 1 : MAX_DEAD_LETTERS]
        for at, id in oldest_kept:
            self._dead.filter(Q(at__lt=at) | Q(at=at, id__lt=id)).delete()

    def count_dead(self) -> int:
        return self.again(self._dead.count)

    def dead_letters(self, limit: int, after: Spot | None) -> list[DeadLetter]:
        rows = self._dead.newest_first()
        if after is not None:
            rows = rows.filter(Q(at__lt=after.at) | Q(at=after.at, message_id__lt=after.id))
        shown = rows.defer("body").annotate(shown=_SHOWN)[:limit]
        return [from_dead(row, row.shown) for row in self.again(list[Any], shown)]

    def find_dead(self, ids: Sequence[str]) -> list[DeadLetter | None]:
        rows = self.again(list[DeadMessage], self._dead.filter(message_id__in=ids))
        found = {row.message_id: from_dead(row, row.body) for row in rows}
        return [found.get(id) for id in ids]

    def requeue(self, letters: Sequence[DeadLetter], now: int) -> list[bool]:
        return self.write(self._requeue, letters, now, self.connection.in_atomic_block)

    def _requeue(self, letters: Sequence[DeadLetter], now: int, joined: bool) -> list[bool]:
        self._lock_sqlite()
        there = self._dead_ids([letter.id for letter in letters if letter.message is not None])
        again = set(self._all.filter(pk__in=there).values_list("id", flat=True))  # these were put again
        dead = [letter for letter in letters if letter.id in there - again]
        messages = [letter.message.anew(now) for letter in dead if letter.message is not None]
        taken = self._keys_taken(digest(message.key) for message in messages)
        rows = []
        for message in messages:
            key = digest(message.key)
            rows.append(to_row(self.layer, None if key in taken else key, message))
            taken |= {key} - {None}
        self._dead.filter(message_id__in=there).delete()
        if rows:
            self._insert(sorted(rows, key=key_of))
            self._announce(now, joined)
        return [letter.id in there for letter in letters]

    def purge(self, ids: Sequence[str]) -> list[bool]:
        return self.write(self._purge, ids)

    def _purge(self, ids: Sequence[str]) -> list[bool]:
        self._lock_sqlite()
        there = self._dead_ids(ids)
        self._dead.filter(message_id__in=there).delete()
        return [id in there for id in ids]

    def _dead_ids(self, ids: Sequence[str]) -> set[str]:
        """Those of these that are there, whose rows are ours until the transaction ends."""
        rows = self._dead.filter(message_id__in=ids).order_by("id").select_for_update()
        return set(rows.values_list("message_id", flat=True))


_SHOWN = Substr("body", 1, MAX_LISTED_BYTES, output_field=BinaryField())


def _between(
    rows: DelayedMessageQuerySet, first: float, last: float | None, after: Spot | None
) -> DelayedMessageQuerySet:
    """Those from one position to before another, behind that spot."""
    rows = rows.filter(due__gte=first)
    if last is not None:
        rows = rows.filter(due__lt=last)
    if after is not None:
        rows = rows.filter(Q(due__gt=after.at) | Q(id__gt=after.id))
    return rows


def _wanted(rows: DelayedMessageQuerySet, wanted: Wanted) -> DelayedMessageQuerySet:
    """Those that are wanted, but for the key."""
    if (wanted.due_from, wanted.due_before) != (0, SLOT_MS):
        rows = rows.alias(instant=INSTANT).filter(instant__gte=wanted.due_from, instant__lt=wanted.due_before)
    if wanted.kind is not None:
        rows = rows.filter(kind=wanted.kind)
    if wanted.name is None:
        return rows
    if wanted.name.endswith("*"):
        return rows.filter(name__startswith=wanted.name[:-1])
    return rows.filter(name=wanted.name)


def _read(rows: DelayedMessageQuerySet) -> list[tuple[Spot, Listed | None]]:
    """Where each row stands, and what it holds: None where that is no message."""
    parts = rows.annotate(size=Length("body"), shown=_SHOWN)
    names = ("id", "due", "home", "kind", "name", "options", "size", "shown", "generation")
    found: list[tuple[Spot, Listed | None]] = []
    for *columns, generation in parts.values_list(*names):
        row, listed = Found(*columns), None
        spot = Spot(row.due, row.id)
        with contextlib.suppress(Exception):  # a raw writer can put anything there
            listed = Listed(row.waiting(row.body or b""), row.size, generation != 0, spot)
        found.append((spot, listed))
    return found


def _key(options: bytes | memoryview) -> str | None:
    with contextlib.suppress(Exception):  # a raw writer can put anything there
        key: str | None = unpack_options(bytes(options)).get("key")
        return key
    return None
