"""Schedules -> a store: put what comes next, move the cursor past it, sleep until that is due.

A schedule never sends: its occurrences are messages like any other, and dispatch hands them over. Any number of servers
may tick: the store lets one of them make each step, and tells the others where the cursor stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..clock import monotonic
from ..content import shown
from ..events import OCCURRENCE_PUT, SCHEDULE_BROKEN, SCHEDULE_CLASH, SCHEDULE_STARTED, count, emit
from ..layers.base import Layer
from ..message import at_instant
from ..occurrences import Cursor
from ..planning import Skipped
from ..rules import MAX_NAME_LENGTH
from ..schedules import Reading, Timetable
from ..stores.base import MAX_BATCH, MAX_PUT_BYTES, Store
from ..stores.moves import Move, Step
from .base import Failures, Loop
from .stepping import Proposal, Stepping

LOOK_SECONDS = 3.0  # how often rules and cursors are read: a change is obeyed within 5 s
GRACE_MS = 500  # what is no later than that is not missed: another server may be at it
GAP_MS = 8_000  # a server that has not looked for so long was none
CATCH_UP_SECONDS = 10.0  # how long dispatch waits until it is settled what was missed
AGAIN_MS = 60_000  # when to try again what went wrong with one schedule
REST = 3  # times as long as its step took a tick rests, so that dispatch, which has most to do then, is not held up
LATE_MS = 2_000  # unless it is so late,
FEW = 10  # or the step was of no more schedules
TURN_SECONDS = 0.005  # how long steps are worked out before others have their turn
BATCH = 200  # steps in one act
KEPT_MS = 7 * 86_400_000  # how long it is remembered that a schedule was removed


class Tick(Loop):
    """The schedules whose names are `ours`, in `store`. `home` is this process, where the layer is its own."""

    name = "tick"

    def __init__(
        self,
        store: Store,
        layer: Layer,
        timetable: Timetable,
        ours: Callable[[str], bool],
        home: str = "",
    ) -> None:
        super().__init__()
        self._store, self._layer, self._timetable, self._ours, self._home = store, layer, timetable, ours, home
        self._schedules: dict[str, Stepping] = {}
        self._agenda: list[tuple[int, str]] = []
        self._turn = asyncio.Lock()
        self._failures = Failures(f"{self.name}, before dispatch")
        self._since = 0  # what was due before: there was no server to send it
        self._known: tuple[Reading, Mapping[str, bytes]] | None = None  # what the last look has found
        self._caught_up = self._has_looked = False
        self._looked_at: int | None = None
        self._ran_at: int | None = None
        self._gave_up_at: int | None = None  # when dispatch did not wait any longer

    async def run_once(self) -> float:
        async with self._turn:
            return await self._run(self._store.clock.now())

    @property
    def wakes_at(self) -> int | None:
        """When the next step is to be made, where one is known."""
        return self._agenda[0][0] if self._agenda else None

    async def before_dispatch(self) -> None:
        """Settle what was missed, before what was put ahead of it goes out; but dispatch does not wait for long."""
        now = self._store.clock.now()
        if self._is_settled(now) or (self._gave_up_at is not None and abs(now - self._gave_up_at) <= GAP_MS):
            return
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS), self._turn:
                while not self._is_settled(self._store.clock.now()):
                    await self._run(self._store.clock.now())
                    await asyncio.sleep(0)  # a store in memory never waits
        except Exception as error:  # noqa: BLE001  what waits goes out all the same
            self._failures.failed(error)
            self._gave_up_at = now
        else:
            self._failures.succeeded()

    def _is_settled(self, now: int) -> bool:
        return self._caught_up and not self._was_away(now)

    def _was_away(self, now: int) -> bool:
        return self._ran_at is None or abs(now - self._ran_at) > GAP_MS

    async def _run(self, now: int) -> float:
        if self._was_away(now):
            self._since, self._caught_up, self._looked_at, self._known = now - GRACE_MS, False, None, None
        if self._looked_at is None or not 0 <= now - self._looked_at < LOOK_SECONDS * 1000:
            await self._look(now)
            self._looked_at = now
        started = monotonic()
        if schedules := self._next(now):
            await self._step(schedules, now)
        self._ran_at = now
        if schedules and self._agenda and self._agenda[0][0] <= now:
            can_wait = self._caught_up and len(schedules) > FEW and now - self._agenda[0][0] < LATE_MS
            return REST * (monotonic() - started) if can_wait else 0
        self._caught_up = True
        wakes = [self._looked_at + round(LOOK_SECONDS * 1000), *(wake for wake, _ in self._agenda[:1])]
        return self._store.clock.seconds_until(min(wakes))

    # -- what there is to know -------------------------------------------------------------------------------

    async def _look(self, now: int) -> None:
        """Read the rules and the cursors, and see what has changed."""
        reading, cursors = await self._timetable.read(), await self._store.cursors()
        for event, reasons in ((SCHEDULE_BROKEN, reading.faults), (SCHEDULE_CLASH, reading.clashes)):
            for name, reason in reasons.items():
                if self._ours(name):
                    emit(event, of=_said(name), name=_said(name), reason=reason)
        if (known := self._known) is not None and known[0] is reading and known[1] == cursors:
            return
        self._known = reading, cursors
        for name in reading.rules.keys() | reading.faults.keys() | cursors.keys() | self._schedules.keys():
            if self._ours(name):
                with self._alone(name, now):
                    self._see(name, reading, cursors.get(name), now)
        if not self._has_looked:
            await self._forget(cursors, now)
        self._has_looked = True

    def _see(self, name: str, reading: Reading, seen: bytes | None, now: int) -> None:
        rule, broken = reading.rules.get(name), name in reading.faults
        schedule = self._schedules.get(name)
        if schedule is None:
            if rule is None and not broken and (self._has_looked or not _may_remove(seen, reading)):
                return  # another project's, or removed
            schedule = self._schedules[name] = Stepping(name, self._layer.seal, self._home)
        elif rule is None and not broken and schedule.is_gone:
            del self._schedules[name]
            return
        elif schedule.rule is rule and (schedule.broken, schedule.seen) == (broken, seen) and self._caught_up:
            return
        schedule.obey(rule, broken=broken)
        if schedule.adopt(seen, now) and rule is not None and rule.enabled:
            emit(SCHEDULE_STARTED, name=_said(name), recurrence=rule.recurrence)
        self._note(schedule)

    async def _forget(self, cursors: Mapping[str, bytes], now: int) -> None:
        """What was removed long ago."""
        old = [Move(name, seen, None) for name, seen in cursors.items() if _was_removed(seen, now - KEPT_MS)]
        await self._store.put_occurrences(old[:BATCH])

    def _note(self, schedule: Stepping) -> None:
        if schedule.wake is not None:
            heapq.heappush(self._agenda, (schedule.wake, schedule.name))

    def _next(self, now: int) -> list[Stepping]:
        """The schedules that have something to do."""
        found: dict[str, Stepping] = {}
        while self._agenda and self._agenda[0][0] <= now and len(found) < BATCH:
            wake, name = heapq.heappop(self._agenda)
            schedule = self._schedules.get(name)
            if schedule is not None and schedule.wake == wake:  # else it is noted elsewhere by now
                found[name] = schedule
        return list(found.values())

    # -- stepping --------------------------------------------------------------------------------------------

    async def _step(self, schedules: Sequence[Stepping], now: int) -> None:
        proposals: list[tuple[Stepping, Proposal]] = []
        started = monotonic()
        try:
            for schedule in schedules:
                with self._alone(schedule.name, now):
                    if (proposal := schedule.propose(self._since, now)) is not None:
                        proposals.append((schedule, proposal))
                if monotonic() - started > TURN_SECONDS:
                    break
            for some in _batches(proposals):
                moved = await self._store.put_occurrences([proposal.move for _, proposal in some])
                for (schedule, proposal), outcome in zip(some, moved, strict=True):
                    with self._alone(schedule.name, now):
                        self._tell(schedule, proposal, schedule.settle(proposal, outcome, now), outcome.step)
        finally:
            for schedule in schedules:  # also those that are where they were
                self._note(schedule)

    @contextlib.contextmanager
    def _alone(self, name: str, now: int) -> Iterator[None]:
        """Whatever goes wrong with one schedule holds up no other."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  see above
            emit(SCHEDULE_BROKEN, of=_said(name), name=_said(name), reason=f"{type(error).__name__}: {error}")
            if (schedule := self._schedules.get(name)) is not None:
                schedule.wake = now + AGAIN_MS
                self._note(schedule)

    def _tell(self, schedule: Stepping, proposal: Proposal, skipped: Sequence[Skipped], step: Step) -> None:
        if step is Step.DONE:
            count(OCCURRENCE_PUT, len(proposal.move.put))
        for some in skipped:
            count(some.event, some.number - 1)  # and one for the line
            first, last = at_instant(some.first).isoformat(), at_instant(some.last).isoformat()
            emit(
                some.event,
                of=_said(schedule.name),
                name=_said(schedule.name),
                number=some.number,
                first=first,
                last=last,
            )


