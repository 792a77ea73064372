"""What callers do, as transactions on the rows of one layer, in whichever thread calls; and when the next is due.

Every database runs the same statements. One that can lock rows is asked to (and to skip those that another
holds); SQLite cannot, so there each transaction begins with a write, which takes the file's only write lock
before anything is read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from django.db import transaction

from ..clock import Clock
from ..message import Receipt, Waiting
from ..models import HOME_GRACE_MS, DelayedMessage, DelayedMessageQuerySet
from . import database_listen
from .base import Named
from .database_link import DatabaseLink
from .database_rows import New, Placing, digest, expires_of, key_of, read_rows

LOOK_MS = 5_000  # servers look this often anyway
BY_INDEX = "SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = off"

P = ParamSpec("P")
T = TypeVar("T")


class Table(DatabaseLink):
    """The messages of `layer` in the database `using`."""

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

    # -- put, cancel, reschedule: also within the caller's transaction ---------------------------------------

    def put(self, messages: Sequence[Waiting]) -> list[Receipt]:
        return self.write(self._put, messages, self.connection.in_atomic_block)

    def _put(self, messages: Sequence[Waiting], joined: bool) -> list[Receipt]:
        self._lock_sqlite()
        keys = {digest(message.key) for message in messages} - {None}
        keyed = self._rows.filter(key__in=keys).order_by("key")  # in one order everywhere: fewer deadlocks
        holders = list(keyed.select_for_update().values_list("key", "id", "due", "options"))
        stored = self._all.filter(pk__in=[message.id for message in messages]).values_list("id", "layer")
        expired = self._expired({id: options for _, id, _, options in holders})
        placing = Placing(
            layer=self.layer,
            holders={key: (id, due) for key, id, due, _ in holders if key is not None and id not in expired},
            stored={id for id, layer in stored if layer == self.layer},
        )
        receipts = [placing.place(message) for message in messages]
        if expired:  # they stay, for a server to drop and count
            self._all.filter(pk__in=expired).update(key=None)
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
            insert = f"INSERT INTO {table} ({columns}) VALUES ({values})"  # noqa: S608  our names
            if len(rows) == 1:  # psycopg opens a pipeline for more
                cursor.execute(insert, rows[0])
            else:
                cursor.executemany(insert, rows)

    def cancel(self, named: Sequence[Named]) -> list[bool]:
        return self.write(self._cancel, named)

    def _cancel(self, named: Sequence[Named]) -> list[bool]:
        self._lock_sqlite()
        waiting = self._all.waiting().order_by("key").select_for_update().values_list("id", "key", "layer", "options")
        by_id = waiting.filter(pk__in=[name.id for name in named if name.id is not None])
        digests = [digest(name.key) for name in named if name.id is None]
        by_key = waiting.filter(layer=self.layer, key__in=digests)
        found = [(id, key, options) for id, key, layer, options in (*by_id, *by_key) if layer == self.layer]
        expired = self._expired({id: options for id, _, options in found})
        keys = {id: key for id, key, _ in found if id not in expired}
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
        self._lock_sqlite()
        found = self._named(named).select_for_update().values_list("id", "options").first()
        if found is None or self._expired(dict([found])):
            return False
        self._all.filter(pk=found[0]).update(due=due)
        self._announce(due, joined)
        return True

    def get(self, named: Named) -> Waiting | None:
        return self.again(self._get, named)

    def _get(self, named: Named) -> Waiting | None:
        for row in read_rows(self._named(named), 1):
            if self._expired({row.id: row.options}):
                return None
            if row.body is not None:
                return row.waiting(row.body)
            for body in self._all.filter(pk=row.id).values_list("body", flat=True):
                return row.waiting(body)
        return None

    def _named(self, named: Named) -> DelayedMessageQuerySet:
        rows = self._rows.waiting()
        return rows.filter(pk=named.id) if named.id is not None else rows.filter(key=digest(named.key) or "")

    def _keys_taken(self, digests: Iterable[str | None]) -> set[str | None]:
        return set(self._rows.filter(key__in={*digests} - {None}).values_list("key", flat=True))

    def _expired(self, options: Mapping[str, bytes | memoryview]) -> set[str]:
        """Which of these ids shall no longer be handed over; their options are told."""
        instants = {id: expires for id, blob in options.items() if blob and (expires := expires_of(blob)) is not None}
        now = self.read_clock().now() if instants else 0
        return {id for id, expires in instants.items() if expires < now}

    def _announce(self, due: int, joined: bool) -> None:
        """Tell the servers when this is committed, unless they look by themselves before it is due."""
        if self.vendor == "postgresql" and (joined or due < self.read_clock().now() + LOOK_MS):
            with self.connection.cursor() as cursor:
                cursor.execute("SELECT pg_notify(%s, %s)", [database_listen.CHANNEL, self.layer])
        tell = functools.partial(database_listen.tell, self.using, self.layer, due)
        transaction.on_commit(tell, using=self.using, robust=True)

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
