"""A cron expression: text to fields, or `InvalidSchedule`.

The dialect is that of Debian's crontab(5), with what croniter adds: seconds as a sixth field, ``a/n`` from `a` to the
field's end, and for days ``L`` (the month's last day), ``15W`` (the working day nearest to the 15th), ``fri#2`` (the
second Friday), ``L5`` (the last Friday), ``?`` (as ``*``). What the two read differently is written out as a list here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .content import shown
from .errors import InvalidSchedule

MAX_LENGTH = 1_000

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class _Field(NamedTuple):
    """What a field may hold: numbers from `low` to `high`, or names for them."""

    name: str
    low: int
    high: int
    names: dict[str, int]


_MINUTE = _Field("minute", 0, 59, {})
_HOUR = _Field("hour", 0, 23, {})
_DAY = _Field("day of month", 1, 31, {})
_MONTH = _Field("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)})
_WEEKDAY = _Field("day of week", 0, 7, {name: number for number, name in enumerate(_WEEKDAYS)})
_SECOND = _Field("second", 0, 59, {})
_FIELDS = (_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY, _SECOND)

_ITEM = re.compile(r"(?:\*|([a-z]+|\d+)(?:-([a-z]+|\d+))?)(?:/(\d+))?")
_HASHED = re.compile(r"([hr])(\(.*\))?(/\d+)?")
_NEAREST = re.compile(r"(\d+)w|w(\d+)")
_TO_LAST = re.compile(r"-l(?=/|$)")
_LAST_WEEKDAY = re.compile(r"l(\d)")
_NTH_WEEKDAY = re.compile(r"(.+)#(\d)")


class Fields(NamedTuple):
    """A cron expression, read.

    Times are the numbers that match. Days are written for croniter: ``*``, or a comma list of numbers and specials.
    `both` says that a day must match day of month and day of week, `fixed` that the job has a fixed time of day.
    """

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: str
    months: str
    weekdays: str
    both: bool
    fixed: bool


def tidy(expression: object) -> str:
    """The expression with one space between its fields, if it is text of a size worth reading."""
    if not isinstance(expression, str):
        raise InvalidSchedule(f"expected a cron expression to be a str, got {shown(expression)}")
    if len(expression) > MAX_LENGTH:
        raise InvalidSchedule(f"expected a cron expression of at most {MAX_LENGTH} characters, got {len(expression)}")
    odd = next((c for c in expression if not (" " <= c <= "~" or c == "\t")), None)
    if odd is not None:
        raise InvalidSchedule(f"expected a cron expression of printable ASCII, got {shown(odd)} in it")
    return " ".join(expression.split())


def parse(expression: str) -> Fields:
    """The fields of a tidy expression."""
    texts = _expand_alias(expression).lower().split(" ")
    if len(texts) not in (5, 6) or not texts[0]:
        count = len(texts) if texts[0] else 0
        raise InvalidSchedule(f"expected 5 fields, or 6 with seconds last, got {count}")
    minute, hour, day, month, weekday = texts[:5]
    for field, text in zip(_FIELDS, texts, strict=False):
        _refuse_chance(field, text)
    return Fields(
        seconds=_numbers(_SECOND, texts[5]) if len(texts) == 6 else (0,),
        minutes=_numbers(_MINUTE, minute),
        hours=_numbers(_HOUR, hour),
        days=_days(day),
        months=_written(_MONTH, month),
        weekdays=_weekdays(weekday),
        both=day[0] in "*?" or weekday[0] in "*?",
        fixed=minute[0] != "*" and hour[0] != "*",
    )


def _expand_alias(expression: str) -> str:
    if not expression.startswith("@"):
        return expression
    name = expression.lower()
    if name == "@reboot":
        raise InvalidSchedule(
            f"expected a time, got {shown(expression)}: a schedule is kept by many servers, and none is the boot"
        )
    if name not in _ALIASES:
        raise InvalidSchedule(f"expected one of {', '.join(_ALIASES)}, got {shown(expression)}")
    return _ALIASES[name]


def _refuse_chance(field: _Field, text: str) -> None:
    for item in text.split(","):
        hashed = _HASHED.fullmatch(item)
        if hashed:
            letter = hashed[1].upper()
            why = "chance would choose another time on each server" if letter == "R" else "there is no job to hash"
            raise InvalidSchedule(f"expected {field.name} without {letter!r}: {why}; got {shown(text)}")


def _days(text: str) -> str:
    if text in ("*", "?"):
        return "*"
    nearest = _NEAREST.fullmatch(text)
    if nearest:
        return f"{_value(_DAY, nearest[1] or nearest[2])}w"
    items: set[str] = set()
    for item in text.split(","):
        if item == "l":
            items.add(item)
        elif _NEAREST.fullmatch(item):
            raise InvalidSchedule(f"expected day of month with 'W' to be that alone, got {shown(text)}")
        else:
            items.update(map(str, _item(_DAY, _TO_LAST.sub("-31", item))))
    return ",".join(sorted(items))


def _weekdays(text: str) -> str:
    if text in ("*", "?"):
        return "*"
    plain: set[str] = set()
    special: set[str] = set()
    for item in text.split(","):
        if last := _LAST_WEEKDAY.fullmatch(item):
            special.add(f"l{_value(_WEEKDAY, last[1]) % 7}")
        elif nth := _NTH_WEEKDAY.fullmatch(item):
            if not 1 <= int(nth[2]) <= 5:
                raise InvalidSchedule(f"expected day of week's '#' to be followed by 1 to 5, got {shown(item)}")
            special.update(f"{number % 7}#{nth[2]}" for number in _item(_WEEKDAY, nth[1]))
        else:
            plain.update(str(number % 7) for number in _item(_WEEKDAY, item))
    if plain and special:
        raise InvalidSchedule(f"expected day of week not to mix plain days with '#' or 'L', got {shown(text)}")
    return ",".join(sorted(plain or special))


def _written(field: _Field, text: str) -> str:
    return "*" if text == "*" else ",".join(map(str, _numbers(field, text)))


def _numbers(field: _Field, text: str) -> tuple[int, ...]:
    """The numbers that match, in order."""
    return tuple(sorted({number for item in text.split(",") for number in _item(field, item)}))


def _item(field: _Field, item: str) -> range:
    """The numbers of one ``*``, ``a``, ``a-b``, ``a/n``, ``a-b/n`` or ``*/n``."""
    parts = _ITEM.fullmatch(item)
    if not parts:
        raise InvalidSchedule(f"expected {field.name} to be {_shape(field)}, got {shown(item)}")
    first, last, step = parts.groups()
    every = int(step) if step else 1
    if every == 0:
        raise InvalidSchedule(f"expected {field.name} to have a step of 1 or more, got {shown(item)}")
    top = 6 if field is _WEEKDAY else field.high
    if first is None:
        return range(field.low, top + 1, every)
    low = _value(field, first)
    if last is not None:
        high = _value(field, last)
    elif step:
        low, high = (0, top) if field is _WEEKDAY and low == 7 else (low, top)
    else:
        high = low
    if low > high:
        raise InvalidSchedule(
            f"expected {field.name} to be a range from low to high, got {shown(item)}{_unwrapped(field, parts)}"
        )
    return range(low, high + 1, every)


def _value(field: _Field, text: str) -> int:
    number = field.names.get(text)
    if number is None and text.isdigit():
        number = int(text)
    if number is None or not field.low <= number <= field.high:
        raise InvalidSchedule(f"expected {field.name} to be {_shape(field)}, got {shown(text)}")
    return number


def _shape(field: _Field) -> str:
    names = list(field.names)
    named = f" or {names[0]} to {names[-1]}" if names else ""
    return f"from {field.low} to {field.high}{named}"


def _unwrapped(field: _Field, parts: re.Match[str]) -> str:
    """How to write a range that goes past the field's end."""
    first, last, step = parts.groups()
    if step:
        return ""
    if field is _WEEKDAY and _value(field, last) == 0:
        return f" (write '{first}-7')"
    if field is _WEEKDAY and first == "7":
        return f" (write '0-{last}')"
    top = 6 if field is _WEEKDAY else field.high
    ends = [(first, str(top)), (str(field.low), last)]
    return f" (write '{','.join(a if _value(field, a) == _value(field, b) else f'{a}-{b}' for a, b in ends)}')"
