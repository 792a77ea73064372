"""`Every` and `Cron`: at which instants a schedule fires.

Both are pure: `next_after` takes an instant and returns the first one strictly later. croniter finds the days; the
time of day and what happens when clocks change are decided here, as Debian's cron(8) does it.
"""

from __future__ import annotations

import copy
import functools
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter

from . import reading
from .content import shown
from .crontab import Fields, parse, tidy
from .errors import InvalidSchedule
from .zones import DAY, stretch_at, zone_of

MAX_INTERVAL = timedelta(days=100 * 365)
DST_POLICIES = ("debian", "wall")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_EARLIEST = (datetime(1900, 1, 1, tzinfo=UTC) - _EPOCH) // _MS
_LATEST = (datetime(9000, 1, 1, tzinfo=UTC) - _EPOCH) // _MS
_FOREVER = (datetime(9900, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
_PROBED = (datetime(2100, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)  # every zone has its last rule by then
_PATIENCE = 50 * 366 * DAY  # a 29 February that is a Sunday may be 40 years away
_MARGIN = 2 * DAY  # more than any clock was ever set by


@dataclass(frozen=True)
class Every:
    """At `anchor` and each whole number of intervals before and after it.

    interval
        whole milliseconds, from 1 ms to 100 years
    anchor
        an aware datetime, taken down to the whole millisecond; None counts from 1970, UTC, and in a schedule from when
        that began
    """

    interval: timedelta
    anchor: datetime | None = field(default=None, kw_only=True)
    _interval: int = field(init=False, repr=False, compare=False)  # in ms
    _anchor: int = field(init=False, repr=False, compare=False)  # in ms since the epoch

    def __post_init__(self) -> None:
        if not isinstance(self.interval, timedelta):
            number = isinstance(self.interval, int | float) and not isinstance(self.interval, bool)
            meant = f" (did you mean timedelta(seconds={shown(self.interval)})?)" if number else ""
            raise InvalidSchedule(f"expected interval to be a timedelta, got {shown(self.interval)}{meant}")
        if self.interval % _MS or not _MS <= self.interval <= MAX_INTERVAL:
            raise InvalidSchedule(
                f"expected interval to be whole milliseconds, from 1 ms to 100 years, got {shown(self.interval)}"
            )
        anchor = 0 if self.anchor is None else _ms("anchor", self.anchor)
        if not _EARLIEST <= anchor < _LATEST:
            raise InvalidSchedule(f"expected anchor to be from 1900 to 8999, got {shown(self.anchor)}", "anchor")
        if self.anchor is not None:
            object.__setattr__(self, "anchor", _EPOCH + anchor * _MS)
        object.__setattr__(self, "_interval", self.interval // _MS)
        object.__setattr__(self, "_anchor", anchor)

    @property
    def parts(self) -> list[Any]:
        """What it says, as plain values."""
        return ["every", self._interval, None if self.anchor is None else self._anchor]

    def next_after(self, instant: datetime) -> datetime:
        """The first instant of the grid strictly after `instant`, UTC."""
        return _EPOCH + self.next_ms(_ms("instant", instant)) * _MS

    def next_ms(self, after: int, anchor: int = 0) -> int:
        """As `next_after`, in milliseconds since the epoch; from `anchor` on where it has none of its own."""
        start = anchor if self.anchor is None else self._anchor
        return after + self._interval - (after - start) % self._interval

    @property
    def reading(self) -> str:
        """What it says, in English."""
        return reading.of_interval(self.interval)

    def __str__(self) -> str:
        return reading.short_interval(self.interval)


@dataclass(frozen=True, init=False)
class Cron:
    """When a cron expression says, by the clock on the wall of a time zone.

    expression
        five fields, or six with seconds last, as crontab(5) has them; or ``@hourly`` and friends
    tz
        an IANA name, or a ZoneInfo
    dst
        what to do when clocks change. ``"debian"``: a job with a fixed time of day (neither minute nor hour begins
        with ``*``) runs once where its time is skipped, right after the gap, and once where it comes twice, the first
        time; any other runs whenever the wall clock matches. ``"wall"``: every job runs whenever the wall clock
        matches, so not at all in a gap, and twice in an overlap

    If day of month or day of week begins with ``*``, a day must match both; if neither does, one is enough.
    """

    expression: str
    tz: str
    dst: str
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)
    _plan: _Plan = field(init=False, repr=False, compare=False)
    _once: bool = field(init=False, repr=False, compare=False)

    def __init__(self, expression: str, tz: str | ZoneInfo = "UTC", dst: str = "debian") -> None:
        if not isinstance(dst, str) or dst not in DST_POLICIES:
            raise InvalidSchedule(f'expected dst to be "debian" or "wall", got {shown(dst)}', "dst")
        expression = tidy(expression)
        plan = _plan(expression)
        zone = zone_of(tz)
        values: dict[str, object] = {"expression": expression, "tz": zone.key, "dst": dst}
        values |= {"_zone": zone, "_plan": plan, "_once": plan.fields.fixed and dst == "debian"}
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if not _fires(plan, zone, self._once):
            raise InvalidSchedule(f"{shown(expression)} never fires in {zone.key}: the clock always skips its times")

    @property
    def parts(self) -> list[Any]:
        """What it says, as plain values."""
        return ["cron", self.expression, self.tz, self.dst]

    def next_after(self, instant: datetime) -> datetime:
        """The first occurrence strictly after `instant`, in the time zone of this schedule.

        Python compares two times of one zone by the clock on the wall: where an hour comes twice, compare in UTC.
        """
        return (_EPOCH + self.next_ms(_ms("instant", instant)) * _MS).astimezone(self._zone)

    def next_ms(self, after: int, anchor: int = 0) -> int:
        """As `next_after`, in milliseconds since the epoch; an anchor is nothing to it."""
        if not _EARLIEST <= after < _LATEST:
            raise InvalidSchedule(f"expected an instant from 1900 to 8999, got {shown(after)} ms")
        second = _first(self._plan, self._zone, self._once, after // 1000 + 1, _FOREVER)
        assert second is not None  # as `_fires` has shown
        return second * 1000

    @property
    def reading(self) -> str:
        """What it says, in English; empty where that cannot be said rightly."""
        return reading.of_cron(self._plan.fields)

    def __str__(self) -> str:
        return f"{self.expression} {self.tz}"

    def __reduce__(self) -> tuple[type[Cron], tuple[str, str, str]]:
        return Cron, (self.expression, self.tz, self.dst)


Recurrence = Every | Cron


# -- clock changes -------------------------------------------------------------------------------------------


def _first(plan: _Plan, zone: ZoneInfo, once: bool, second: int, until: int) -> int | None:
    """The first occurrence from `second` on, in seconds since the epoch; None where there is none before `until`.

    `once` keeps a job from being skipped in a gap and from running twice in an overlap.
    """
    while second < until:
        start, end, offset, before = stretch_at(zone, second)
        wall = second + offset
        if once and second == start and plan.first(start + before) < wall:
            return second  # its time was skipped just now
        if once:
            wall = max(wall, start + before)  # until then the clock shows what it has shown already
        found = plan.first(wall)
        if found - offset < end:
            return found - offset
        # A far day is gone to directly, unless the next change may bring back a wall time from before `wall`.
        second = max(end, found - _MARGIN) if second + _MARGIN < end else end
    return None


@functools.lru_cache(maxsize=1024)
def _fires(plan: _Plan, zone: ZoneInfo, once: bool) -> bool:
    return _first(plan, zone, once, _PROBED, _PROBED + _PATIENCE) is not None


# -- wall times ----------------------------------------------------------------------------------------------


class _Plan:
    """The wall times of an expression, in seconds as if they were UTC."""

    def __init__(self, expression: str) -> None:
        self.fields = fields = parse(expression)
        self._seconds, self._minutes, self._hours = fields.seconds, fields.minutes, fields.hours
        self._start_of_day = (self._hours[0] * 60 + self._minutes[0]) * 60 + self._seconds[0]
        self._calendars = _calendars(fields)
        self._known: dict[int, int] = {}
        if self._calendars is None:
            raise InvalidSchedule(f"{shown(expression)} never fires: no such day ever comes")

    def first(self, wall: int) -> int:
        """The first matching wall time from `wall` on."""
        day, rest = divmod(wall, DAY)
        found = self._first_day(day)
        if found == day:
            time = self._first_time(rest)
            if time is not None:
                return day * DAY + time
            found = self._first_day(day + 1)
        return found * DAY + self._start_of_day

    def _first_time(self, rest: int) -> int | None:
        """The first matching time of day from `rest` on."""
        hour, rest = divmod(rest, 3600)
        minute, second = divmod(rest, 60)
        seconds, minutes, hours = self._seconds, self._minutes, self._hours
        at = bisect_left(seconds, second)
        if at == len(seconds):
            at, minute = 0, minute + 1
        second = seconds[at]
        at = bisect_left(minutes, minute)
        if at == len(minutes):
            at, minute, hour = 0, -1, hour + 1
        if minutes[at] != minute:
            minute, second = minutes[at], seconds[0]
        at = bisect_left(hours, hour)
        if at == len(hours):
            return None
        if hours[at] != hour:
            return hours[at] * 3600 + minutes[0] * 60 + seconds[0]
        return hour * 3600 + minute * 60 + second

    def _first_day(self, day: int) -> int:
        """The first matching day from `day` on, both as days since the epoch."""
        if not self._calendars:
            return day
        found = self._known.get(day)
        if found is None:
            if len(self._known) > 400:
                self._known.clear()
            found = min(_next_day(calendar, day) for calendar in self._calendars)
            self._known[day] = self._known[found] = found
        return found


@functools.lru_cache(maxsize=1024)
def _plan(expression: str) -> _Plan:
    return _Plan(expression)


def _calendars(fields: Fields) -> list[Any] | None:
    """One croniter for each way in which a day may match; none where every day does, None where no day ever does.

    croniter decides by rules of its own whether day of month and day of week are both wanted, so it is never asked.
    """
    days, months, weekdays = fields.days, fields.months, fields.weekdays
    if days == months == weekdays == "*":
        return []
    ways = [(days, weekdays)] if fields.both else [(days, "*"), ("*", weekdays)]
    calendars = [croniter(f"0 0 {day} {months} {weekday}", 0.0, day_or=False) for day, weekday in ways]
    return [calendar for calendar in calendars if _comes(calendar)] or None


def _comes(calendar: Any) -> bool:
    try:
        _next_day(calendar, 0)
    except CroniterError:  # after a search of 50 years; no day that comes is more than 40 away
        return False
    return True


def _next_day(calendar: Any, day: int) -> int:
    moving = copy.copy(calendar)  # get_next moves its croniter, which other threads use too
    return int(moving.get_next(float, start_time=float(day * DAY - 1))) // DAY


def _ms(name: str, instant: object) -> int:
    """An aware datetime in milliseconds since the epoch, taken down."""
    if not isinstance(instant, datetime) or instant.utcoffset() is None:
        raise InvalidSchedule(f"expected {name} to be an aware datetime, got {shown(instant)}", name)
    return (instant - _EPOCH) // _MS
