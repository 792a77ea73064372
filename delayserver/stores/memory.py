"""Messages in this process's memory: gone when it ends. The plain reading of the protocol."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from ..errors import KeyTaken
from ..message import Claim, DeadLetter, Receipt, Ticket, Waiting
from .base import MAX_DEAD_LETTERS, Acked, Named
from .memory_entries import MemoryEntries
from .memory_shelf import OUTSIDE, died
from .moves import Move, Moved, Step, refuse_moves
from .tickets import refuse_tickets


class MemoryStore(MemoryEntries):
    """The verbs of callers and servers, each under the one lock."""

    # -- for callers --------------------------------------------------------------------------------------

    def put(self, messages: Sequence[Waiting]) -> list[Receipt]:
        with self._lock:
            self._refuse_taken(messages)
            before = self._head()
            receipts = [self._put(message) for message in messages]
            rings = self._head() != before
        if rings:
            self._wake.ring()
        return receipts

    def _refuse_taken(self, messages: Sequence[Waiting]) -> None:
        holders: dict[str, str] = {}
        for message in messages:
            if message.key is None or message.id in self._messages:
                continue
            held = self._find(Named(key=message.key))
            holder = holders.setdefault(message.key, held.id if held is not None else message.id)
            if holder != message.id and message.on_conflict == "error":
                raise KeyTaken(f"a message with key {message.key!r} is waiting already")

    def _put(self, message: Waiting) -> Receipt:
        if message.id in self._messages:  # it was put before, and the answer was lost
            return Receipt(message.id, message.due, created=True)
        held = self._find(Named(key=message.key)) if message.key is not None else None
        if held is not None and message.on_conflict != "replace":
            return Receipt(held.id, held.due, created=False)
        if held is not None:
            self._remove(held)
        if message.key is not None:  # what has expired stays, for a server to drop and count
            self._keys[message.key] = message.id
        self._set(message)
        return Receipt(message.id, message.due, created=True)

    def cancel(self, named: Sequence[Named]) -> list[bool]:
        with self._lock:
            return [self._cancel(self._find(name)) for name in named]

    def _cancel(self, message: Waiting | None) -> bool:
        if message is None:
            return False
        self._remove(message)
        return True

    def reschedule(self, named: Named, due: int) -> bool:
        with self._lock:
            message = self._find(named)
            if message is None:
                return False
            self._set(replace(message, due=due))
        self._wake.ring()
        return True

    def get(self, named: Named) -> Waiting | None:
        with self._lock:
            return self._find(named)

    async def aput(self, messages: Sequence[Waiting]) -> list[Receipt]:
        return self.put(messages)

    async def acancel(self, named: Sequence[Named]) -> list[bool]:
        return self.cancel(named)

    async def areschedule(self, named: Named, due: int) -> bool:
        return self.reschedule(named, due)

    async def aget(self, named: Named) -> Waiting | None:
        return self.get(named)

    # -- for the server's loops ---------------------------------------------------------------------------

    async def open(self, home: str = "") -> None:
        self._wake.bind()

    async def aclose(self) -> None:
        self._wake.unbind()

    async def claim(self, now: int, limit: int, lease: int, full: Collection[str] = ()) -> list[Claim]:
        claims: list[Claim] = []
        with self._lock:
            while len(claims) < limit and (message := self._first()) is not None and message.due <= now:
                backlog = next((name for name in message.target.backlogs if name in full), OUTSIDE)
                if backlog == OUTSIDE:
                    claims.append(self._claim(message, now + lease))
                else:
                    self._set(message, backlog=backlog)
        return claims

    async def claim_backlog(self, name: str, now: int, limit: int, lease: int) -> list[Claim]:
        claims: list[Claim] = []
        with self._lock:
            while len(claims) < limit and (message := self._first(name)) is not None:
                claims.append(self._claim(message, now + lease))
        return claims

    def _claim(self, message: Waiting, until: int) -> Claim:
        self._generation += 1
        self._free_key(message)
        self._set(replace(message, due=until), self._generation)
        return Claim(message, self._generation)

    async def hold_back(self, claims: Sequence[Claim], names: Sequence[str]) -> list[bool]:
        with self._lock:
            held = [self._holds(claim) for claim in claims]
            for claim, name, ours in zip(claims, names, held, strict=True):
                if ours:
                    self._put_back(claim.message, backlog=name)
        return held

    async def backlogs(self) -> list[str]:
        with self._lock:
            return [name for name in list(self._orders) if name != OUTSIDE and self._first(name) is not None]

    async def finish(self, claims: Sequence[Claim]) -> list[bool]:
        with self._lock:
            held = [self._holds(claim) for claim in claims]
            for claim, ours in zip(claims, held, strict=True):
                if ours:
                    self._messages.pop(claim.message.id, None)
        return held

    async def postpone(self, claims: Sequence[Claim], due: Sequence[int], *, spend: int) -> list[bool]:
        with self._lock:
            held = [self._holds(claim) for claim in claims]
            for claim, later, ours in zip(claims, due, held, strict=True):
                if ours:
                    put_back = self._set if spend > 0 else self._put_back
                    put_back(replace(claim.message.spent(spend), due=later))
        self._wake.ring()
        return held

    async def bury(self, claims: Sequence[Claim], letters: Sequence[DeadLetter]) -> list[bool]:
        held = await self.finish(claims)
        await self.refuse([letter for letter, ours in zip(letters, held, strict=True) if ours])
        return held

    async def refuse(self, letters: Sequence[DeadLetter]) -> None:
        with self._lock:
            self._dead.update({letter.id: letter for letter in letters})
            for oldest in sorted(self._dead.values(), key=died)[:-MAX_DEAD_LETTERS]:
                del self._dead[oldest.id]

    async def cursors(self, names: Collection[str] = ()) -> dict[str, bytes]:
        with self._lock:
            return {name: self._cursors[name] for name in names or self._cursors if name in self._cursors}

    async def put_occurrences(self, moves: Sequence[Move]) -> list[Moved]:
        refuse_moves(moves)
        with self._lock:
            before = self._head()
            moved = [self._move(move) for move in moves]
            rings = self._head() != before
        if rings:
            self._wake.ring()
        return moved

    def _move(self, move: Move) -> Moved:
        cursor = self._cursors.get(move.schedule)
        if cursor != move.seen:
            return Moved(Step.OVERTAKEN, cursor)
        if move.unless in self._messages:
            return Moved(Step.HELD, cursor)
        ids = dict.fromkeys(move.take)
        found = [message for id in ids if (message := self._find(Named(id=id)))]
        if move.sure and len(found) < len(ids):
            return Moved(Step.GONE, cursor)
        for message in found:
            self._remove(message)
        for message in move.put:
            self._put(message)
        if move.then is None:
            self._cursors.pop(move.schedule, None)
        else:
            self._cursors[move.schedule] = move.then
        return Moved(Step.DONE, move.then, len(found))

    # -- for consumers ------------------------------------------------------------------------------------

    async def ack(self, tickets: Sequence[Ticket]) -> list[Acked]:
        refuse_tickets(tickets)
        with self._lock:
            return [self._ack(ticket) for ticket in tickets]

    def _ack(self, ticket: Ticket) -> Acked:
        message = self._handed_over(ticket)
        if message is None:
            return Acked.OTHER if ticket.id in self._messages else Acked.GONE
        self._remove(message)
        return Acked.DONE

    def renew(self, tickets: Sequence[Ticket], now: int) -> list[int | None]:
        refuse_tickets(tickets)
        with self._lock:
            renewed = [self._renew(self._handed_over(ticket), now) for ticket in tickets]
        self._wake.ring()
        return renewed

    def _renew(self, message: Waiting | None, now: int) -> int | None:
        if message is None or message.retry is None:
            return None
        due = now + message.retry.ack_timeout_ms
        self._free_key(message)
        self._set(replace(message, due=due))
        return due

    async def arenew(self, tickets: Sequence[Ticket], now: int) -> list[int | None]:
        return self.renew(tickets, now)

    async def reclaim(self, tickets: Sequence[Ticket], now: int, lease: int) -> list[Claim | None]:
        refuse_tickets(tickets)
        with self._lock:
            found = (self._handed_over(ticket) for ticket in tickets)  # one by one: a ticket may come twice
            return [None if message is None else self._claim(message, now + lease) for message in found]

    def _handed_over(self, ticket: Ticket) -> Waiting | None:
        """The message that this ticket fits."""
        entry = self._messages.get(ticket.id)
        if entry is None or entry.generation or not 0 < ticket.attempt == entry.message.attempt:
            return None
        return entry.message

    # -- when to look again -------------------------------------------------------------------------------

    async def next_due(self) -> int | None:
        with self._lock:
            return self._head()

    async def earlier(self) -> None:
        await self._wake.wait()

    def _holds(self, claim: Claim) -> bool:
        entry = self._messages.get(claim.message.id)
        return entry is not None and entry.generation == claim.generation
