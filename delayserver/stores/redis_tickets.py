"""What consumers show tickets for, one Lua act each; and what every claim has in common."""

from __future__ import annotations

import itertools
import random
from abc import ABC
from collections.abc import Sequence
from typing import Any

from ..events import UNDELIVERABLE, emit
from ..message import Claim, Ticket
from ..redis_link import Script
from .base import MAX_DEAD_LETTERS, Acked
from .redis_cursors import RedisCursors
from .redis_members import FRACTIONS, junk_letter, letter_args, pack_id, score, unpack
from .redis_shelf import MAX_ACT_BYTES
from .redis_waitlist import Translated, answers
from .tickets import can_be_an_id, refuse_tickets

ACK = Script("messages", "tickets", "ack")  # without a command that a Redis out of memory refuses, as finish
RENEW = Script("messages", "freeing", "retry", "tickets", "renew")
RECLAIM = Script("messages", "freeing", "tickets", "reclaim")
BURY = Script("messages", "freeing", "letters", "bury")


class RedisTickets(RedisCursors, ABC):
    """What `RedisStore` has for consumers."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._claimed = random.randrange(FRACTIONS // 2)  # noqa: S311  to differ from other servers, not to be secret

    async def ack(self, tickets: Sequence[Ticket]) -> list[Acked]:
        return [Acked(answer) for answer in await self._show(ACK, [], tickets)]

    def renew(self, tickets: Sequence[Ticket], now: int) -> list[int | None]:
        refuse_tickets(tickets)
        renewed: list[bytes] = []
        with Translated():
            while len(renewed) < len(tickets):
                args = _args(self._renewal(now), tickets[len(renewed) :])
                renewed += self._link.run(RENEW, self._keys, args)
        return _instants(renewed)

    async def arenew(self, tickets: Sequence[Ticket], now: int) -> list[int | None]:
        return _instants(await self._show(RENEW, self._renewal(now), tickets))

    def _renewal(self, now: int) -> list[Any]:
        return [self._channel, self._now(), now]

    async def reclaim(self, tickets: Sequence[Ticket], now: int, lease: int) -> list[Claim | None]:
        until = self._new_generation(now + lease)
        found = await self._show(RECLAIM, [score(until)], tickets)
        with Translated():
            claims = {claim.message.id: claim for claim in await self._claims([one for one in found if one], until)}
        return [claims.get(ticket.id) if one else None for ticket, one in zip(tickets, found, strict=True)]

    # -- inside -------------------------------------------------------------------------------------------

    async def _show(self, script: Script, head: Sequence[Any], tickets: Sequence[Ticket]) -> list[Any]:
        """The script's answer to each ticket; it answers as many at once as it has time for."""
        refuse_tickets(tickets)
        replies: list[Any] = []
        with Translated():
            while len(replies) < len(tickets):
                args = _args(head, tickets[len(replies) :])
                replies += await self._link.arun(script, self._keys, args)
        return replies

    def _new_generation(self, lease_end: int) -> int:
        """The lease's end in fractions of a millisecond, and one of them for this claim alone."""
        self._claimed = self._claimed % (FRACTIONS - 1) + 1
        return lease_end * FRACTIONS - FRACTIONS + self._claimed

    async def _claims(self, found: Sequence[tuple[bytes, bytes, bytes]], until: int) -> list[Claim]:
        """What a script claimed; what is no message at all becomes a dead letter."""
        claims: list[Claim] = []
        junk: list[tuple[Any, ...]] = []
        for member, due, attempt in found:
            try:
                claims.append(Claim(unpack(member, int(due), int(attempt)), until))
            except Exception as error:  # noqa: BLE001  a raw writer can put anything there
                letter = junk_letter(member, until // FRACTIONS, error)
                emit(UNDELIVERABLE, id=letter.id, target="nobody", reason=letter.reason)
                junk.append((score(until), member, *letter_args(letter)))
        await self._act(BURY, [MAX_DEAD_LETTERS], junk)
        return claims

    async def _act(self, script: Script, head: list[Any], found: Sequence[tuple[Any, ...]]) -> list[bool]:
        return answers(await self._run(script, head, found))


def _args(head: Sequence[Any], tickets: Sequence[Ticket]) -> list[Any]:
    """What the scripts take of tickets."""
    pairs = ((pack_id(id) if can_be_an_id(id) else b"", attempt) for id, attempt in tickets)
    return [*head, MAX_ACT_BYTES, *itertools.chain.from_iterable(pairs)]


def _instants(replies: Sequence[bytes]) -> list[int | None]:
    return [int(reply) if reply else None for reply in replies]
