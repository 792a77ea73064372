"""``asgi.delay`` -> the store. What cannot be accepted becomes a dead letter with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import InvalidMessage
from ..events import LOOP_FAILED, REFUSED, TAKEN_IN, count, emit, payload
from ..layers.base import Arrived, Inbox, Layer
from ..message import DeadLetter, Message, Waiting, derived_id, new_id, parse
from ..stores import Stores
from ..stores.base import Arrival, Store
from .base import Loop

BATCH = 100
LEAVE_SECONDS = 10.0  # how long what another host cannot take is left alone


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
        claim = not self._shares or len(self._stores) > 1
        arrived = await self._inbox.read(BATCH, claim=claim)
        if not arrived:
            return self._inbox.poll_seconds()
        piles: dict[Store, list[tuple[Arrived, Message | str]]] = {self._store: []}
        for one in arrived:
            message = self._parse(one)
            store = self._store if isinstance(message, str) else self._store_for(message)
            piles.setdefault(store, []).append((one, message))
        here = piles.pop(self._store)
        if here:
            await self._keep(self._store, here)
        for store, found in piles.items():
            await self._keep_elsewhere(store, found)
        return 0

    def _parse(self, one: Arrived) -> Message | str:
        """The message, or why it is none that we accept."""
        try:
            if one.fault is not None:
                raise InvalidMessage(one.fault)
            message = parse(one.content)
            if message.channel == self._channel:
                raise InvalidMessage(f"expected a target other than {self._channel} itself")
        except InvalidMessage as error:
            return str(error)
        return message

    async def _keep_elsewhere(self, store: Store, found: Sequence[tuple[Arrived, Message | str]]) -> None:
        """On another host. One that is away holds up nothing but what is meant for it."""
        try:
            await store.aread_clock()
            await self._keep(store, found)
        except Exception as error:  # noqa: BLE001  no error of another host is ours
            emit(
                LOOP_FAILED, of=f"{self.name} to {store}", error=error, loop=f"intake to {store}", seconds=LEAVE_SECONDS
            )
            await self._inbox.leave([one for one, _ in found])

    async def _keep(self, store: Store, found: Sequence[tuple[Arrived, Message | str]]) -> None:
        arrivals = [self._resolve(one, message, store) for one, message in found]
        if self._shares and store is self._store:
            await store.take_in(self._inbox.key, self._inbox.taking_key, arrivals)
        else:
            await self._store_first(store, arrivals)
            await self._inbox.discard([one for one, _ in found])
        count(TAKEN_IN, len(found))
        for (one, _), (_, letter) in zip(found, arrivals, strict=True):
            if isinstance(letter, DeadLetter):
                emit(REFUSED, channel=self._channel, id=letter.id, reason=letter.reason, payload=payload(one.raw))

    def _resolve(self, one: Arrived, message: Message | str, store: Store) -> Arrival:
        """What to keep: the message as it shall wait, or a dead letter that says why not."""
        try:
            if isinstance(message, str):
                raise InvalidMessage(message)
            return Arrival(one.token, self._waiting(message, one, store))
        except InvalidMessage as error:
            now = store.clock.now()
            return Arrival(one.token, DeadLetter(new_id(now), now, str(error), self._channel, one.raw))

    def _store_for(self, message: Message) -> Store:
        host = self._layer.host_of(message.target)
        if message.key is None and host is None:
            return self._store
        return self._stores.choose(key=message.key, host=host)

    def _waiting(self, message: Message, one: Arrived, store: Store) -> Waiting:
        in_one_act = self._shares and store is self._store
        id = None if in_one_act else derived_id(one.sent_at, one.token)
        body = self._layer.seal(message.pack(self._max_bytes))
        waiting = message.resolve(store.clock, body, id=id, home=self._home)
        self._layer.check(message.content)
        if waiting.on_conflict == "error":  # there is nobody to tell: the message that waits is kept
            waiting = replace(waiting, on_conflict="keep")
        return waiting

    async def _store_first(self, store: Store, arrivals: Sequence[Arrival]) -> None:
        letters = [arrival.message for arrival in arrivals if isinstance(arrival.message, DeadLetter)]
        await store.take([arrival.message for arrival in arrivals if isinstance(arrival.message, Waiting)])
        if letters:
            await store.refuse(letters)
