"""Time zones, as stretches of constant offset from UTC.

Within one stretch wall time is the instant plus the offset, so that what happens at a clock change is plain arithmetic
on whole seconds since the epoch.
"""

from __future__ import annotations

import difflib
import functools
import re
import zoneinfo
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from .content import shown
from .errors import InvalidSchedule

DAY = 86_400  # seconds

# What depends on the machine, or counts leap seconds, is no zone to keep a schedule in.
_NAME = re.compile(r"(?!right/|posix/|localtime$|posixrules$|Factory$)[A-Za-z][A-Za-z0-9_+/-]{0,79}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Stretch(NamedTuple):
    """Instants from `start` to before `end`, at which wall time is `offset` seconds ahead of UTC.

    `before` is the offset until `start`: a smaller one makes a gap there, a larger one an overlap.
    """

    start: int
    end: int
    offset: int
    before: int


def zone_of(name: object) -> ZoneInfo:
    """The zone of this IANA name, or `InvalidSchedule`."""
    if isinstance(name, ZoneInfo):
        name = name.key
    if not isinstance(name, str):
        raise InvalidSchedule(f"expected tz to be a time zone's name or a ZoneInfo with one, got {shown(name)}", "tz")
    if _NAME.fullmatch(name):
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):  # OSError: "Europe" is a directory
            pass
    close = difflib.get_close_matches(name[:80], _names(), n=3)
    meant = f" (did you mean {' or '.join(close)}?)" if close else ""
    raise InvalidSchedule(f"unknown time zone {shown(name)}{meant}", "tz")


def stretch_at(zone: ZoneInfo, second: int) -> Stretch:
    """The stretch that holds this instant; a year's end may cut it, and then both its sides have one offset."""
    stretches = _stretches(zone, (_EPOCH + timedelta(seconds=second)).year)
    return stretches[bisect_right(stretches, (second, _AFTER_ALL)) - 1]


@functools.lru_cache(maxsize=4096)
def _stretches(zone: ZoneInfo, year: int) -> tuple[Stretch, ...]:
    """The stretches of one year, UTC."""
    first, last = _new_year(year), _new_year(year + 1)
    before = _offset(zone, first - 1)
    start, offset = first, _offset(zone, first)
    found = []
    for probe in range(first + DAY, last + DAY, DAY):  # no zone changes there and back within a day
        probe = min(probe, last - 1)
        later = _offset(zone, probe)
        if later != offset:
            change = _change(zone, probe - DAY, probe)
            found.append(Stretch(start, change, offset, before))
            start, offset, before = change, later, offset
    found.append(Stretch(start, last, offset, before))
    return tuple(found)


def _change(zone: ZoneInfo, low: int, high: int) -> int:
    """The second at which the offset becomes that of `high`."""
    after = _offset(zone, high)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == after:
            high = middle
        else:
            low = middle
    return high


def _offset(zone: ZoneInfo, second: int) -> int:
    offset = datetime.fromtimestamp(second, zone).utcoffset()
    assert offset is not None
    return offset // timedelta(seconds=1)


def _new_year(year: int) -> int:
    return (datetime(year, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)


@functools.cache
def _names() -> list[str]:
    return sorted(zoneinfo.available_timezones())


_AFTER_ALL = float("inf")