def _said(name: str) -> str:
    """A name for the log: a row may have any."""
    return name if name.isprintable() and len(name) <= MAX_NAME_LENGTH else shown(name)


def _may_remove(seen: bytes | None, reading: Reading) -> bool:
    """Whether a schedule without a rule had one before this server came; not where it may be among unread rows."""
    cursor = None if seen is None else Cursor.unpack(seen)
    return cursor is not None and cursor.removed is None and (cursor.source != "row" or reading.has_rows)


def _was_removed(seen: bytes, before: int) -> bool:
    cursor = Cursor.unpack(seen)
    return cursor is not None and cursor.removed is not None and cursor.removed < before


def _batches(proposals: Sequence[tuple[Stepping, Proposal]]) -> Iterator[list[tuple[Stepping, Proposal]]]:
    """As many steps in one act as there may be messages and bytes in one put."""
    some: list[tuple[Stepping, Proposal]] = []
    messages = size = 0
    for schedule, proposal in proposals:
        put = proposal.move.put
        messages, size = messages + len(put), size + sum(len(message.body) for message in put)
        if some and (messages > MAX_BATCH or size > MAX_PUT_BYTES):
            yield some
            some, messages, size = [], len(put), sum(len(message.body) for message in put)
        some.append((schedule, proposal))
    if some:
        yield some
