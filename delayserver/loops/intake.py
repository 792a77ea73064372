"""``asgi.delay`` -> the store. What cannot be accepted becomes a dead letter with the reason."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ..errors import InvalidMessage
from ..events import REFUSED, TAKEN_IN, count, emit, payload
from ..layers.base import Arrived, Inbox, Layer
from ..message import DeadLetter, Message, OnConflict, Waiting, derived_id, new_id, parse
from ..stores.base import Arrival, Store
from .base import Loop

BATCH = 100


class Intake(Loop):
    """Reads `channel` of `layer` in batches and puts what it finds.

    Where the channel lies in the store's own Redis, a message leaves it in the act that stores it. Elsewhere it is
    claimed, stored and removed, under an id made from its bytes: what comes again after a crash is stored once.
    """

    name = "intake"

    def __init__(self, store: Store, layer: Layer, channel: str, max_bytes: int, home: str = "") -> None:
        super().__init__()
        self._store, self._layer = store, layer
        self._channel, self._max_bytes, self._home = channel, max_bytes, home
        self._inbox: Inbox = layer.inbox(channel, max_bytes)

    async def open(self) -> None:
        await self._inbox.open(self.wake)

    async def aclose(self) -> None:
        await self._inbox.aclose()

    async def run_once(self) -> float:
        arrived = await self._inbox.read(BATCH, claim=not self._shares())
        if not arrived:
            return self._inbox.poll_seconds()
        arrivals = [self._resolve(one) for one in arrived]
        if self._shares():
            await self._store.take_in(self._inbox.key, arrivals)
        else:
            await self._store_first(arrivals)
            await self._inbox.discard(arrived)
        count(TAKEN_IN, len(arrived))
        for one, arrival in zip(arrived, arrivals, strict=True):
            if isinstance(arrival.message, DeadLetter):
                self._tell(one, arrival.message)
        return 0

    def _resolve(self, one: Arrived) -> Arrival:
        """What to keep of a message: itself, or a dead letter that says why not."""
        try:
            if one.fault is not None:
                raise InvalidMessage(one.fault)
            message = parse(one.content)
            return Arrival(one.token, self._waiting(message, one), message.on_conflict)
        except InvalidMessage as error:
            now = self._store.clock.now()
            return Arrival(one.token, DeadLetter(new_id(now), now, str(error), self._channel, one.raw))

    def _waiting(self, message: Message, one: Arrived) -> Waiting:
        if message.channel == self._channel:
            raise InvalidMessage(f"expected a target other than {self._channel} itself")
        id = None if self._shares() else derived_id(one.sent_at, one.token)
        waiting = message.waiting(self._store.clock, self._max_bytes, id=id, home=self._home)
        self._layer.check(message.content)
        return waiting

    def _shares(self) -> bool:
        """Whether the channel lies in the store's own Redis."""
        return self._inbox.place is not None and self._inbox.place == self._store.place

    async def _store_first(self, arrivals: Sequence[Arrival]) -> None:
        letters = [arrival.message for arrival in arrivals if isinstance(arrival.message, DeadLetter)]
        good = [arrival for arrival in arrivals if isinstance(arrival.message, Waiting)]
        for on_conflict, run in itertools.groupby(good, key=_policy):
            messages = [arrival.message for arrival in run if isinstance(arrival.message, Waiting)]
            await self._store.take(messages, on_conflict)
        if letters:
            await self._store.refuse(letters)

    def _tell(self, one: Arrived, letter: DeadLetter) -> None:
        emit(REFUSED, channel=self._channel, id=letter.id, reason=letter.reason, payload=payload(one.raw))


def _policy(arrival: Arrival) -> OnConflict:
    """An error has nobody to tell here: the message that waits is kept."""
    return "keep" if arrival.on_conflict == "error" else arrival.on_conflict
