"""Messages that were handed over, and their tickets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from delayserver.backoff import Retry
from delayserver.message import Claim, Ticket, Waiting
from delayserver.stores.base import Store

from ..support.clock import NOW
from .places import LEASE, waiting

TIMEOUT = 5_000
RETRY = Retry(max_attempts=9, ack_timeout=timedelta(milliseconds=TIMEOUT))


def retried(due: int = NOW, **parts: Any) -> Waiting:
    """A message that wants an ack."""
    return waiting(due, **{"retry": RETRY, **parts})


async def hand_over(store: Store, claims: list[Claim], now: int = NOW) -> list[Ticket]:
    """As a server does once it has put them on their channels."""
    assert all(await store.postpone(claims, [now + TIMEOUT] * len(claims), spend=1))
    return [Ticket(claim.message.id, claim.message.attempt + 1) for claim in claims]


async def handed_over(store: Store, *messages: Waiting) -> list[Ticket]:
    """Put, claimed and handed over at their due instant."""
    await store.aput(messages)
    return await again(store, max(message.due for message in messages))


async def again(store: Store, now: int = NOW + TIMEOUT) -> list[Ticket]:
    """All that is due, handed over, in due order."""
    tickets: list[Ticket] = []
    while claims := await store.claim(now, 500, LEASE):
        tickets += await hand_over(store, claims, now)
    return tickets
