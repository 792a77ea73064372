"""Whatever tickets race with, one wins."""

from __future__ import annotations

import asyncio
import itertools

from delayserver.message import Ticket
from delayserver.stores.base import Acked, Store

from ..support.clock import NOW
from .places import LEASE, ids
from .tickets import TIMEOUT, hand_over, handed_over, retried


async def test_of_two_that_ack_one_does(store: Store, other: Store) -> None:
    tickets = await handed_over(store, *(retried() for _ in range(60)))

    async def ack(server: Store, those: list[Ticket]) -> list[Ticket]:
        """By threes and one by one."""
        done = []
        for some in (those[at : at + 3] for at in range(0, len(those), 3)):
            done += [ticket for ticket, answer in zip(some, await server.ack(some), strict=True) if answer]
        return done

    async with asyncio.timeout(30):
        one, two = await asyncio.gather(ack(store, tickets), ack(other, tickets))
    assert sorted(one + two) == sorted(tickets)
    assert await store.count() == 0


async def test_a_message_is_either_acked_or_handed_over_again(store: Store, other: Store) -> None:
    tickets = await handed_over(store, *(retried() for _ in range(90)))

    async def serve() -> set[str]:
        seen: set[str] = set()
        while claims := await other.claim(NOW + TIMEOUT, 2, LEASE):
            await hand_over(other, claims, NOW + TIMEOUT)
            seen |= set(ids(claims))
        return seen

    async def fail() -> set[str]:
        seen: set[str] = set()
        for ticket in tickets[::3]:
            for claim in await other.reclaim([ticket], NOW + TIMEOUT, LEASE):
                seen |= {claim.message.id} if claim else set()
        return seen

    async with asyncio.timeout(30):
        acked, again, failed = await asyncio.gather(_acked(store, tickets[::-1]), serve(), fail())
    assert acked | again | failed == {ticket.id for ticket in tickets}
    assert not any(one & two for one, two in itertools.combinations((acked, again, failed), 2))


async def _acked(store: Store, tickets: list[Ticket]) -> set[str]:
    answers = [(await store.ack([ticket]))[0] for ticket in tickets]
    return {ticket.id for ticket, answer in zip(tickets, answers, strict=True) if answer is Acked.DONE}


async def test_tickets_in_any_order_hold_nobody_up(store: Store, other: Store) -> None:
    tickets = await handed_over(store, *(retried() for _ in range(40)))

    async def renew(server: Store, those: list[Ticket]) -> None:
        for ms in range(10):
            await server.arenew(those, NOW + ms)

    async with asyncio.timeout(30):
        await asyncio.gather(renew(store, tickets), renew(other, tickets[::-1]), other.ack(tickets[10:30]))
    assert await store.ack(tickets) == [Acked.DONE] * 10 + [Acked.GONE] * 20 + [Acked.DONE] * 10
