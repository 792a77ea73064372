"""The verbs as transactions on the rows of one layer, in whichever thread calls.

Every database runs the same statements. One that can lock rows is asked to (and to skip those that another
holds); SQLite cannot, so there each transaction begins with a write, which takes the file's only write lock
before anything is read.
"""

from __future__ import annotations

import functools
import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Length

from ..clock import Clock
from ..events import UNDELIVERABLE, emit
from ..message import MAX_DEAD_BYTES, Claim, DeadLetter, OnConflict, Receipt, Waiting, new_id, pack_options
from ..models import HOME_GRACE_MS, DeadMessage, DeadMessageQuerySet, DelayedMessage, DelayedMessageQuerySet
from . import database_listen
from .base import MAX_CLAIM_BYTES, MAX_DEAD_LETTERS, Named
from .database_link import DatabaseLink
from .database_rows import Placing, digest, key_of, only, portions, to_dead, to_waiting

LOOK_MS = 5_000  # servers look this often anyway


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
        for rows in portions(sorted(placing.new.values(), key=key_of)):
            self._all.bulk_create(rows)
        if placing.new:
            self._announce(min(row.due for row in placing.new.values()), joined)
        return receipts

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

    # -- claim and what follows it: in the server's own thread -----------------------------------------------

    def claim(self, now: int, limit: int, lease: int, homes: Collection[str]) -> list[Claim]:
        return self.write(self._claim, now, limit, lease, homes)

    def _claim(self, now: int, limit: int, lease: int, homes: Collection[str]) -> list[Claim]:
        self._lock_sqlite()
        due = self._rows.due_by(now, homes).in_order()
        rows = due.select_for_update(skip_locked=self.connection.features.has_select_for_update_skip_locked)
        generation = secrets.randbelow(1 << 62) + 1
        claims: list[Claim] = []
        sizes = rows.values_list("id", Length("body"))[:limit]
        for row in self._all.filter(pk__in=_within(MAX_CLAIM_BYTES, sizes)).in_order():
            try:
                claims.append(Claim(to_waiting(row), generation))
            except Exception as error:  # noqa: BLE001  a raw writer can put anything there
                self._set_aside(row, now, error)
        if claims:
            ours = self._all.filter(pk__in=[claim.message.id for claim in claims])
            ours.update(due=now + lease, generation=generation, key=None)
        return claims

    def finish(self, claims: Sequence[Claim]) -> list[bool]:
        return self.write(self._finish, claims)

    def _finish(self, claims: Sequence[Claim]) -> list[bool]:
        held = self._held(claims)
        self._all.filter(pk__in=[claim.message.id for claim in only(claims, held)]).delete()
        return held

    def postpone(self, claims: Sequence[Claim], due: Sequence[int], spend: bool) -> list[bool]:
        return self.write(self._postpone, claims, due, spend)

    def _postpone(self, claims: Sequence[Claim], due: Sequence[int], spend: bool) -> list[bool]:
        held = self._held(claims)
        keys = {digest(claim.message.key) for claim in claims} - {None}
        taken: set[str | None] = set(self._rows.filter(key__in=keys).values_list("key", flat=True))
        alike: dict[tuple[int, str | None, bytes], list[str]] = defaultdict(list)
        for (message, _), later in only(zip(claims, due, strict=True), held):
            key = digest(message.key)
            key = None if key in taken else key
            taken |= {key} - {None}
            options = pack_options(message.spent() if spend else message)
            alike[later, key, options].append(message.id)
        for (later, key, options), ids in alike.items():  # most often one: no key, one instant for all
            self._all.filter(pk__in=ids).update(due=later, generation=0, key=key, options=options)
        return held

    def bury(self, claims: Sequence[Claim], letters: Sequence[DeadLetter]) -> list[bool]:
        return self.write(self._bury, claims, letters)

    def _bury(self, claims: Sequence[Claim], letters: Sequence[DeadLetter]) -> list[bool]:
        held = self._finish(claims)
        self._refuse(only(letters, held))
        return held

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
        return self.again(self._next_due, homes)

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
        """The home and due instant of the earliest row, as SQL: a server that polls asks ten times a second."""
        query = self._rows.in_order().values_list("home", "due")[:1].query
        sql, params = query.get_compiler(self.using).as_sql()
        return sql, tuple(params)

    def count(self) -> int:
        return self.again(self._rows.count)

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        rows = self.again(list[DeadMessage], self._dead.newest_first()[:limit])
        return [DeadLetter(row.message_id, row.at, row.reason, row.source, bytes(row.body)) for row in rows]

    # -- inside ----------------------------------------------------------------------------------------------

    def _held(self, claims: Sequence[Claim]) -> list[bool]:
        """Which claims still hold their messages, whose rows are ours until the transaction ends."""
        self._lock_sqlite()
        claimed: dict[int, list[str]] = defaultdict(list)
        for claim in claims:
            claimed[claim.generation].append(claim.message.id)
        held: set[tuple[int, str]] = set()
        for generation, ids in claimed.items():
            rows = self._all.filter(generation=generation, pk__in=ids).select_for_update()
            held.update((generation, id) for id in rows.values_list("id", flat=True))
        return [(claim.generation, claim.message.id) in held for claim in claims]

    def _set_aside(self, row: DelayedMessage, now: int, error: Exception) -> None:
        """A row that is no message -> dead letter."""
        reason = f"expected a message in the store's layout, got a row that is none ({type(error).__name__})"
        emit(UNDELIVERABLE, id=row.id, target="nobody", reason=reason)
        self._refuse([DeadLetter(new_id(now), now, reason, "the store", bytes(row.body)[:MAX_DEAD_BYTES])])
        self._all.filter(pk=row.id).delete()

    def _lock_sqlite(self) -> None:
        """Begin with a write, of no row, where rows cannot be locked."""
        if not self.connection.features.has_select_for_update:
            self._all.filter(pk="").update(generation=0)


def _within(budget: int, sizes: Iterable[tuple[str, int]]) -> list[str]:
    """The ids of the first rows whose sizes fit into `budget`, and in any case of the very first."""
    ids: list[str] = []
    for id, size in sizes:
        if ids and size > budget:
            break
        ids.append(id)
        budget -= size
    return ids
