"""What the values on the command line of ``manage.py delays`` may be; `ArgumentTypeError` for any other."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from delayserver.message import MAX_KEY_LENGTH, MAX_NAME_LENGTH
from delayserver.stores.shelf import Spot

from . import cursor

UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
MAX_LIMIT = 1_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SPAN = re.compile(r"(-?)((?:[0-9]{1,12}(?:ms|[smhdw]))+)")
_PART = re.compile(r"(\d+)(ms|[smhdw])")
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")
_INTERVAL = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?(ms|min|[smhdw])")


class When(NamedTuple):
    """An instant, or a time from now: in milliseconds, since the epoch or since now."""

    ms: int
    from_now: bool

    def at(self, now: int) -> int:
        return now + self.ms if self.from_now else self.ms

    def as_option(self) -> int | datetime:
        """As `send_later` takes a delay or an instant."""
        return self.ms if self.from_now else EPOCH + timedelta(milliseconds=self.ms)


def span(text: str) -> int:
    """``10m``, ``1h30m``, ``-5m``: milliseconds."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"expected a number and one of {', '.join(UNITS)} (10m, 1h30m, 200ms), got {text!r}"
        )
    total = sum(int(number) * UNITS[unit] for number, unit in _PART.findall(found[2]))
    return -total if found[1] else total


def age(text: str) -> int:
    ms = span(text)
    if ms < 0:
        raise argparse.ArgumentTypeError(f"expected how long ago (7d), got {text!r}")
    return ms


def delay(text: str) -> int:
    """As `span`; a bare number is milliseconds, as on the wire."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else age(text)


def interval(text: str) -> timedelta:
    """As `span`, or one number with a point: ``1.5s``, ``1.5 s``, as an interval is told. A bare number is seconds, as
    in settings.
    """
    if _SECONDS.fullmatch(text):
        text += "s"
    if found := _INTERVAL.fullmatch(text):
        number, unit = Decimal(found[1]), UNITS[found[2].removesuffix("in")]
        try:
            return timedelta(microseconds=int(number * unit * 1_000))
        except OverflowError:
            raise argparse.ArgumentTypeError(f"expected at most 100 years, got {text!r}") from None
    try:
        return timedelta(milliseconds=age(text))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected seconds, or a number and one of {', '.join(UNITS)} (10m, 1h30m, 1.5s), got {text!r}"
        ) from None
    except OverflowError:
        raise argparse.ArgumentTypeError(f"expected at most 100 years, got {text!r}") from None


def moment(text: str) -> datetime:
    """An instant, or one without offset: by the clock of the time zone that is spoken of."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or not 1900 <= found.year < 9000:
        raise argparse.ArgumentTypeError(
            f"expected an ISO 8601 instant from 1900 to 8999 (2030-01-01T09:00, or with an offset), got {text!r}"
        )
    return found


def outage(text: str) -> tuple[datetime, datetime]:
    start, slash, end = text.partition("/")
    if not slash:
        raise argparse.ArgumentTypeError(f"expected two instants, FROM/TO, got {text!r}")
    return moment(start), moment(end)


def instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.utcoffset() is None:
        raise argparse.ArgumentTypeError(
            f"expected an ISO 8601 instant with offset (2030-01-01T09:00:00+02:00), got {text!r}"
        )
    return found


def when(text: str) -> When:
    if _SPAN.fullmatch(text):
        return When(span(text), True)
    try:
        return When((instant(text) - EPOCH) // timedelta(milliseconds=1), False)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            "expected an ISO 8601 instant with offset (2030-01-01T09:00:00+02:00) or a time from now"
            f" (10m, -5m, 1d), got {text!r}"
        ) from None


def limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {MAX_LIMIT}, got {text!r}")
    return int(text)


def spot(text: str) -> Spot:
    try:
        return cursor.read(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected what the last page told, got {text!r}") from None


def _word(most: int) -> Callable[[str], str]:
    def word(text: str) -> str:
        if not 0 < len(text) <= most or not text.isprintable():
            raise argparse.ArgumentTypeError(f"expected 1 to {most} printable characters, got {text[:60]!r}")
        return text

    return word


def _text(most: int) -> Callable[[str], str]:
    def text(given: str) -> str:
        if len(given) > most:
            raise argparse.ArgumentTypeError(f"expected at most {most} characters, got {len(given)}")
        return given

    return text


def count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more, got {text!r}")
    return int(text)


key = _word(MAX_KEY_LENGTH)
who, why = _text(150), _text(500)  # as the rows of schedules have room for
key_pattern, name_pattern = _word(MAX_KEY_LENGTH + 1), _word(MAX_NAME_LENGTH + 1)  # with an asterisk
