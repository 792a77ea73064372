"""What callers do, as transactions on the rows of one layer, in whichever thread calls; and the questions.

Every database runs the same statements. One that can lock rows is asked to (and to skip those that another
holds); SQLite cannot, so there each transaction begins with a write, which takes the file's only write lock
before anything is read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar

from django.db import transaction
from django.db.models import Q

from ..clock import Clock
from ..message import DeadLetter, OnConflict, Receipt, Waiting
from ..models import (
    HOME_GRACE_MS,
    SLOT_MS,
    DeadMessage,
    DeadMessageQuerySet,
    DelayedMessage,
    DelayedMessageQuerySet,
)
from . import database_listen
from .base import MAX_DEAD_LETTERS, Named
from .database_link import DatabaseLink
from .database_rows import New, Placing, backlog_in, digest, key_of, portions, to_dead

LOOK_MS = 5_000  # servers look this often anyway
BY_INDEX = "SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = off"

P = ParamSpec("P")
T = TypeVar("T")


class Table(DatabaseLink):
    """The messages and dead letters of `layer` in the database `using`."""

    def __init__(self, using: str, layer: str, clock: Clock | None = None) -> None:
        super().__init__(using, clock)
        self.layer = layer

    @property
    def _all(self) -> DelayedMessageQuerySet:
        """Of every layer: to find rows by id alone, since SQLite would rather scan a whole layer."""
        return DelayedMessage.objects.using(self.using).all()

    @property
    def _rows(self) -> DelayedMessageQuerySet:
        return self._all.of(self.layer)

    @property
    def _dead(self) -> DeadMessageQuerySet:
        return DeadMessage.objects.using(self.using).of(self.layer)

    # -- put, cancel, reschedule: also within the caller's transaction ---------------------------------------

    def put(self, messages: Sequence[Waiting], on_conflict: OnConflict) -> list[Receipt]:
        return self.write(self._put, messages, on_conflict, self.connection.in_atomic_block)

    def _put(self, messages: Sequence[Waiting], on_conflict: OnConflict, joined: bool) -> list[Receipt]:
        self._lock_sqlite()
        keys = {digest(message.key) for message in messages} - {None}
        keyed = self._rows.filter(key__in=keys).order_by("key")  # in one order everywhere: fewer deadlocks
        holders = keyed.select_for_update().values_list("key", "id", "due")
        stored = self._all.filter(pk__in=[message.id for message in messages]).values_list("id", "layer")
        placing = Placing(
            layer=self.layer,
            on_conflict=on_conflict,
            holders={key: (id, due) for key, id, due in holders if key is not None},
            stored={id for id, layer in stored if layer == self.layer},
        )
        receipts = [placing.place(message) for message in messages]
        if placing.replaced:
            self._all.filter(pk__in=placing.replaced).delete()
        if placing.new:
            self._insert(sorted(placing.new.values(), key=key_of))
            self._announce(min(row.due for row in placing.new.values()), joined)
        return receipts

    def _insert(self, rows: Sequence[New]) -> None:
        """As `bulk_create`, in half the time."""
        name = self.connection.ops.quote_name
        table, columns = name(DelayedMessage._meta.db_table), ", ".join(map(name, New._fields))
        values = ", ".join(["%s"] * len(New._fields))
        with self.connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({values})", rows)  # noqa: S608  our names

    def cancel(self, named: Sequence[Named]) -> list[bool]:
        return self.write(self._cancel, named)

    def _cancel(self, named: Sequence[Named]) -> list[bool]:
        self._lock_sqlite()
        waiting = self._all.waiting().order_by("key").select_for_update().values_list("id", "key", "layer")
        by_id = waiting.filter(pk__in=[name.id for name in named if name.id is not None])
        digests = [digest(name.key) for name in named if name.id is None]
        by_key = waiting.filter(layer=self.layer, key__in=digests)
        keys = {id: key for id, key, layer in (*by_id, *by_key) if layer == self.layer}
        ids = {key: id for id, key in keys.items() if key is not None}
        gone: set[str] = set()
        cancelled = []
        for name in named:
            id = name.id if name.id is not None else ids.get(digest(name.key) or "", "")
            cancelled.append(id in keys and id not in gone)
            gone.add(id)
        self._all.filter(pk__in=keys.keys() & gone).delete()
        return cancelled

    def reschedule(self, named: Named, due: int) -> bool:
        return self.write(self._reschedule, named, due, self.connection.in_atomic_block)

    def _reschedule(self, named: Named, due: int, joined: bool) -> bool:
        name = Q(pk=named.id) if named.id is not None else Q(key=digest(named.key) or "")
        moved = self._rows.waiting().filter(name).update(due=due) > 0
        if moved:
            self._announce(due, joined)
        return moved

    def _announce(self, due: int, joined: bool) -> None:
        """Tell the servers when this is committed, unless they look by themselves before it is due."""
        if self.vendor == "postgresql" and (joined or due < self.read_clock().now() + LOOK_MS):
            with self.connection.cursor() as cursor:
                cursor.execute("SELECT pg_notify(%s, %s)", [database_listen.CHANNEL, self.layer])
        tell = functools.partial(database_listen.tell, self.using, self.layer, due)
        transaction.on_commit(tell, using=self.using, robust=True)

    # -- dead letters ----------------------------------------------------------------------------------------

    def refuse(self, letters: Sequence[DeadLetter]) -> None:
        self.write(self._refuse, letters)

    def _refuse(self, letters: Sequence[DeadLetter]) -> None:
        for rows in portions([to_dead(self.layer, letter) for letter in letters]):
            DeadMessage.objects.using(self.using).bulk_create(rows)
        newest = self._dead.newest_first().values_list("id", flat=True)
        for id in newest[MAX_DEAD_LETTERS : MAX_DEAD_LETTERS + 1]:
            self._dead.filter(id__lte=id).delete()

    # -- questions -------------------------------------------------------------------------------------------

    def next_due(self, homes: Collection[str]) -> int | None:
        return self.ask(self._next_due, homes)

    def _next_due(self, homes: Collection[str]) -> int | None:
        """When `claim` next finds something: a message of another home counts from the end of its grace."""
        with self.connection.cursor() as cursor:
            cursor.execute(*self._head)
            head = cursor.fetchone()
        if head is None:
            return None
        home, due = str(head[0]), int(head[1])
        if home in homes:
            return due
        grace_ends = due + HOME_GRACE_MS
        ours = self._rows.filter(home__in=homes, due__lt=grace_ends).in_order()
        first = ours.values_list("due", flat=True).first()
        return grace_ends if first is None else first

    @functools.cached_property
    def _head(self) -> tuple[str, tuple[Any, ...]]:
        """The home and due instant of the earliest row outside of backlogs, as SQL: a server that polls asks ten
        times a second.
        """
        query = self._rows.outside_of_backlogs().in_order().values_list("home", "due")[:1].query
        sql, params = query.get_compiler(self.using).as_sql()
        return sql, tuple(params)

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

    def count(self) -> int:
        return self.again(self._rows.count)

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        rows = self.again(list[DeadMessage], self._dead.newest_first()[:limit])
        return [DeadLetter(row.message_id, row.at, row.reason, row.source, bytes(row.body)) for row in rows]

    # -- inside ----------------------------------------------------------------------------------------------

    def serve(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `write`, by the indexes alone: PostgreSQL, until it has analyzed what a burst has put, would rather sort
        all that is due, for each claim again.
        """
        if self.connection.in_atomic_block:  # a caller's transaction keeps its settings
            return self.write(act, *args, **kwargs)
        return self.write(self._by_index, functools.partial(act, *args, **kwargs))

    def _by_index(self, act: Callable[[], T]) -> T:
        if self.vendor == "postgresql":
            with self.connection.cursor() as cursor:
                cursor.execute(BY_INDEX)
        return act()

    def ask(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `serve`, for what only reads."""
        return (self.serve if self.vendor == "postgresql" else self.again)(act, *args, **kwargs)

    def _lock_sqlite(self) -> None:
        """Begin with a write, of no row, where rows cannot be locked."""
        if not self.connection.features.has_select_for_update:
            self._all.filter(pk="").update(generation=0)
