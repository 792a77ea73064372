"""What consumers show tickets for, as transactions on the rows of one layer: ack, renew, reclaim."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from ..message import Claim, Ticket, unpack_options
from .base import Acked
from .database_claims import ClaimTable
from .database_rows import each, read_rows
from .tickets import can_be_an_id

Options = Mapping[str, Any]


class TicketTable(ClaimTable):
    """The messages of a layer, as consumers answer for them."""

    def ack(self, tickets: Sequence[Ticket]) -> list[Acked]:
        return self.serve(self._ack, tickets)

    def _ack(self, tickets: Sequence[Ticket]) -> list[Acked]:
        found = self._found(tickets)
        answers, done = [], []
        for ticket in tickets:
            if ticket.id not in found:
                answers.append(Acked.GONE)
            elif not _fits(ticket, found):
                answers.append(Acked.OTHER)
            else:
                answers.append(Acked.DONE)
                done.append(ticket.id)
                del found[ticket.id]
        if done:  # not `delete()`: as in `finish`
            self._all.filter(pk__in=done)._raw_delete(self.using)
        return answers

    def renew(self, tickets: Sequence[Ticket], now: int) -> list[int | None]:
        return self.serve(self._renew, tickets, now, self.connection.in_atomic_block)

    def _renew(self, tickets: Sequence[Ticket], now: int, joined: bool) -> list[int | None]:
        found = self._found(tickets)
        fitting = (ticket for ticket in tickets if _fits(ticket, found))
        dues = {
            ticket: now + retry.ack_timeout_ms for ticket in fitting if (retry := found[ticket.id]["retry"]) is not None
        }
        if dues:
            instants = {ticket.id: due for ticket, due in dues.items()}
            self._all.filter(pk__in=instants).update(due=each(instants), key=None)
            self._announce(min(dues.values()), joined)
        return [dues.get(ticket) for ticket in tickets]

    def reclaim(self, tickets: Sequence[Ticket], now: int, lease: int) -> list[Claim | None]:
        return self.serve(self._reclaim, tickets, now, lease)

    def _reclaim(self, tickets: Sequence[Ticket], now: int, lease: int) -> list[Claim | None]:
        found = self._found(tickets)
        ids = {ticket.id for ticket in tickets if _fits(ticket, found)}
        rows = read_rows(self._all.filter(pk__in=ids), len(ids))
        claims = self._read(rows, now)
        self._keep_claims(claims, now + lease)
        by_id = {claim.message.id: claim for claim in claims}
        return [by_id.pop(ticket.id, None) if _fits(ticket, found) else None for ticket in tickets]

    def _found(self, tickets: Sequence[Ticket]) -> dict[str, Options]:
        """The options of each message that is there, by id, none where it is claimed; its row is ours until the
        transaction ends.
        """
        self._lock_sqlite()
        ids = {ticket.id for ticket in tickets if can_be_an_id(ticket.id)}
        those = self._all.filter(pk__in=ids).order_by("pk").select_for_update()
        rows = those.values_list("id", "layer", "generation", "options")
        ours = [row for row in rows if row[1] == self.layer]
        return {id: {} if generation else _read_options(options) for id, _, generation, options in ours}


def _fits(ticket: Ticket, found: Mapping[str, Options]) -> bool:
    return 0 < ticket.attempt == found.get(ticket.id, {}).get("attempt")


def _read_options(options: bytes | memoryview) -> Options:
    with contextlib.suppress(Exception):  # a raw writer can put anything there
        return unpack_options(bytes(options))
    return {}
