"""The store -> the layer: claim what is due, deliver it, finish; sleep until the next is due.

Where store and layer share a Redis the three are one act (`Store.hand_over`), and only what the layer itself must
deliver comes back claimed. Whatever happens to a claimed message is a value, decided in one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..events import CHANNEL_FULL, DELIVERY_FAILED, EXPIRED, HANDED_OVER, UNDELIVERABLE, count, emit
from ..layers.base import Delivered, Delivery, Failed, Full, Layer, Outcome, Refused
from ..message import Claim, DeadLetter, new_id
from ..stores.base import HandedOver, Store
from .base import Loop

BATCH = 250
LEASE_MS = 30_000
LOOK_SECONDS = 5.0  # the longest sleep: a wake-up can get lost, a look is cheap
LOCKED_SECONDS = 0.02  # when to ask again for what is due and could not be claimed: somebody's transaction has it
FULL_PAUSE_MS = 100  # how long to leave a full channel alone
FAILED_PAUSE_MS = 500


@dataclass(slots=True)
class Settlement:
    """What shall become of a batch of claims: one of three for each."""

    done: list[Claim] = field(default_factory=list)
    later: list[tuple[Claim, int]] = field(default_factory=list)
    spent: list[tuple[Claim, int]] = field(default_factory=list)
    dead: list[tuple[Claim, str]] = field(default_factory=list)


class Dispatch(Loop):
    """Hands over what is due in `store` on `layer`; a claim is held for `lease` milliseconds."""

    name = "dispatch"

    def __init__(self, store: Store, layer: Layer, lease: int = LEASE_MS) -> None:
        super().__init__()
        self._store, self._layer, self._lease = store, layer, lease
        self._paused: dict[str, int] = {}  # a full channel, and until when to leave it alone

    async def run_once(self) -> float:
        now = self._store.clock.now()
        self._paused = {name: later for name, later in self._paused.items() if later > now}
        work = await self._take(now)
        count(HANDED_OVER, work.handed)
        for name in work.full:
            self._pause_channel(name, now)
        if work.claims:
            await self._deliver(work.claims, now)
        if work.handed or work.put_off or work.claims:
            return 0
        due = await self._store.next_due()
        if due is None:
            return LOOK_SECONDS
        if due <= now:
            return LOCKED_SECONDS
        return min(LOOK_SECONDS, self._store.clock.seconds_until(due))

    async def _take(self, now: int) -> HandedOver:
        """What is due: handed over by the store itself where it can, else claimed."""
        shared = self._layer.place is not None and self._layer.place == self._store.place
        if shared and self._layer.format is not None:
            pause = now + FULL_PAUSE_MS
            return await self._store.hand_over(self._layer.format, now, BATCH, self._lease, pause, self._paused)
        return HandedOver(0, 0, (), await self._store.claim(now, BATCH, self._lease))

    async def _deliver(self, claims: Sequence[Claim], now: int) -> None:
        """Deliver what can go out, decide what becomes of each claim, and settle all of them."""
        settlement = Settlement()
        ready: list[Claim] = []
        deliveries: list[Delivery] = []
        for claim in claims:
            delivery = self._delivery(claim, now, settlement)
            if delivery is not None:
                ready.append(claim)
                deliveries.append(delivery)
        if self._store.clock.now() >= now + self._lease:
            return  # the claims ran out while we slept; another server has them
        try:
            outcomes = await self._layer.deliver(deliveries)
        except Exception:
            await self._store.postpone(ready, [now + FAILED_PAUSE_MS] * len(ready), spend=False)
            await self._settle(settlement, now)
            raise
        for claim, outcome in zip(ready, outcomes, strict=True):
            self._decide(claim, outcome, now, settlement)
        await self._settle(settlement, now)

    def _delivery(self, claim: Claim, now: int, settlement: Settlement) -> Delivery | None:
        """What to put on the target; None where it shall not go out now, and the settlement says what becomes of it."""
        message = claim.message
        if message.expires is not None and message.expires < now:
            emit(EXPIRED, id=message.id, target=message.target.name)
            settlement.done.append(claim)
        elif message.target.kind == "channel" and message.target.name in self._paused:
            settlement.later.append((claim, self._paused[message.target.name]))
        elif message.retry and message.attempt >= message.retry.max_attempts:
            settlement.dead.append((claim, f"out of attempts: {message.attempt} without an ack"))
        else:
            try:
                return Delivery(message.target, message.content())
            except Exception as error:  # noqa: BLE001  a raw writer can put anything into a store
                settlement.dead.append((claim, f"its content does not unpack ({type(error).__name__})"))
        return None

    def _decide(self, claim: Claim, outcome: Outcome, now: int, settlement: Settlement) -> None:
        match outcome:
            case Delivered() if claim.message.retry:
                timeout = claim.message.retry.ack_timeout_ms
                settlement.spent.append((claim, now + timeout))
                count(HANDED_OVER)
            case Delivered():
                settlement.done.append(claim)
                count(HANDED_OVER)
            case Full():
                self._pause_channel(claim.message.target.name, now)
                settlement.later.append((claim, now + FULL_PAUSE_MS))
            case Failed(error):
                emit(DELIVERY_FAILED, error=error, target=claim.message.target.name)
                settlement.later.append((claim, now + FAILED_PAUSE_MS))
            case Refused(reason):
                settlement.dead.append((claim, reason))

    async def _settle(self, settlement: Settlement, now: int) -> None:
        if settlement.done:
            await self._store.finish(settlement.done)
        for pile, spend in ((settlement.later, False), (settlement.spent, True)):
            if pile:
                await self._store.postpone([claim for claim, _ in pile], [due for _, due in pile], spend=spend)
        if settlement.dead:
            await self._bury(settlement.dead, now)

    async def _bury(self, dead: Sequence[tuple[Claim, str]], now: int) -> None:
        letters = [
            DeadLetter(new_id(now), now, reason, claim.message.target.name, claim.message.body)
            for claim, reason in dead
        ]
        await self._store.bury([claim for claim, _ in dead], letters)
        for claim, reason in dead:
            emit(UNDELIVERABLE, id=claim.message.id, target=claim.message.target.name, reason=reason)

    def _pause_channel(self, name: str, now: int) -> None:
        if name not in self._paused:
            self._paused[name] = now + FULL_PAUSE_MS
            emit(CHANNEL_FULL, of=name, target=name)
