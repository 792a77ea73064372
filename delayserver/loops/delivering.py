"""Claimed messages -> the layer, lane by lane; and what becomes of each claim is a value, decided in one place.

A lane that is slow goes on by itself, and what comes for it meanwhile waits in a backlog, as it does behind a full
channel.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from ..clock import NANOSECONDS_PER_MS, ticks
from ..events import CHANNEL_FULL, DELIVERY_FAILED, EXPIRED, HANDED_OVER, LOOP_FAILED, UNDELIVERABLE, count, emit
from ..layers.base import Delivered, Delivery, Failed, Full, Late, Layer, Outcome, Refused
from ..message import Claim, DeadLetter, Target
from ..stores.base import Fate, Parcel, Store
from .pacing import Pacing

FAILED_PAUSE_MS = 500
LATE_PAUSE_MS = 10
PATIENCE_SECONDS = 0.02  # how long a batch waits for its slowest lane, before it goes on without
LAST_SECONDS = 2.0  # how long a slow lane may take when the server stops
HERE = "here"  # the lane of what lies on the store's own server


@dataclass(frozen=True, slots=True)
class Settled:
    """The store has handed it over, or dropped it, and settled the claim in one act; or the claim is no longer ours."""


@dataclass(slots=True)
class Settlement:
    """What shall become of a batch of claims: one of these for each."""

    done: list[Claim] = field(default_factory=list)
    expired: list[Claim] = field(default_factory=list)
    later: list[tuple[Claim, int]] = field(default_factory=list)
    spent: list[tuple[Claim, int]] = field(default_factory=list)
    behind: list[tuple[Claim, str]] = field(default_factory=list)
    dead: list[tuple[Claim, str]] = field(default_factory=list)


Batch = list[tuple[Claim, Delivery]]


class Delivering:
    """Delivers what was claimed in `store` for `lease` milliseconds. `host` is where `layer` shares the store's server.

    `wake` is called when a slow lane is done.
    """

    def __init__(
        self, store: Store, layer: Layer, lease: int, host: int | None, pacing: Pacing, wake: Callable[[], None]
    ) -> None:
        self._store, self._layer, self._lease, self._host = store, layer, lease, host
        self._pacing, self._wake = pacing, wake
        self._slow: dict[Hashable, asyncio.Task[None]] = {}
        self._slow_backlogs: dict[Hashable, set[str]] = {}

    @property
    def slow_backlogs(self) -> set[str]:
        """The backlogs of the lanes that are slow."""
        return set().union(*self._slow_backlogs.values())

    async def aclose(self) -> None:
        """What is slow has a little time left; then its claims run out by themselves."""
        if self._slow:
            _, late = await asyncio.wait(self._slow.values(), timeout=LAST_SECONDS)
            for task in late:
                task.cancel()

    async def deliver(self, claims: Sequence[Claim], now: int) -> Counter[str]:
        """Deliver what can go out, decide what becomes of each claim, settle all; how many went into each backlog."""
        settlement = Settlement()
        lanes: dict[Hashable, Batch] = {}
        epoch = ticks() - self._store.clock.now() * NANOSECONDS_PER_MS  # in this order: a pause in between is no gain
        for claim in claims:
            delivery = self._delivery(claim, now, epoch, settlement)
            if delivery is None:
                continue
            lane = self._lane(delivery.target)
            if lane in self._slow:
                self._hold_back(claim, now, settlement)
            else:
                lanes.setdefault(lane, []).append((claim, delivery))
        error = await self._deliver_lanes(lanes, now, settlement) if lanes else None
        await self._settle(settlement, now)
        if error is not None:
            raise error
        return Counter(name for _, name in settlement.behind)

    def _delivery(self, claim: Claim, now: int, epoch: int, settlement: Settlement) -> Delivery | None:
        """What to put on the target; None where it shall not go out, and the settlement says what becomes of it.

        `epoch` is the tick at which the store's clock was 0.
        """
        message = claim.message
        if message.expired(now):
            settlement.expired.append(claim)
        elif message.retry and message.attempt >= message.retry.max_attempts:
            settlement.dead.append((claim, f"out of attempts: {message.attempt} without an ack"))
        else:
            try:
                content = message.content(self._layer.unseal)
            except Exception as error:  # noqa: BLE001  a raw writer can put anything into a store
                settlement.dead.append((claim, f"its content does not unpack ({type(error).__name__})"))
            else:
                over = now + self._lease if message.expires is None else min(now + self._lease, message.expires + 1)
                return Delivery(message.target, content, epoch + over * NANOSECONDS_PER_MS)
        return None

    def _lane(self, target: Target) -> Hashable:
        is_here = self._host is not None and target.kind == "channel"
        if is_here and self._layer.host_of(target) in (None, self._host):
            return HERE
        return self._layer.lane(target)

    async def _deliver_lanes(
        self, lanes: Mapping[Hashable, Batch], now: int, settlement: Settlement
    ) -> BaseException | None:
        """Side by side; a lane that is not done soon is left to itself.

        Returns the error of the store's own lane, where it had one: its claims run out.
        """
        tasks = {lane: asyncio.create_task(self._outcomes(lane, batch, now)) for lane, batch in lanes.items()}
        await asyncio.wait(tasks.values(), timeout=PATIENCE_SECONDS)
        error = None
        for lane, task in tasks.items():
            if not task.done():
                self._slow[lane] = asyncio.create_task(self._settle_late(lane, lanes[lane], task, now))
                targets = {claim.message.target for claim, _ in lanes[lane]}
                self._slow_backlogs[lane] = {self._layer.backlog_of(target) for target in targets}
            elif task.exception() is not None:
                error = task.exception()
            else:
                self._decide(lanes[lane], task.result(), now, settlement)
        return error

    async def _settle_late(
        self, lane: Hashable, batch: Batch, task: asyncio.Task[list[Outcome | Settled]], now: int
    ) -> None:
        try:
            settlement = Settlement()
            self._decide(batch, await task, now, settlement)
            await self._settle(settlement, now)
        except Exception as error:  # noqa: BLE001  the claims run out, and all of it is due again
            emit(LOOP_FAILED, of="slow lane", error=error, loop="a slow lane of dispatch", seconds=self._lease / 1000)
        finally:
            del self._slow[lane], self._slow_backlogs[lane]
            self._wake()

    async def _outcomes(self, lane: Hashable, batch: Batch, now: int) -> list[Outcome | Settled]:
        if lane == HERE:
            return await self._hand_over_claims(batch, now)
        try:
            return [*await self._layer.deliver(lane, [delivery for _, delivery in batch])]
        except Exception as error:  # noqa: BLE001  whatever a layer does, its messages wait
            return [Failed(error)] * len(batch)

    async def _hand_over_claims(self, batch: Batch, now: int) -> list[Outcome | Settled]:
        outcomes: list[Outcome | Settled] = [Settled()] * len(batch)
        parcels: list[tuple[int, Parcel]] = []
        for position, (claim, delivery) in enumerate(batch):
            retry = claim.message.retry
            again = now + retry.ack_timeout_ms if retry else None
            try:
                parcels.append((position, Parcel(claim, *self._layer.place(delivery, now), again)))
            except Exception as error:  # noqa: BLE001  a serializer may raise anything
                outcomes[position] = Refused(f"the channel layer refused it: {type(error).__name__}")
        fates = await self._store.hand_over_claims([parcel for _, parcel in parcels], self._layer.expiry)
        for (position, parcel), fate in zip(parcels, fates, strict=True):
            match fate:
                case Fate.THERE:
                    count(HANDED_OVER)
                case Fate.FULL:
                    outcomes[position] = Full()
                case Fate.EXPIRED:
                    _say_expired(parcel.claim)
        return outcomes

    # -- settling -----------------------------------------------------------------------------------------

    def _decide(self, batch: Batch, outcomes: Sequence[Outcome | Settled], now: int, settlement: Settlement) -> None:
        for (claim, _), outcome in zip(batch, outcomes, strict=True):
            match outcome:
                case Late() if claim.message.expired(self._store.clock.now()):
                    settlement.expired.append(claim)
                case Late():  # by the layer's clock alone so far; or the claim is over, and no longer ours to move
                    settlement.later.append((claim, now + LATE_PAUSE_MS))
                case Settled():
                    pass
                case Delivered() if claim.message.retry:
                    settlement.spent.append((claim, now + claim.message.retry.ack_timeout_ms))
                    count(HANDED_OVER)
                case Delivered():
                    settlement.done.append(claim)
                    count(HANDED_OVER)
                case Full():
                    self._hold_back(claim, now, settlement)
                case Failed(error):
                    emit(DELIVERY_FAILED, error=error, target=claim.message.target.name)
                    settlement.later.append((claim, now + FAILED_PAUSE_MS))
                case Refused(reason):
                    settlement.dead.append((claim, reason))

    def _hold_back(self, claim: Claim, now: int, settlement: Settlement) -> None:
        name = self._layer.backlog_of(claim.message.target)
        emit(CHANNEL_FULL, of=name, target=name)
        self._pacing.add(name, now)
        settlement.behind.append((claim, name))

    async def _settle(self, settlement: Settlement, now: int) -> None:
        if settlement.done:
            await self._store.finish(settlement.done)
        if settlement.expired:
            await self._drop(settlement.expired)
        for pile, spend in ((settlement.later, 0), (settlement.spent, 1)):
            if pile:
                await self._store.postpone([claim for claim, _ in pile], [due for _, due in pile], spend=spend)
        if settlement.behind:
            await self._store.hold_back(*zip(*settlement.behind, strict=True))
        if settlement.dead:
            await self._bury(settlement.dead, now)

    async def _drop(self, expired: Sequence[Claim]) -> None:
        """Only who still holds the claim says so: nobody else will."""
        for claim, ours in zip(expired, await self._store.finish(expired), strict=True):
            if ours:
                _say_expired(claim)

    async def _bury(self, dead: Sequence[tuple[Claim, str]], now: int) -> None:
        letters = [DeadLetter.of(claim.message, now, reason) for claim, reason in dead]
        await self._store.bury([claim for claim, _ in dead], letters)
        for claim, reason in dead:
            emit(UNDELIVERABLE, id=claim.message.id, target=claim.message.target.name, reason=reason)


def _say_expired(claim: Claim) -> None:
    emit(EXPIRED, id=claim.message.id, target=claim.message.target.name)
