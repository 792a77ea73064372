"""Versioned entries as rows of one layer; each call is a transaction, or several where the bodies are large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from django.db.models import QuerySet

from ..models import ProgressEntry
from .database_pruning import Pruning
from .database_rows import each, in_column, portions
from .database_tickets import TicketTable
from .entries import Change, Entry

pruning = Pruning(ProgressEntry, "expires", "progress")


class Kept(NamedTuple):
    """What a row shall hold."""

    version: int
    body: bytes
    expires: int


class EntryTable(TicketTable):
    """The messages of a layer, and its entries beside them."""

    @property
    def _entries(self) -> QuerySet[ProgressEntry]:
        return ProgressEntry.objects.using(self.using).filter(layer=self.layer)

    def entries(self, names: Sequence[str]) -> list[Entry | None]:
        found = self.again(self._read_entries, names, self.read_clock().now())
        return [found.get(in_column(name)) for name in names]

    def _read_entries(self, names: Sequence[str], now: int) -> dict[str, Entry]:
        rows = self._entries.filter(name__in={*map(in_column, names)}, expires__gt=now)
        return {
            name: Entry(version, bytes(body)) for name, version, body in rows.values_list("name", "version", "body")
        }

    def change_entries(self, changes: Sequence[Change]) -> list[int]:
        versions: list[int] = []
        for some in portions(changes):
            versions += self.write(self._change_entries, some, self.read_clock().now())
        if any(versions) and pruning.is_time(self.using):
            pruning.prune(self.using, lambda: self.read_clock().now())
        return versions

    def _change_entries(self, changes: Sequence[Change], now: int) -> list[int]:
        self._lock_sqlite()
        names = {in_column(change.name) for change in changes}
        # In one order everywhere: fewer deadlocks. Of two that make the same row, the later one tries again.
        rows = self._entries.filter(name__in=names).order_by("name").select_for_update()
        found = list(rows.values_list("id", "name", "version", "expires"))
        stands = {name: version for _, name, version, expires in found if expires > now}
        kept: dict[str, Kept] = {}
        versions: list[int] = []
        for change in changes:
            name = in_column(change.name)
            version = stands.get(name, 0)
            if change.seen not in (None, version):
                versions.append(0)
                continue
            stands[name] = version + 1
            kept[name] = Kept(version + 1, change.body, now + change.keep)
            versions.append(version + 1)
        self._keep_entries({name: id for id, name, _, _ in found}, kept)
        return versions

    def _keep_entries(self, ids: Mapping[str, int], kept: Mapping[str, Kept]) -> None:
        """One statement for all whose rows are there, one for all that are new."""
        there = {ids[name]: one for name, one in kept.items() if name in ids}
        if there:
            placeholder = "_binary %s" if self.vendor == "mysql" else "%s"  # MySQL warns of bytes that are no text
            self._entries.filter(pk__in=there).update(
                version=each({id: one.version for id, one in there.items()}),
                body=each({id: one.body for id, one in there.items()}, placeholder),
                expires=each({id: one.expires for id, one in there.items()}),
            )
        new = {name: one for name, one in sorted(kept.items()) if name not in ids}
        if new:
            rows = [ProgressEntry(layer=self.layer, name=name, **one._asdict()) for name, one in new.items()]
            ProgressEntry.objects.using(self.using).bulk_create(rows)
