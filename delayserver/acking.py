"""What became of handlers, and what the stores make of it.

What a store keeps is finished, postponed or buried by its ticket. Any other message is gone from every store: what is
to come again, or to be kept for a person, is put there anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .backoff import Retry
from .content import RESERVED_KEYS
from .errors import InvalidMessage
from .events import ACK_REFUSED, HANDLED, HANDLED_NOT, HANDLER_FAILED, count, emit
from .layers.base import Layer
from .message import MAX_DEAD_BYTES, Claim, DeadLetter, Message, Ticket, Waiting, new_id
from .stores.base import Store
from .telling import one_line, told, where
from .tickets import Tickets, may_be_unkept, ticket_of
from .verdicts import Again, Done, Fail, Outcome, Raised, Unfit, Unsaid

AGAIN_MS = 1_000  # until a message without `retry` comes again


@dataclass(slots=True, eq=False)
class Handled:
    """A message of a channel, and what became of it. `raw` is as it lay on the channel, where that is known."""

    channel: str
    content: object
    outcome: Outcome
    raw: bytes = b""
    id: str = field(default_factory=lambda: new_id(0))  # of what is put of it anew, however often that is tried


class Later(NamedTuple):
    """A message waits for so many milliseconds, with `spend` as for `Store.postpone`."""

    wait: int
    spend: int


def _nothing(handled: Handled) -> None:
    """Nobody wants to know."""


class Settling:
    """Settles what was handled of one layer's messages; `stores` are all they may wait in. `patient`: see `Tickets`."""

    def __init__(
        self, stores: Sequence[Store], layer: Layer, max_bytes: int, home: str = "", *, patient: bool = False
    ) -> None:
        self._tickets, self._store = Tickets(stores, patient=patient), stores[0]
        self._layer, self._max_bytes, self._home = layer, max_bytes, home

    async def settle(self, handled: Sequence[Handled], settled: Callable[[Handled], None] = _nothing) -> None:
        """Handed over -> gone, waiting, or dead letter, as each outcome says; `settled` is told each that is.

        If it raises, the others can be settled again.
        """
        tickets = {one: ticket_of(one.content) for one in handled}
        done = [one for one in handled if isinstance(one.outcome, Done)]
        await self._ack([ticket for one in done if (ticket := tickets[one])])
        unsaid = [one for one in handled if isinstance(one.outcome, Unsaid)]
        for one in (*done, *unsaid):
            settled(one)
        others = [one for one in handled if not isinstance(one.outcome, Done | Unsaid)]
        await self._settle_kept({ticket: one for one in others if (ticket := tickets[one])}, settled)
        for one in others:
            if tickets[one] is None:
                await self._settle_plain(one)
                settled(one)

    async def give_back(self, tickets: Sequence[Ticket], *, died: bool = False) -> None:
        """Handed over -> due now: the handler was cut off; or it `died` with its worker.

        The attempt is spent. But no message dies of its last one because a worker was stopped.
        """
        for store, claims in (await self._tickets.reclaim(tickets)).items():
            for spend, some in _by_spend(claims, died).items():
                await store.postpone(some, [store.clock.now()] * len(some), spend=spend)
            self._tickets.settled(claims)

    # -- what a store keeps -------------------------------------------------------------------------------

    async def _ack(self, tickets: Sequence[Ticket]) -> None:
        refused = await self._tickets.ack(tickets)
        count(HANDLED, len(tickets) - len(refused))
        for ticket in refused:
            emit(ACK_REFUSED, id=ticket.id, attempt=ticket.attempt)

    async def _settle_kept(self, handled: Mapping[Ticket, Handled], settled: Callable[[Handled], None]) -> None:
        """Those that carry a ticket; of some of them no store may know."""
        rest = dict(handled)
        for store, claims in (await self._tickets.reclaim(list(handled))).items():
            ours = [(claim, rest.pop(Ticket(claim.message.id, claim.message.attempt))) for claim in claims]
            await _move(store, ours)
            self._tickets.settled(claims)
            for _, one in ours:
                settled(one)
        for ticket, one in rest.items():
            if may_be_unkept(one.content):
                await self._settle_plain(one)
            else:
                emit(ACK_REFUSED, id=ticket.id, attempt=ticket.attempt)
            settled(one)

    # -- what none keeps ----------------------------------------------------------------------------------

    async def _settle_plain(self, one: Handled) -> None:
        now = (await self._store.aread_clock()).now()
        match one.outcome:
            case Again(delay=delay):
                waiting = self._waiting(one, now + (AGAIN_MS if delay is None else delay))
                if waiting is not None:
                    await self._store.aput([waiting])
                    return
        letter = self._letter(one, now)
        await self._store.refuse([letter])
        _tell(one, letter)

    def _letter(self, one: Handled, now: int) -> DeadLetter:
        reason, waiting = _reason(one.outcome), self._waiting(one, now)
        if waiting is not None:
            return DeadLetter.of(waiting, now, reason)
        return DeadLetter(one.id, now, reason, one.channel, one.raw[:MAX_DEAD_BYTES])

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
        return Waiting(one.id, due, message.target, body, home=self._home)


