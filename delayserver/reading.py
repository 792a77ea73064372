"""A recurrence in English: a short form for a column, and a sentence."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import timedelta

from .crontab import Fields

MAX_LENGTH = 240  # what is longer helps nobody

_UNITS = (("d", "day", 86_400_000), ("h", "hour", 3_600_000), ("min", "minute", 60_000), ("s", "second", 1_000))


def short_interval(interval: timedelta) -> str:
    """As in "every 1.5 s"."""
    number, unit, _ = _measured(interval)
    return f"every {number} {unit}"


def of_interval(interval: timedelta) -> str:
    """As in "Every 1.5 seconds"."""
    number, _, unit = _measured(interval)
    return f"Every {unit}" if number == "1" else f"Every {number} {unit}s"


def _measured(interval: timedelta) -> tuple[str, str, str]:
    """The number, the unit in short and in full: in the largest unit of which it is a whole number."""
    ms = interval // timedelta(milliseconds=1)
    if ms < 1000:
        return str(ms), "ms", "millisecond"
    for short, full, size in _UNITS:
        if ms % size == 0:
            return str(ms // size), short, full
    return f"{ms // 1000}.{ms % 1000:03}".rstrip("0"), "s", "second"


# -- cron ----------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1024)
def of_cron(fields: Fields) -> str:
    """As in "At 02:30, on day 1 of the month, or on Monday"; empty where it cannot be said rightly and shortly.

    cron-descriptor is given one part at a time, written so that it has nothing to guess: left alone it says "every 7
    minutes" of ``*/7``, and "or" of days that must match both.
    """
    days, weekdays = _days(fields.days), _weekdays(fields.weekdays)
    if days is None or weekdays is None:
        return ""
    if not fields.both and "*" in (days, weekdays):
        days = weekdays = "*"
    time = _time(fields)
    said = _describe(time, "*", "*", "*")
    day = _added(said, _describe(time, days, "*", "*"))
    month = _added(said, _describe(time, "*", _numbers(fields.months, 12), "*"))
    weekday = _added(said, _describe(time, "*", "*", weekdays))
    if not said or day is None or month is None or weekday is None:
        return ""
    if day and weekday:
        name = weekday.removeprefix(", ").removeprefix("only ").removeprefix("on ")
        weekday = f", if it falls on {name}" if fields.both else f", or on {name}"
    sentence = said + day + weekday + month
    return sentence if len(sentence) <= MAX_LENGTH else ""


def _describe(time: str, days: str, months: str, weekdays: str) -> str:
    from cron_descriptor import ExpressionDescriptor, FormatError, Options

    options = Options(locale_code="en_GB", use_24hour_time_format=True)
    try:
        return str(ExpressionDescriptor(f"{time} {days} {months} {weekdays}", options))
    except FormatError:
        return ""


def _added(said: str, more: str) -> str | None:
    return more.removeprefix(said) if more.startswith(said) else None


def _time(fields: Fields) -> str:
    """Seconds, minutes and hours, as cron-descriptor has them."""
    if len(fields.minutes) == len(fields.seconds) == 1:
        hours = _stepped(fields.hours, 24)
        if "," in hours:  # of one minute in the hour, "through" would say too much
            hours = ",".join(map(str, fields.hours))
    elif len(fields.hours) == 24:
        hours = "*"
    else:  # whole hours, from and to
        hours = ",".join(f"{run[0]}-{run[-1]}" for run in _runs(fields.hours))
    return f"{_stepped(fields.seconds, 60)} {_stepped(fields.minutes, 60)} {hours}"


def _stepped(numbers: Sequence[int], size: int) -> str:
    """``*``, or ``*/n`` where the same step leads on into the next round, or a list."""
    step = size // len(numbers)
    if len(numbers) > 2 and list(numbers) == list(range(0, size, step)):
        return "*" if step == 1 else f"*/{step}"
    return _listed(numbers)


def _days(text: str) -> str | None:
    if text == "l" or text.endswith("w"):
        return text.upper()
    return None if "l" in text else _numbers(text, 31)


def _weekdays(text: str) -> str | None:
    if "l" not in text and "#" not in text:
        return _numbers(text, 7)
    if "," in text:
        return None
    return f"{text[1:]}L" if text[0] == "l" else text


def _numbers(text: str, size: int) -> str:
    if text == "*":
        return text
    numbers = sorted(int(number) for number in text.split(","))
    return "*" if len(numbers) == size else _listed(numbers)


def _listed(numbers: Sequence[int]) -> str:
    """A list in which three or more neighbours are one range."""
    runs = _runs(numbers)
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs)


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs
