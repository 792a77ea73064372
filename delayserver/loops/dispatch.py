"""A store -> the layer: claim what is due, deliver it, finish; sleep until the next is due.

Where store and layer share a Redis the three are one act (`Store.hand_over`, `Store.hand_over_claims`). Everywhere
else the layer delivers what was claimed, lane by lane: a lane that is slow goes on by itself, and what comes for it
meanwhile waits in a backlog, as it does behind a full channel. Whatever happens to a claimed message is a value,
decided in one place.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from ..clock import NANOSECONDS_PER_MS, ticks
from ..events import CHANNEL_FULL, DELIVERY_FAILED, EXPIRED, HANDED_OVER, LOOP_FAILED, UNDELIVERABLE, count, emit
from ..layers.base import Delivered, Delivery, Failed, Full, Late, Layer, Outcome, Refused
from ..message import Claim, DeadLetter, Target, new_id
from ..stores.base import Parcel, Store
from .base import Loop
from .pacing import Pacing

BATCH = 250
LEASE_MS = 30_000
LOOK_SECONDS = 5.0  # the longest sleep: a wake-up can get lost, a look is cheap
LOCKED_SECONDS = 0.02  # when to ask again for what is due and could not be claimed: somebody's transaction has it
FAILED_PAUSE_MS = 500
PATIENCE_SECONDS = 0.02  # how long a batch waits for its slowest lane, before it goes on without
LOOKS = 32  # backlogs that are looked at before what is newly due has its turn
LAST_SECONDS = 2.0  # how long a slow lane may take when the server stops
HERE = "here"  # the lane of what lies on the store's own server


@dataclass(frozen=True, slots=True)
class Settled:
    """The store has handed it over and settled the claim in one act, or found that it is no longer ours."""


@dataclass(slots=True)
class Settlement:
    """What shall become of a batch of claims: one of these for each."""

    done: list[Claim] = field(default_factory=list)
    later: list[tuple[Claim, int]] = field(default_factory=list)
    spent: list[tuple[Claim, int]] = field(default_factory=list)
    behind: list[tuple[Claim, str]] = field(default_factory=list)
    dead: list[tuple[Claim, str]] = field(default_factory=list)


Batch = list[tuple[Claim, Delivery]]


class Dispatch(Loop):
    """Hands over what is due in `store` on `layer`; a claim is held for `lease` milliseconds."""

    name = "dispatch"

    def __init__(self, store: Store, layer: Layer, lease: int = LEASE_MS) -> None:
        super().__init__()
        self._store, self._layer, self._lease = store, layer, lease
        self._host = layer.places.index(store.place) if store.place in layer.places else None
        self._pacing = Pacing()
        self._looked_at = 0  # when the store was last asked for its backlogs
        self._slow: dict[Hashable, asyncio.Task[None]] = {}
        self._slow_backlogs: dict[Hashable, set[str]] = {}

    async def aclose(self) -> None:
        """What is slow has a little time left; then its claims run out by themselves."""
        if self._slow:
            _, late = await asyncio.wait(self._slow.values(), timeout=LAST_SECONDS)
            for task in late:
                task.cancel()

    async def run_once(self) -> float:
        now = self._store.clock.now()
        return await (self._hand_over(now) if self._format else self._claim(now))

    @property
    def _format(self) -> object | None:
        """What the store needs to hand over by itself, where it can."""
        return None if self._host is None else self._layer.format

    def _seconds_until(self, due: int | None, now: int) -> float:
        """Until then, or until a backlog is looked at."""
        instants = [at for at in (due, self._pacing.next_at(now)) if at is not None]
        return min([LOOK_SECONDS, *map(self._store.clock.seconds_until, instants)])

    # -- taking -------------------------------------------------------------------------------------------

    async def _hand_over(self, now: int) -> float:
        """The store does it, and claims what takes more."""
        work = await self._store.hand_over(self._format, now, BATCH, self._lease, self._to_look_at(now))
        for name, number in work.backlogs.items():
            if number == 0 or name not in self._pacing:
                emit(CHANNEL_FULL, of=name, target=name)
        self._pacing.learn(work.backlogs, now)
        count(HANDED_OVER, work.handed)
        returned = await self._deliver(work.claims, now)
        for name, number in work.backlogs.items():
            if number >= 0:
                self._pacing.went_out(name, number - returned[name], now)
        return 0 if work.claims else self._seconds_until(work.next_due, now)

    async def _claim(self, now: int) -> float:
        """As `_hand_over`, where the store can only claim."""
        if not 0 <= now - self._looked_at < LOOK_SECONDS * 1000:
            self._pacing.learn(await self._store.backlogs(), now)
            self._looked_at = now
        claims: list[Claim] = []
        taken: dict[str, int] = {}
        for name in self._to_look_at(now):
            room = BATCH // 2 - len(claims)  # the other half is for what is newly due
            if room <= 0:
                break
            found = await self._store.claim_backlog(name, now, min(self._pacing.window(name), room), self._lease)
            if found:
                taken[name] = len(found)
                claims += found
            else:
                self._pacing.drop(name)
        claims += await self._store.claim(now, BATCH - len(claims), self._lease, full=self._pacing.names)
        returned = await self._deliver(claims, now)
        for name, number in taken.items():
            self._pacing.went_out(name, number - returned[name], now)
        if claims:
            return 0
        due = await self._store.next_due()
        return LOCKED_SECONDS if due is not None and due <= now else self._seconds_until(due, now)

    def _to_look_at(self, now: int) -> list[str]:
        """The backlogs whose time has come; not those of a lane that is slow, which would only come back."""
        names = self._pacing.due(now)[:LOOKS]
        slow = set().union(*self._slow_backlogs.values())
        for name in slow.intersection(names):
            self._pacing.went_out(name, 0, now)
        return [name for name in names if name not in slow]

    # -- delivering ---------------------------------------------------------------------------------------

    async def _deliver(self, claims: Sequence[Claim], now: int) -> Counter[str]:
        """Deliver what can go out, decide what becomes of each claim, settle all; how many went into each backlog."""
        settlement = Settlement()
        lanes: dict[Hashable, Batch] = {}
        for claim in claims:
            delivery = self._delivery(claim, now, settlement)
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

    def _delivery(self, claim: Claim, now: int, settlement: Settlement) -> Delivery | None:
        """What to put on the target; None where it shall not go out, and the settlement says what becomes of it."""
        message = claim.message
        if message.expires is not None and message.expires < now:
            emit(EXPIRED, id=message.id, target=message.target.name)
            settlement.done.append(claim)
        elif message.retry and message.attempt >= message.retry.max_attempts:
            settlement.dead.append((claim, f"out of attempts: {message.attempt} without an ack"))
        else:
            try:
                return Delivery(message.target, message.content(self._layer.unseal))
            except Exception as error:  # noqa: BLE001  a raw writer can put anything into a store
                settlement.dead.append((claim, f"its content does not unpack ({type(error).__name__})"))
        return None

    def _lane(self, target: Target) -> Hashable:
        is_here = self._host is not None and target.kind == "channel"
        if is_here and self._layer.host_of(target) in (None, self._host):
            return HERE
        return self._layer.lane(target)

    async def _deliver_lanes(
        self, lanes: Mapping[Hashable, Batch], now: int, settlement: Settlement
    ) -> BaseException | None:
        """Side by side; a lane that is not done soon is left to itself. Nothing goes out once the claims run out.

        Returns the error of the store's own lane, where it had one: its claims run out.
        """
        until = ticks() + (now + self._lease - self._store.clock.now()) * NANOSECONDS_PER_MS
        tasks = {lane: asyncio.create_task(self._outcomes(lane, batch, now, until)) for lane, batch in lanes.items()}
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
            emit(LOOP_FAILED, of=self.name, error=error, loop=self.name, seconds=self._lease / 1000)
        finally:
            del self._slow[lane], self._slow_backlogs[lane]
            self.wake()

    async def _outcomes(self, lane: Hashable, batch: Batch, now: int, until: int) -> list[Outcome | Settled]:
        if lane == HERE:
            return await self._hand_over_claims(batch, now)
        try:
            return [*await self._layer.deliver(lane, [delivery for _, delivery in batch], until)]
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
        answers = await self._store.hand_over_claims([parcel for _, parcel in parcels], self._layer.expiry)
        for (position, _), there in zip(parcels, answers, strict=True):
            if there is False:
                outcomes[position] = Full()
        count(HANDED_OVER, sum(there is True for there in answers))
        return outcomes

    # -- settling -----------------------------------------------------------------------------------------

    def _decide(self, batch: Batch, outcomes: Sequence[Outcome | Settled], now: int, settlement: Settlement) -> None:
        for (claim, _), outcome in zip(batch, outcomes, strict=True):
            match outcome:
                case Settled() | Late():
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
        for pile, spend in ((settlement.later, False), (settlement.spent, True)):
            if pile:
                await self._store.postpone([claim for claim, _ in pile], [due for _, due in pile], spend=spend)
        if settlement.behind:
            await self._store.hold_back(*zip(*settlement.behind, strict=True))
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