def _by_spend(claims: Sequence[Claim], died: bool) -> dict[int, list[Claim]]:
    by_spend: dict[int, list[Claim]] = defaultdict(list)
    for claim in claims:
        retry = claim.message.retry
        is_last = retry is not None and claim.message.attempt >= retry.max_attempts
        by_spend[-1 if is_last and not died else 0].append(claim)
    return by_spend


async def _move(store: Store, claims: Sequence[tuple[Claim, Handled]]) -> None:
    """Claimed -> waiting, or dead letter, as each outcome says."""
    now = store.clock.now()
    fates = [(claim, one, _fate(claim.message, one.outcome, now)) for claim, one in claims]
    later: dict[int, list[tuple[Claim, int]]] = defaultdict(list)
    for claim, _, fate in fates:
        if isinstance(fate, Later):
            later[fate.spend].append((claim, now + fate.wait))
    for spend, pile in later.items():
        await store.postpone([claim for claim, _ in pile], [due for _, due in pile], spend=spend)
    dead = [(claim, fate) for claim, _, fate in fates if isinstance(fate, DeadLetter)]
    if dead:
        await store.bury([claim for claim, _ in dead], [letter for _, letter in dead])
    for claim, one, fate in fates:
        _tell(one, fate, claim.message)


def _fate(message: Waiting, outcome: Outcome, now: int) -> Later | DeadLetter:
    """What becomes of a message that a store keeps."""
    retry = message.retry or Retry()
    match outcome:
        case Again(delay=delay):
            return Later(retry.wait(1) if delay is None else delay, spend=-1)
        case Raised(error) if message.attempt < retry.max_attempts and not retry.gives_up_on(error):
            return Later(retry.wait(message.attempt), spend=0)
        case Raised(error) if not retry.gives_up_on(error):
            reason = f"out of attempts: {message.attempt}, and the last {_reason(outcome)}"
        case _:
            reason = _reason(outcome)
    return DeadLetter.of(message, now, reason)


def _reason(outcome: Outcome) -> str:
    match outcome:
        case Raised(error):
            place = where(error)
            return f"raised {told(error)}" + (f" (in {place})" if place else "")
        case Fail(reason=reason):
            return f"failed: {one_line(reason)}"
        case Unfit(reason):
            return one_line(reason)
    return f"it cannot be kept until it comes again ({outcome!r})"


def _tell(one: Handled, fate: Later | DeadLetter, message: Waiting | None = None) -> None:
    """One line of the log for each message that was not handled; a snooze is nobody's concern."""
    if isinstance(one.outcome, Raised):
        then = f"kept as dead letter {fate.id}" if isinstance(fate, DeadLetter) else _again(message, fate)
        emit(HANDLER_FAILED, of=one.channel, error=one.outcome.error, channel=one.channel, then=then)
    elif isinstance(fate, DeadLetter):
        emit(HANDLED_NOT, of=one.channel, channel=one.channel, id=fate.id, reason=fate.reason)


def _again(message: Waiting | None, fate: Later) -> str:
    attempts = f"attempt {message.attempt} of {message.retry.max_attempts}, " if message and message.retry else ""
    return f"{attempts}again in {fate.wait / 1000:.1f} s"
