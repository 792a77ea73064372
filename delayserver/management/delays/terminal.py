"""Text that a person likes to read in a terminal: tables, times, sizes. Nothing in it can steer the terminal."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from django.utils import timezone

GAP = "  "
CUT = "…"
UNITS = (  # from how many milliseconds on a span is told in which unit
    (2 * 365 * 86_400_000, 365 * 86_400_000, "years"),
    (2 * 86_400_000, 86_400_000, "d"),
    (2 * 3_600_000, 3_600_000, "h"),
    (2 * 60_000, 60_000, "min"),
    (1_000, 1_000, "s"),
    (0, 1, "ms"),
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def printable(text: str) -> str:
    """The text with what a terminal would obey, or not show, as JSON escapes it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


# -- numbers and times -------------------------------------------------------------------------------------


def number(n: int) -> str:
    return f"{n:,}".replace(",", " ")


def counted(n: int, one: str, many: str = "") -> str:
    """``1 message``, ``2 messages``."""
    return f"{number(n)} {one if n == 1 else many or one + 's'}"


def size(n: int) -> str:
    """Bytes: ``38 B``, ``12.3 kB``, ``1.0 MB``."""
    if n < 1_000:
        return f"{n} B"
    return f"{n / 1_000:.1f} kB" if n < 999_950 else f"{n / 1_000_000:.1f} MB"


def span(ms: int) -> str:
    """How long, in the one unit that tells it best: ``200 ms``, ``3 min``, ``26 h``."""
    _, unit, name = next(one for one in UNITS if ms >= one[0])
    return f"{number(round(ms / unit))} {name}"


def relative(at: int, now: int, past: str = "{} ago") -> str:
    """When something is, or was: ``in 3 min``, ``5 s ago``; both in milliseconds since the epoch."""
    return f"in {span(at - now)}" if at > now else past.format(span(now - at))


def local(at: int, zone: tzinfo | None = None) -> str:
    """An instant in a time zone, Django's if none is given, to the millisecond."""
    instant = _instant(at, zone or timezone.get_current_timezone())
    return f"{_to_the_ms(instant, ' ')} {instant:%Z}" if instant else f"{at} ms after 1970"


def iso(at: int | None) -> str | None:
    """An instant as ISO 8601 in UTC, to the millisecond; None for none, and for what no calendar has."""
    instant = None if at is None else _instant(at, UTC)
    return f"{_to_the_ms(instant, 'T')}Z" if instant else None


def _instant(at: int, zone: tzinfo) -> datetime | None:
    try:
        return (_EPOCH + timedelta(milliseconds=at)).astimezone(zone)
    except OverflowError:  # a raw writer can put anything there
        return None


def _to_the_ms(instant: datetime, between: str) -> str:
    return instant.replace(tzinfo=None).isoformat(between, "milliseconds")


# -- tables ------------------------------------------------------------------------------------------------


class Column(NamedTuple):
    """`right`: numbers. `least`: its cells may be cut to so many places, if it is not 0. `optional`: it goes where the
    table is too wide even so.
    """

    heading: str
    right: bool = False
    least: int = 0
    optional: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None = None) -> Iterator[str]:
    """The lines of a table, the head first, no wider than `width` where it can be. What is empty in all rows goes."""
    cells = [[printable(cell) for cell in row] for row in rows]
    kept = [n for n in range(len(columns)) if not cells or any(row[n] for row in cells)]
    widths = {n: max([len(columns[n].heading), *(width_of(row[n]) for row in cells)]) for n in kept}
    if width:
        widths = _fitted(columns, widths, width)
    for row in ([column.heading for column in columns], *cells):
        yield GAP.join(_cell(row[n], widths[n], columns[n].right) for n in widths).rstrip()


def _fitted(columns: Sequence[Column], widths: dict[int, int], width: int) -> dict[int, int]:
    """The widest of those that may be cut gives way, down to its least; then the last optional one goes."""
    fitted = dict(widths)
    while sum(fitted.values()) + len(GAP) * (len(fitted) - 1) > width:
        shrinking = [n for n in fitted if 0 < columns[n].least < fitted[n]]
        optional = [n for n in fitted if columns[n].optional]
        if shrinking:
            fitted[max(shrinking, key=fitted.__getitem__)] -= 1
        elif optional:
            return _fitted(columns, {n: widths[n] for n in fitted if n != optional[-1]}, width)
        else:
            break
    return fitted


def _cell(text: str, width: int, right: bool) -> str:
    text = cut(text, width)
    padding = " " * (width - width_of(text))
    return padding + text if right else text + padding


def width_of(text: str) -> int:
    """How many places it takes in a terminal."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Its beginning, in so many places."""
    if width_of(text) <= width:
        return text
    kept, left = "", width - 1
    for character in text:
        left -= _width(character)
        if left < 0:
            break
        kept += character
    return kept + CUT
