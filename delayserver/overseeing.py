"""Schedules as people see and steer them: how each stands, once more now, stopped for a while and let go again.

A row is stopped in its table, what is in code or settings in the store: either way every server obeys.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from typing import NamedTuple

from .conf import get_layer_settings, get_settings
from .errors import InvalidSchedule, StoreUnavailable
from .layers import get_layer
from .message import Occurrence, Receipt
from .occurrences import Cursor, Pause, Rule
from .planning import gone_out, next_after, taken_back
from .schedules import Reading, Timetable
from .stores import get_stores
from .stores.base import Store
from .stores.database_schedules import ScheduleRows
from .stores.moves import Move, Step

TRIES = 20  # each failure means that a server made a step meanwhile


class Overseen(NamedTuple):
    """How a schedule stands. Instants are milliseconds since the epoch.

    `fault` says why it does not run, where it is wrong, and `clash` which other of its name was left out. `cursor` is
    None until a server has seen it.
    """

    name: str
    rule: Rule | None
    fault: str | None
    clash: str | None
    cursor: Cursor | None
    now: int

    @property
    def state(self) -> str:
        """``broken``, ``disabled``, ``paused``, ``ended``, ``waiting`` for a server to see it, or ``running``."""
        if self.rule is None:
            return "broken"
        if not self.rule.enabled:
            return "disabled"
        if self.cursor is not None and self.cursor.paused is not None:
            return "paused"
        if self._is_ahead:
            return "waiting"
        return "running" if self.next is not None else "ended"

    @property
    def _is_ahead(self) -> bool:
        """Whether no server has seen the rule as it is."""
        rule, cursor = self.rule, self.cursor
        if rule is None or cursor is None:
            return True
        return cursor.removed is not None or cursor.rhythm != rule.rhythm or cursor.off is rule.enabled

    @property
    def last(self) -> int | None:
        """The last occurrence that is not ahead."""
        if self.cursor is None:
            return None
        newest = self.cursor.newest
        return newest if newest is not None and newest <= self.now else self.cursor.last

    @property
    def runs(self) -> int:
        """How many occurrences there were until now."""
        return 0 if self.cursor is None else self.cursor.ran(self.now)

    @property
    def next(self) -> int | None:
        """The next occurrence; as it will be, where no server has seen the schedule yet."""
        rule, cursor = self.rule, self.cursor
        if rule is None or not rule.enabled or (cursor is not None and cursor.paused is not None):
            return None
        if cursor is None or self._is_ahead:
            cursor = Cursor.begin(rule, self.now, cursor)
        if cursor.waiting is not None:
            return cursor.waiting
        if rule.max_runs is not None and cursor.runs >= rule.max_runs:
            return None
        return next_after(rule, cursor.anchor, cursor.at)


async def oversee(names: Collection[str] = (), reading: Reading | None = None) -> list[Overseen]:
    """How the schedules of these names stand, or all there are, by name; or those of a reading made before.

    Raises `StoreUnavailable`.
    """
    reading = reading or await Timetable().read()
    wanted = sorted(name for name in reading.rules.keys() | reading.faults.keys() if not names or name in names)
    cursors: dict[str, bytes] = {}
    for store in get_stores():
        cursors |= await store.cursors(wanted if names else ())
    now = (await get_stores()[0].aread_clock()).now()
    return [_overseen(name, reading, cursors.get(name), now) for name in wanted]


def _overseen(name: str, reading: Reading, seen: bytes | None, now: int) -> Overseen:
    cursor = None if seen is None else Cursor.unpack(seen)
    return Overseen(name, reading.rules.get(name), reading.faults.get(name), reading.clashes.get(name), cursor, now)


async def run_now(name: str) -> Receipt:
    """One occurrence more, at once, whose instant is the present; the rhythm goes on as it was."""
    return await run_rule_now(await _rule(name))


async def run_rule_now(rule: Rule) -> Receipt:
    """As `run_now`, of a rule that is at hand."""
    store = get_stores().choose(key=rule.name)
    now = (await store.aread_clock()).now()
    alias = get_settings().channel_layer
    message = rule.occurrence(now, get_layer(alias).seal, get_layer_settings(alias).home)
    message.due = now  # without jitter
    return (await store.aput([message]))[0]


async def pause(name: str, by: str, why: str) -> bool:
    """Stop it, and take away what waits; True unless it was stopped already. The note is kept."""
    rule, rows = await _rule(name), ScheduleRows()
    if rule.source == "row":
        return await rows.switch(name, on=False, by=by, why=why)

    def paused(cursor: Cursor, now: int) -> Cursor | None:
        if cursor.paused is not None:
            return None
        return taken_back(cursor)._replace(paused=Pause(by[:150], why[:500], now))

    return await _change(rule.name, paused, Cursor.begin(rule, 0))


async def resume(name: str) -> bool:
    """Let it go again, from now on; True unless it was not stopped."""
    rule, rows = await _rule(name), ScheduleRows()
    switched = rule.source == "row" and await rows.switch(name, on=True)

    def resumed(cursor: Cursor, now: int) -> Cursor | None:
        return None if cursor.paused is None else cursor._replace(paused=None, at=now, anchor=now)

    return await _change(rule.name, resumed, Cursor.begin(rule, 0)) or switched  # a row may have been in code before


async def remove(name: str) -> bool:
    """A row -> gone, and with it what waits; True if there was one."""
    if not await ScheduleRows().delete(name):
        return False

    def removed(cursor: Cursor, now: int) -> Cursor | None:
        return None if cursor.removed is not None else taken_back(cursor)._replace(removed=now)

    reading = await Timetable().read()
    if name not in reading.rules.keys() | reading.faults.keys():  # else code or settings have it, too
        with contextlib.suppress(StoreUnavailable):  # a server does it when it sees that the row is gone
            await _change(name, removed)
    return True


async def _rule(name: str) -> Rule:
    reading = await Timetable().read()
    if name in reading.faults:
        raise InvalidSchedule(f"schedule {name} cannot be kept: {reading.faults[name]}")
    if name not in reading.rules:
        raise InvalidSchedule(f"there is no schedule {name}")
    return reading.rules[name]


async def _change(name: str, change: Callable[[Cursor, int], Cursor | None], begun: Cursor | None = None) -> bool:
    """Move the cursor as `change` says, and take away what waits; False where there is nothing to change.

    `begun` is the cursor where no server has made one yet.
    """
    store: Store = get_stores().choose(key=name)
    went_out = False  # what waited, just now
    for _ in range(TRIES):
        now = (await store.aread_clock()).now()
        seen = (await store.cursors([name])).get(name)
        cursor = (None if seen is None else Cursor.unpack(seen)) or begun
        if cursor is not None and went_out:
            cursor = gone_out(cursor)
        if cursor is None or (then := change(cursor, now)) is None:
            return False
        take = () if cursor.waiting is None else (Occurrence(name, cursor.waiting).id,)
        (moved,) = await store.put_occurrences([Move(name, seen, then.pack(), take=take, sure=True)])
        if moved.step is Step.DONE:
            return True
        went_out = moved.step is Step.GONE
    raise StoreUnavailable(f"schedule {name} changes all the time; try again")
