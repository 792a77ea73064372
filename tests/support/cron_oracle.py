"""What Debian's cron would do, the slow and obvious way: look at the clock on the wall every minute.

Written from cron(8) and crontab(5) of Debian, for the tests of `delayserver.recurrence` alone. It shares no code with
it and knows nothing of croniter. From the manuals:

- a day matches if day of month **or** day of week does, when neither begins with ``*``; else both must (crontab(5)
  warns of this);
- after the clock was set forward, jobs of the skipped interval are run immediately; after it was set back, jobs of the
  repeated interval are not run again. Only jobs at a particular time are affected, not those with ``*`` in the hour or
  minute. (cron(8) leaves changes of more than three hours alone; no zone here makes one.)

Beyond the manuals, as croniter has it: seconds, ``L``, ``L5``, ``15W``, ``fri#2``, ``a/n``, ``?``.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
NAMES = {
    "month": {name: number for number, name in enumerate(MONTHS, 1)},
    "weekday": {name: number for number, name in enumerate(WEEKDAYS)},
}
BOUNDS = {"second": (0, 59), "minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 7)}
SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class Oracle:
    """One expression, with the set of each field, and what matches."""

    def __init__(self, expression: str) -> None:
        texts = SHORT.get(expression.lower(), expression).lower().split()
        self.minute, self.hour, self.day, self.month, self.weekday = texts[:5]
        self.second = texts[5] if len(texts) == 6 else "0"
        self.minutes = numbers("minute", self.minute)
        self.hours = numbers("hour", self.hour)
        self.seconds = numbers("second", self.second)
        self.months = numbers("month", self.month)
        self.is_star = self.minute.startswith("*") or self.hour.startswith("*")
        self.step = SECOND if len(texts) == 6 else MINUTE
        self.on_day: Callable[[date], bool] = cache(self._on_day)

    def matches(self, wall: datetime) -> bool:
        """Whether the job is wanted at this reading of the wall clock."""
        return (
            wall.minute in self.minutes
            and wall.hour in self.hours
            and wall.second in self.seconds
            and self.on_day(wall.date())
        )

    def _on_day(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_day = any(_is_day(item, day) for item in self.day.split(","))
        by_weekday = any(_is_weekday(item, day) for item in self.weekday.split(","))
        if self.day[0] in "*?" or self.weekday[0] in "*?":
            return by_day and by_weekday
        return by_day or by_weekday

    def days(self, first: date, last: date) -> Iterator[date]:
        """The days from `first` to `last` on which the job runs at all."""
        while first <= last:
            if self.on_day(first):
                yield first
            first += timedelta(days=1)

    def fires(self, walls: list[tuple[datetime, datetime]], policy: str = "debian") -> list[datetime]:
        """The instants of `walls` at which the job runs.

        `walls` are instants with what the clock on the wall shows, one for each step (minute, or second). It must begin
        outside any gap or overlap.
        """
        if policy == "wall" or self.is_star:
            return [instant for instant, wall in walls if self.matches(wall)]
        fired = []
        seen = walls[0][1] - self.step  # how far the wall clock has come
        for instant, wall in walls:
            if wall <= seen:
                continue  # it shows again what it has shown already
            if self.matches(wall) or (wall - seen > self.step and self._skipped(seen, wall)):
                fired.append(instant)
            seen = wall
        return fired

    def _skipped(self, seen: datetime, wall: datetime) -> bool:
        """Whether the job was wanted at a reading that the wall clock left out between the two."""
        return any(self.matches(reading) for reading in _steps(seen + self.step, wall, self.step))


def walls(zone: str, start: datetime, end: datetime, step: timedelta = MINUTE) -> list[tuple[datetime, datetime]]:
    """Each instant from `start` to before `end`, with what the clock on the wall of the zone shows then."""
    place = ZoneInfo(zone)
    return [(instant, instant.astimezone(place).replace(tzinfo=None)) for instant in _steps(start, end, step)]


def changes(zone: str, first: int, last: int) -> list[datetime]:
    """The instants at which the zone's clocks change, to the half hour, in these years."""
    place = ZoneInfo(zone)
    found = []
    instant = datetime(first, 1, 1, tzinfo=UTC)
    offset = instant.astimezone(place).utcoffset()
    while instant.year <= last:
        instant += timedelta(minutes=30)
        now = instant.astimezone(place).utcoffset()
        if now != offset:
            found.append(instant)
            offset = now
    return found


def numbers(kind: str, text: str) -> set[int]:
    """The numbers that one field means."""
    low, high = BOUNDS[kind]
    found: set[int] = set()
    for item in text.split(","):
        body, _, step = item.partition("/")
        if body in ("*", "?"):
            first, last = low, high
        elif "-" in body:
            first, last = (_number(kind, end) for end in body.split("-"))
        else:
            first = _number(kind, body)
            last = high if step else first
        found.update(range(first, last + 1, int(step or 1)))
    return found


def _number(kind: str, text: str) -> int:
    if kind == "day" and text == "l":
        return 31
    return NAMES[kind][text] if kind in NAMES and text in NAMES[kind] else int(text)


def _is_day(item: str, day: date) -> bool:
    last = calendar.monthrange(day.year, day.month)[1]
    if item == "l":
        return day.day == last
    if "w" in item:
        return day == _working_day(day.replace(day=min(int(item.strip("w")), last)))
    return day.day in numbers("day", item)


def _working_day(wanted: date) -> date:
    """The Monday to Friday nearest to it in its month."""
    near = [wanted + timedelta(days=away) for away in (0, -1, 1, -2, 2)]
    return next(day for day in near if day.month == wanted.month and day.isoweekday() <= 5)


def _is_weekday(item: str, day: date) -> bool:
    weekday = day.isoweekday() % 7
    if item.startswith("l"):
        return weekday == int(item[1:]) % 7 and (day + timedelta(days=7)).month != day.month
    item, _, nth = item.partition("#")
    if nth and (day.day + 6) // 7 != int(nth):
        return False
    if "/" in item and item[:2] != "*/" and "-" not in item:  # a/n: a week ends on Saturday
        item = f"{item.partition('/')[0]}-6/{item.partition('/')[2]}"
    if item.startswith("*"):
        item = item.replace("*", "0-6")
    return weekday in {number % 7 for number in numbers("weekday", item)}


def _steps(start: datetime, end: datetime, step: timedelta) -> Iterator[datetime]:
    while start < end:
        yield start
        start += step
