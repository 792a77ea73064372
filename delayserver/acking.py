"""What consumers say of their messages, and what the store makes of it.

A message with `retry` stays in the store after hand-over. Its *ticket*, which message and which of its hand-overs, is
in ``__delay__``; who shows it can finish the message, and is refused where it was handed over again meanwhile. Any
other message is gone from the store: what is to come again, or to be kept for a person, is put there anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from .backoff import Retry
from .content import RESERVED_KEYS
from .errors import InvalidMessage
from .events import ACK_REFUSED, HANDLED, HANDLED_NOT, HANDLER_FAILED, count, emit
from .layers.base import Layer
from .message import MAX_DEAD_BYTES, Claim, DeadLetter, Message, Ticket, Waiting, new_id
from .stores.base import MAX_BATCH, Acked, Store
from .telling import told, where
from .verdicts import Again, Done, Fail, Outcome, Raised, Unfit

LEASE_MS = 30_000
AGAIN_MS = 1_000  # until a message without `retry` comes again


class Handled(NamedTuple):
    """A message of a channel, and what became of it. `raw` is as it lay on the channel, where that is known."""

    channel: str
    content: object
    outcome: Outcome
    raw: bytes = b""


class Later(NamedTuple):
    """What becomes of a message: it waits until `due`, with `spend` as for `Store.postpone`."""

    due: int
    spend: int


def ticket_of(content: object) -> Ticket | None:
    """The ticket that a message carries; None where it carries none."""
    delay = content.get("__delay__") if isinstance(content, Mapping) else None
    match delay:
        case {"id": str(id), "attempt": int(attempt)} if attempt > 0:
            return Ticket(id, attempt)
    return None


def may_be_unkept(content: object) -> bool:
    """Whether the store may know nothing of it although it carries a ticket: an occurrence without `retry`."""
    delay = content.get("__delay__") if isinstance(content, Mapping) else None
    return isinstance(delay, Mapping) and delay.get("schedule") is not None and delay.get("attempt") == 1


class Settling:
    """Settles what was handled of one layer's messages; `stores` are all they may wait in."""

    def __init__(self, stores: Sequence[Store], layer: Layer, max_bytes: int, home: str = "") -> None:
        self._stores, self._layer, self._max_bytes, self._home = stores, layer, max_bytes, home

    async def settle(self, handled: Sequence[Handled]) -> None:
        """Handed over -> gone, waiting, or dead letter, as each outcome says.

        If it raises it can be done again: what is settled by then is refused, and no longer settled.
        """
        tickets = [(one, ticket_of(one.content)) for one in handled]
        await self._ack([ticket for one, ticket in tickets if ticket and isinstance(one.outcome, Done)])
        others = [(one, ticket) for one, ticket in tickets if not isinstance(one.outcome, Done)]
        plain = [one for one, ticket in others if ticket is None]
        plain += await self._settle_kept({ticket: one for one, ticket in others if ticket})
        for one in plain:
            await self._settle_plain(one)

    async def give_back(self, tickets: Sequence[Ticket]) -> None:
        """Handed over -> due now: the handler was cut off, or its worker died."""
        for store, claims in (await self._reclaim(tickets)).items():
            await store.postpone(claims, [store.clock.now()] * len(claims), spend=0)

    # -- what the store keeps -----------------------------------------------------------------------------

    async def _ack(self, tickets: Sequence[Ticket]) -> None:
        for some in _batches(tickets):
            left = some
            for store in self._stores:
                answers = await store.ack(left) if left else []
                count(HANDLED, answers.count(Acked.DONE))
                for ticket, answer in zip(left, answers, strict=True):
                    if answer is Acked.OTHER:
                        emit(ACK_REFUSED, id=ticket.id, attempt=ticket.attempt)
                left = [ticket for ticket, answer in zip(left, answers, strict=True) if answer is Acked.GONE]

    async def _reclaim(self, tickets: Sequence[Ticket]) -> dict[Store, list[Claim]]:
        """Each claim in its store; what is no longer this hand-over's is not there."""
        found: dict[Store, list[Claim]] = defaultdict(list)
        for some in _batches(tickets):
            left = list(some)
            for store in self._stores:
                now = (await store.aread_clock()).now()
                claims = await store.reclaim(left, now, LEASE_MS) if left else []
                found[store] += [claim for claim in claims if claim]
                left = [ticket for ticket, claim in zip(left, claims, strict=True) if claim is None]
        return found

    async def _settle_kept(self, handled: Mapping[Ticket, Handled]) -> list[Handled]:
        """Those that stores keep; the others, of which they know nothing."""
        rest = dict(handled)
        for store, claims in (await self._reclaim(list(handled))).items():
            later: dict[int, list[tuple[Claim, int]]] = defaultdict(list)
            dead: list[tuple[Claim, DeadLetter]] = []
            for claim in claims:
                one = rest.pop(Ticket(claim.message.id, claim.message.attempt))
                fate = _fate(claim.message, one, store.clock.now())
                if isinstance(fate, Later):
                    later[fate.spend].append((claim, fate.due))
                else:
                    dead.append((claim, fate))
            for spend, pile in later.items():
                await store.postpone([claim for claim, _ in pile], [due for _, due in pile], spend=spend)
            if dead:
                await store.bury([claim for claim, _ in dead], [letter for _, letter in dead])
        for ticket, one in rest.items():
            if not may_be_unkept(one.content):
                emit(ACK_REFUSED, id=ticket.id, attempt=ticket.attempt)
        return [one for one in rest.values() if may_be_unkept(one.content)]

    # -- what it does not -----------------------------------------------------------------------------------

    async def _settle_plain(self, one: Handled) -> None:
        store = self._stores[0]
        now = (await store.aread_clock()).now()
        match one.outcome:
            case Again(delay=delay):
                waiting = self._waiting(one, now + (AGAIN_MS if delay is None else delay))
                if waiting is not None:
                    await store.aput([waiting])
                    return
        reason = _reason(one.outcome)
        await store.refuse([self._letter(one, now, reason)])

    def _letter(self, one: Handled, now: int, reason: str) -> DeadLetter:
        waiting = self._waiting(one, now)
        if waiting is not None:
            letter = DeadLetter.of(waiting, now, reason)
        else:
            letter = DeadLetter(new_id(now), now, reason, one.channel, one.raw[:MAX_DEAD_BYTES])
        _tell(one, f"kept as dead letter {letter.id}", letter)
        return letter

    def _waiting(self, one: Handled, due: int) -> Waiting | None:
        """The message as it can be put again; None where it cannot."""
        if not isinstance(one.content, Mapping):
            return None
        content = {name: value for name, value in one.content.items() if name not in RESERVED_KEYS}
        try:
            message = Message(channel=one.channel, content=content, delay=0)
            body = self._layer.seal(message.pack(self._max_bytes))
        except InvalidMessage:
            return None
        return Waiting(new_id(due), due, message.target, body, home=self._home)


