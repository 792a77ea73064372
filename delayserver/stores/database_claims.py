"""What a server does, as transactions on the rows of one layer: claim, and what follows it."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from django.db.models import F

from ..events import UNDELIVERABLE, emit
from ..message import MAX_DEAD_BYTES, Claim, DeadLetter, new_id, pack_options
from ..models import SLOT_MS, DelayedMessageQuerySet
from .base import MAX_CLAIM_BYTES
from .database_cursors import CursorTable
from .database_rows import Found, digest, each, only, read_rows, slot_of, within


class ClaimTable(CursorTable):
    """The messages of a layer, as its servers take them."""

    # -- claim -----------------------------------------------------------------------------------------------

    def claim(
        self, now: int, limit: int, lease: int, homes: Collection[str], full: Collection[str] = ()
    ) -> list[Claim]:
        """Looks at `limit` messages at a time, a transaction each, until one of them was claimed or none is due."""
        return self._claim_some(self._rows.due_by(now, homes), now, limit, lease, full)

    def claim_backlog(self, name: str, now: int, limit: int, lease: int, homes: Collection[str]) -> list[Claim]:
        held_back = self._rows.in_slot(slot_of(name), now, homes).for_backlog(name)
        return self._claim_some(held_back, now, limit, lease)

    def _claim_some(
        self, those: DelayedMessageQuerySet, now: int, limit: int, lease: int, full: Collection[str] = ()
    ) -> list[Claim]:
        while True:
            claims, seen = self.serve(self._claim, those, now, limit, lease, full)
            if claims or not seen:
                return claims

    def _claim(
        self, those: DelayedMessageQuerySet, now: int, limit: int, lease: int, full: Collection[str]
    ) -> tuple[list[Claim], int]:
        """The claims, and how many messages were seen."""
        self._lock_sqlite()
        skips = self.connection.features.has_select_for_update_skip_locked
        seen = read_rows(those.in_order().select_for_update(skip_locked=skips), limit)
        rows = within(MAX_CLAIM_BYTES, self._without_full(seen, full) if full else seen)
        claims = self._read(rows, now)
        self._keep_claims(claims, now + lease)
        return claims, len(seen)

    def _keep_claims(self, claims: Sequence[Claim], until: int) -> None:
        """All of one generation."""
        if claims:
            ours = self._all.filter(pk__in=[claim.message.id for claim in claims])
            ours.update(due=until, generation=claims[0].generation, key=None)

    def _read(self, rows: Sequence[Found], now: int) -> list[Claim]:
        """The messages in these rows; what is none becomes a dead letter."""
        large = self._all.filter(pk__in=[row.id for row in rows if row.body is None])
        bodies = dict(large.values_list("id", "body"))
        generation = secrets.randbelow(1 << 62) + 1
        claims = []
        for row in rows:
            body = bodies[row.id] if row.body is None else row.body
            try:
                claims.append(Claim(row.waiting(body), generation))
            except Exception as error:  # noqa: BLE001  a raw writer can put anything there
                self._set_aside(row.id, body, now, error)
        return claims

    def _set_aside(self, id: str, body: bytes | memoryview, now: int, error: Exception) -> None:
        """A row that is no message -> dead letter."""
        reason = f"expected a message in the store's layout, got a row that is none ({type(error).__name__})"
        emit(UNDELIVERABLE, id=id, target="nobody", reason=reason)
        self._refuse([DeadLetter(new_id(now), now, reason, "the store", bytes(body)[:MAX_DEAD_BYTES])])
        self._all.filter(pk=id).delete()

    # -- backlogs --------------------------------------------------------------------------------------------

    def _without_full(self, rows: Sequence[Found], full: Collection[str]) -> list[Found]:
        """The rows that may go out; those for one of the `full` go into its backlog."""
        behind: dict[str, list[str]] = defaultdict(list)
        rest: list[Found] = []
        for row in rows:
            name = row.backlog(full)
            if name is None:
                rest.append(row)
            else:
                behind[name].append(row.id)
        for name, ids in behind.items():
            self._all.filter(pk__in=ids).update(due=F("due") + slot_of(name) * SLOT_MS, generation=0)
        return rest

    def hold_back(self, claims: Sequence[Claim], names: Sequence[str]) -> list[bool]:
        return self.serve(self._hold_back, claims, names)

    def _hold_back(self, claims: Sequence[Claim], names: Sequence[str]) -> list[bool]:
        held = self._held(claims)
        ours = only(claims, held)
        alike: dict[str | None, dict[str, int]] = defaultdict(dict)
        for (message, _), name, key in zip(ours, only(names, held), self._free_keys(ours), strict=True):
            alike[key][message.id] = slot_of(name) * SLOT_MS + message.due
        for key, dues in alike.items():  # most often one: no key
            self._all.filter(pk__in=dues).update(due=each(dues), generation=0, key=key)
        return held

    # -- what else becomes of a claim ------------------------------------------------------------------------

    def finish(self, claims: Sequence[Claim]) -> list[bool]:
        try:
            return self.serve(self._finish_all, claims)
        except _Late:
            return self.serve(self._finish, claims)

    def _finish_all(self, claims: Sequence[Claim]) -> list[bool]:
        """As `_finish`, in one statement, where all are ours: most often they are."""
        for generation, ids in _by_generation(claims).items():
            # Not `delete()`: where a project listens for deletions, that reads first, and deletes by id alone.
            if self._all.filter(generation=generation, pk__in=ids)._raw_delete(self.using) < len(ids):
                raise _Late
        return [True] * len(claims)

    def _finish(self, claims: Sequence[Claim]) -> list[bool]:
        held = self._held(claims)
        self._all.filter(pk__in=[claim.message.id for claim in only(claims, held)]).delete()
        return held

    def postpone(self, claims: Sequence[Claim], due: Sequence[int], spend: int) -> list[bool]:
        return self.serve(self._postpone, claims, due, spend, self.connection.in_atomic_block)

    def _postpone(self, claims: Sequence[Claim], due: Sequence[int], spend: int, joined: bool) -> list[bool]:
        held = self._held(claims)
        ours = only(claims, held)
        keys = [None] * len(ours) if spend > 0 else self._free_keys(ours)
        alike: dict[tuple[int, str | None, bytes], list[str]] = defaultdict(list)
        for (message, _), later, key in zip(ours, only(due, held), keys, strict=True):
            alike[later, key, pack_options(message.spent(spend))].append(message.id)
        for (later, key, options), ids in alike.items():  # most often one: no key, one instant for all
            self._all.filter(pk__in=ids).update(due=later, generation=0, key=key, options=options)
        if ours and spend < 1:  # with an attempt spent it was handed over, and who did that knows when it is due again
            self._announce(min(later for later, _, _ in alike), joined)
        return held

    def bury(self, claims: Sequence[Claim], letters: Sequence[DeadLetter]) -> list[bool]:
        return self.serve(self._bury, claims, letters)

    def _bury(self, claims: Sequence[Claim], letters: Sequence[DeadLetter]) -> list[bool]:
        held = self._finish(claims)
        self._refuse(only(letters, held))
        return held

    # -- inside ----------------------------------------------------------------------------------------------

    def _held(self, claims: Sequence[Claim]) -> list[bool]:
        """Which claims still hold their messages, whose rows are ours until the transaction ends."""
        self._lock_sqlite()
        held: set[tuple[int, str]] = set()
        for generation, ids in _by_generation(claims).items():
            rows = self._all.filter(generation=generation, pk__in=ids).select_for_update()
            held.update((generation, id) for id in rows.values_list("id", flat=True))
        return [(claim.generation, claim.message.id) in held for claim in claims]

    def _free_keys(self, claims: Sequence[Claim]) -> list[str | None]:
        """The messages' keys, as they stand in the table; None for those that others have taken meanwhile."""
        keys = [digest(claim.message.key) for claim in claims]
        taken = self._keys_taken(keys)
        free: list[str | None] = []
        for key in keys:
            free.append(None if key in taken else key)
            taken |= {key} - {None}
        return free


class _Late(Exception):
    """A claim is no longer ours: undo the statement that assumed they all were."""


def _by_generation(claims: Sequence[Claim]) -> Mapping[int, list[str]]:
    ids: dict[int, list[str]] = defaultdict(list)
    for claim in claims:
        ids[claim.generation].append(claim.message.id)
    return ids
