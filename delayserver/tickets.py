"""Tickets, shown to all the stores of a layer as if they were one.

A message with `retry` stays in its store after hand-over. Its *ticket*, which message and which of its hand-overs, is
in ``__delay__``; who shows it can finish the message, and is refused where it was handed over again meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .message import OCCURRENCE, Claim, Ticket
from .stores.base import MAX_BATCH, Acked, Store

LEASE_MS = 30_000
# How long a server that has delivered a message may take to say so, where that is not one act; asked so far apart.
UNSAID_SECONDS = (0.01, 0.03, 0.1, 0.3, 0.6, 1.0)


def ticket_of(content: object) -> Ticket | None:
    """The ticket that a message carries; None where it carries none."""
    match _delay_of(content):
        case {"id": str(id), "attempt": int(attempt)} if type(attempt) is int and attempt > 0:  # a bool is none
            return Ticket(id, attempt)
    return None


def _delay_of(content: object) -> Mapping[Any, Any]:
    delay = content.get("__delay__") if isinstance(content, Mapping) else None
    return delay if isinstance(delay, Mapping) else {}


def may_be_unkept(content: object) -> bool:
    """Whether the store may know nothing of it although it carries a ticket: an occurrence without `retry`."""
    ticket = ticket_of(content)
    return ticket is not None and _is_unkept(ticket) and _delay_of(content).get("schedule") is not None


def _is_unkept(ticket: Ticket) -> bool:
    """As `may_be_unkept`, as far as a ticket tells."""
    return ticket.attempt == 1 and ticket.id.startswith(OCCURRENCE)


class Tickets:
    """What `stores` make of them.

    `patient` where a server may have delivered a message, and not told the store so yet: then they are asked again.
    """

    def __init__(self, stores: Sequence[Store], *, patient: bool = False) -> None:
        self._stores = stores
        self._pauses = (0.0, *UNSAID_SECONDS) if patient else (0.0,)
        self._claims: dict[Ticket, tuple[Store, Claim]] = {}

    async def ack(self, tickets: Sequence[Ticket]) -> list[Ticket]:
        """Handed over -> gone; those that were refused, because their messages were handed over again."""
        left, other = list(tickets), list[Ticket]()
        for pause in self._pauses:
            await asyncio.sleep(pause)
            other = []
            for store in self._stores:
                left, others = await _ack(store, left)
                other += others
            left = [*other, *(ticket for ticket in left if not _is_unkept(ticket))]
            if not left:
                break
        return other

    async def reclaim(self, tickets: Sequence[Ticket]) -> dict[Store, list[Claim]]:
        """Handed over -> claimed; each claim in its store, without what is no longer this hand-over's.

        What was reclaimed is kept until it is `settled`: who failed to settle it can ask for it again.
        """
        for pause in self._pauses:
            left = [ticket for ticket in tickets if ticket not in self._claims]
            if not left:
                break
            await asyncio.sleep(pause)
            for store in self._stores:
                await self._reclaim_in(store, [ticket for ticket in left if ticket not in self._claims])
        by_store: dict[Store, list[Claim]] = defaultdict(list)
        for ticket in dict.fromkeys(tickets):
            if ticket in self._claims:
                store, claim = self._claims[ticket]
                by_store[store].append(claim)
        return by_store

    async def _reclaim_in(self, store: Store, tickets: Sequence[Ticket]) -> None:
        for some in _batches(tickets):
            now = (await store.aread_clock()).now()
            claims = await store.reclaim(some, now, LEASE_MS)
            self._claims.update({_ticket(claim): (store, claim) for claim in claims if claim})

    def settled(self, claims: Sequence[Claim]) -> None:
        """What was reclaimed has its end."""
        for claim in claims:
            self._claims.pop(_ticket(claim), None)


async def _ack(store: Store, tickets: Sequence[Ticket]) -> tuple[list[Ticket], list[Ticket]]:
    """Those whose messages are not there, and those whose messages were handed over again."""
    gone, other = [], []
    for some in _batches(tickets):
        for ticket, answer in zip(some, await store.ack(some), strict=True):
            if answer is Acked.GONE:
                gone.append(ticket)
            elif answer is Acked.OTHER:
                other.append(ticket)
    return gone, other


def _ticket(claim: Claim) -> Ticket:
    return Ticket(claim.message.id, claim.message.attempt)


def _batches(tickets: Sequence[Ticket]) -> Iterator[list[Ticket]]:
    return (list(tickets[start : start + MAX_BATCH]) for start in range(0, len(tickets), MAX_BATCH))