def _fate(message: Waiting, one: Handled, now: int) -> Later | DeadLetter:
    """What becomes of a message that the store keeps, and tells it."""
    retry = message.retry or Retry()
    match one.outcome:
        case Again(delay=delay):
            return Later(now + (delay if delay is not None else retry.wait(1)), spend=-1)
        case Raised(error) if message.attempt < retry.max_attempts and not retry.gives_up_on(error):
            wait = retry.wait(message.attempt)
            _tell(one, f"attempt {message.attempt} of {retry.max_attempts}, again in {wait / 1000:.1f} s")
            return Later(now + wait, spend=0)
        case Raised(error) if not retry.gives_up_on(error):
            reason = f"out of attempts: {message.attempt}, and the last {_reason(one.outcome)}"
        case outcome:
            reason = _reason(outcome)
    letter = DeadLetter.of(message, now, reason)
    _tell(one, f"kept as dead letter {letter.id}", letter)
    return letter


def _reason(outcome: Outcome) -> str:
    match outcome:
        case Raised(error):
            place = where(error)
            return f"raised {told(error)}" + (f" (in {place})" if place else "")
        case Fail(reason=reason):
            return f"failed: {reason}"
        case Unfit(reason):
            return reason
    return f"it cannot be kept until it comes again ({outcome!r})"


def _tell(one: Handled, then: str, letter: DeadLetter | None = None) -> None:
    """One line of the log for each message that was not handled."""
    if isinstance(one.outcome, Raised):
        emit(HANDLER_FAILED, of=one.channel, error=one.outcome.error, channel=one.channel, then=then)
    elif letter is not None:
        emit(HANDLED_NOT, of=one.channel, channel=one.channel, id=letter.id, reason=letter.reason)


def _batches(tickets: Sequence[Ticket]) -> Iterator[list[Ticket]]:
    return (list(tickets[start : start + MAX_BATCH]) for start in range(0, len(tickets), MAX_BATCH))
