"""``asgi.delay`` -> the store. What cannot be accepted becomes a dead letter with the reason."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ..clock import Clock
from ..errors import InvalidMessage
from ..events import REFUSED, TAKEN_IN, count, emit, payload
from ..layers.base import Arrived, Inbox, Layer
from ..message import DeadLetter, Message, OnConflict, Waiting, derived_id, new_id, parse
from ..stores import Stores
from ..stores.base import Arrival, Store
from .base import Loop

BATCH = 100


class Intake(Loop):
    """Reads one inbox in batches and puts what it finds.

    Where the channel lies in the store's own Redis, a message leaves it in the act that stores it. Elsewhere it is
    claimed, stored and removed, under an id made from its bytes: what comes again after a crash is stored once.
    `stores` are all there are, and `store` the one beside the inbox.
    """

    name = "intake"

    def __init__(
        self, inbox: Inbox, store: Store, stores: Stores, layer: Layer, channel: str, max_bytes: int, home: str = ""
    ) -> None:
        super().__init__()
        self._inbox, self._store, self._stores, self._layer = inbox, store, stores, layer
        self._channel, self._max_bytes, self._home = channel, max_bytes, home
        self._shares = inbox.place is not None and inbox.place == store.place

    async def open(self) -> None:
        await self._inbox.open(self.wake)

    async def aclose(self) -> None:
        await self._inbox.aclose()

    async def run_once(self) -> float:
        arrived = await self._inbox.read(BATCH, claim=not self._shares)
        if not arrived:
            return self._inbox.poll_seconds()
        here: list[tuple[Arrived, Arrival]] = []
        elsewhere: dict[Store, list[tuple[Arrived, Arrival]]] = {}
        for one in arrived:
            store, arrival = await self._resolve(one)
            pile = here if store is self._store else elsewhere.setdefault(store, [])
            pile.append((one, arrival))
        if here:
            await self._keep(here)
        for store, found in elsewhere.items():
            await self._store_first(store, found)
        return 0

    async def _resolve(self, one: Arrived) -> tuple[Store, Arrival]:
        """Where and what to keep of a message: itself, or a dead letter that says why not."""
        try:
            if one.fault is not None:
                raise InvalidMessage(one.fault)
            message = parse(one.content)
            store = self._store_for(message)
            clock = self._store.clock if store is self._store else await store.aread_clock()
            return store, Arrival(one.token, self._waiting(message, one, store, clock), message.on_conflict)
        except InvalidMessage as error:
            now = self._store.clock.now()
            letter = DeadLetter(new_id(now), now, str(error), self._channel, one.raw)
            return self._store, Arrival(one.token, letter)

    def _store_for(self, message: Message) -> Store:
        host = self._layer.host_of(message.target)
        if message.key is None and host is None:
            return self._store
        return self._stores.choose(key=message.key, host=host)

    def _waiting(self, message: Message, one: Arrived, store: Store, clock: Clock) -> Waiting:
        if message.channel == self._channel:
            raise InvalidMessage(f"expected a target other than {self._channel} itself")
        in_one_act = self._shares and store is self._store
        id = None if in_one_act else derived_id(one.sent_at, one.token)
        waiting = message.waiting(clock, self._max_bytes, id=id, home=self._home, seal=self._layer.seal)
        self._layer.check(message.content)
        return waiting

    async def _keep(self, found: Sequence[tuple[Arrived, Arrival]]) -> None:
        if not self._shares:
            await self._store_first(self._store, found)
            return
        await self._store.take_in(self._inbox.key, [arrival for _, arrival in found])
        self._tell(found)

    async def _store_first(self, store: Store, found: Sequence[tuple[Arrived, Arrival]]) -> None:
        letters = [arrival.message for _, arrival in found if isinstance(arrival.message, DeadLetter)]
        good = [arrival for _, arrival in found if isinstance(arrival.message, Waiting)]
        for on_conflict, run in itertools.groupby(good, key=_policy):
            messages = [arrival.message for arrival in run if isinstance(arrival.message, Waiting)]
            await store.take(messages, on_conflict)
        if letters:
            await store.refuse(letters)
        await self._inbox.discard([one for one, _ in found])
        self._tell(found)

    def _tell(self, found: Sequence[tuple[Arrived, Arrival]]) -> None:
        count(TAKEN_IN, len(found))
        for one, (_, letter, _) in found:
            if isinstance(letter, DeadLetter):
                emit(REFUSED, channel=self._channel, id=letter.id, reason=letter.reason, payload=payload(one.raw))


def _policy(arrival: Arrival) -> OnConflict:
    """An error has nobody to tell here: the message that waits is kept."""
    return "keep" if arrival.on_conflict == "error" else arrival.on_conflict
