"""What a schedule will do, without a store: its next instants, what becomes of them where clocks change, and what is
left of them by an outage. Instants are milliseconds since the epoch.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from delayserver.events import Event
from delayserver.loops.tick import GRACE_MS
from delayserver.occurrences import CatchUp, Cursor, Rule
from delayserver.planning import Skipped, next_after, plan, wake_at
from delayserver.recurrence import Cron
from delayserver.zones import Stretch, stretch_at, zone_of

MOST_MISSED = 100_000  # occurrences: a few seconds of work, and a day of seconds
MOST_CHANGES = 1_000  # clock changes that are looked at
MOST_NAMED = 3  # times of one clock change that are named
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = (datetime(9000, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)


class TooMany(Exception):
    """More occurrences than anybody would read about."""


def upcoming(rule: Rule, anchor: int, after: int, most: int) -> list[int]:
    """The occurrences after an instant, at most so many."""
    found: list[int] = []
    while len(found) < most and after < LATEST:
        instant = next_after(rule, anchor, after)
        if instant is None or instant >= LATEST:
            break
        found.append(instant)
        after = instant
    return found


# -- where clocks change -------------------------------------------------------------------------------------


class Note(NamedTuple):
    """What a clock change does to an occurrence; or, where it `leaves_out` some, at which instant."""

    at: int
    text: str
    leaves_out: bool = False


def notes(recurrence: object, after: int, instants: Sequence[int]) -> list[Note]:
    """What the clock changes from `after` until the last of `instants` do to them, and what they leave out."""
    if not isinstance(recurrence, Cron) or not instants:
        return []
    zone, found = zone_of(recurrence.tz), list[Note]()
    for change in itertools.islice(_changes(zone, after // 1000, instants[-1] // 1000 + 86_400), MOST_CHANGES):
        if change.offset > change.before:
            found += _at_gap(recurrence, change)
        else:
            found += _at_overlap(recurrence, change, instants)
    return [note for note in found if after < note.at <= instants[-1]]


def _changes(zone: ZoneInfo, start: int, end: int) -> Iterator[Stretch]:
    """The stretches that begin with a clock change, from `start` to `end`, both in seconds."""
    stretch = stretch_at(zone, start)
    while stretch.end <= end:
        stretch = stretch_at(zone, stretch.end)
        if stretch.offset != stretch.before:
            yield stretch


def _at_gap(cron: Cron, change: Stretch) -> Iterator[Note]:
    wall = _wall(cron)
    first, end = change.start + change.before, change.start + change.offset
    missing = list(_from(wall, first, end))
    if not missing:
        return
    named = ", ".join(_time(second) for second in missing[:MOST_NAMED])
    if len(missing) > MOST_NAMED:
        named += f" … and {len(missing) - MOST_NAMED} more"
    absent = f"{_told(change)}: {named} {'does' if len(missing) == 1 else 'do'} not exist"
    is_made_up = _comes(cron, change.start) and not _comes(wall, end)
    if is_made_up:
        yield Note(change.start * 1000, f"{absent}, runs at {_time(end)}")
    else:
        yield Note(change.start * 1000, f"{absent}, left out", leaves_out=True)


def _at_overlap(cron: Cron, change: Stretch, instants: Sequence[int]) -> Iterator[Note]:
    length = change.before - change.offset
    for instant in instants:
        second = instant // 1000
        if change.start - length <= second < change.start:
            both = _comes(cron, second + length)
            text = "runs both times, this is the first" if both else "runs the first time only"
        elif change.start <= second < change.start + length:
            text = "this is the second time"
        else:
            continue
        offset = change.before if second < change.start else change.offset
        yield Note(instant, f"{_told(change)}: {_time(second + offset)} comes twice, {text}")


def _wall(cron: Cron) -> Cron:
    """The same by a clock that never changes: its instants are the wall times, as if they were UTC."""
    return Cron(cron.expression, "UTC")


def _from(wall: Cron, second: int, end: int) -> Iterator[int]:
    while (second := wall.next_ms(second * 1000 - 1) // 1000) < end:
        yield second
        second += 1


def _comes(cron: Cron, second: int) -> bool:
    return cron.next_ms(second * 1000 - 1) == second * 1000


def _told(change: Stretch) -> str:
    before, after = change.start + change.before, change.start + change.offset
    way = "forward" if after > before else "back"
    if before // 86_400 != after // 86_400:
        return f"clock goes {way} {_day(before)} {_time(before)} -> {_day(after)} {_time(after)}"
    return f"clock goes {way} {_time(before)} -> {_time(after)}"


def _time(wall: int) -> str:
    moment = EPOCH + timedelta(seconds=wall)
    return f"{moment:%H:%M:%S}" if wall % 60 else f"{moment:%H:%M}"


def _day(wall: int) -> str:
    return f"{(EPOCH + timedelta(seconds=wall)).date()}"


# -- an outage -----------------------------------------------------------------------------------------------


class Return(NamedTuple):
    """What a server does about the occurrences that it finds missed: those it sends, and those it skips."""

    sent: list[int]
    skipped: list[Skipped]

    @property
    def skips(self) -> int:
        return sum(some.number for some in self.skipped)

    @property
    def reasons(self) -> Counter[Event]:
        """How many are skipped for which reason."""
        reasons = Counter[Event]()
        for some in self.skipped:
            reasons[some.event] += some.number
        return reasons


def outage(rule: Rule, catch_up: CatchUp, start: int, end: int, before: Cursor | None = None) -> Return:
    """No server from `start` until `end`: what the first one does then, step by step, as it would.

    `before` is where the schedule stands, for what an interval counts from and how many runs are left. Raises
    `TooMany`.
    """
    rule = replace(rule, catch_up=catch_up, enabled=True)
    cursor = Cursor.begin(rule, start, before)
    anchor = cursor.anchor if before is None else before.anchor
    cursor = cursor._replace(at=start - 1, anchor=anchor, paused=None)
    cursor = plan(rule, cursor, start - 1, start - 1).cursor  # what had been put ahead
    since, sent, skipped, number = end - GRACE_MS, list[int](), list[Skipped](), 0
    while (wake := wake_at(rule, cursor)) is not None and wake <= end:
        planned = plan(rule, cursor, since, end)
        if planned.cursor == cursor:
            break
        come = [instant for instant in planned.put if rule.due(instant) <= since]
        sent += come
        skipped += planned.skipped
        cursor = planned.cursor
        number += len(come) + sum(some.number for some in planned.skipped)
        if number > MOST_MISSED:
            raise TooMany
    return Return(sent, skipped)
