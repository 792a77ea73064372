"""What the list and the form show of a schedule, as HTML. All that comes from outside is escaped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ..models import Schedule
from ..recurrence import Cron
from .rows import Standing

NONE = "–"  # noqa: RUF001  as the admin has it
UNKNOWN = "unknown"
MOST_FAULT = 300  # characters
DAY = 86_400_000  # in ms: from here on the date says more than the time of day
_STATES = {
    "broken": "It cannot run as it is written.",
    "disabled": "It does not run until it is enabled.",
    "ended": "It has no occurrences any more.",
    "left out": "Its name is taken by another schedule, which runs.",
    "paused": "It was stopped by hand.",
    "running": "A server has seen it, and keeps it.",
    "unknown": "The store does not tell.",
    "waiting": "It runs as soon as a server has seen it.",
}
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


def rhythm(row: Schedule, standing: Standing) -> str | SafeString:
    """The reading, and beneath it the expression that it is of; or what is wrong."""
    rule = standing.rule
    if rule is None:
        written = format_html("<code>{}</code> {}", row.cron or row.every or "", row.tz)
        return format_html('{}<div class="delayserver-fault">{}</div>', written, fault(row, standing))
    recurrence = rule.recurrence
    if not isinstance(recurrence, Cron):
        return recurrence.reading
    code = format_html("<code>{}</code> {}", recurrence.expression, recurrence.tz)
    if not recurrence.reading:
        return code
    return format_html('{}<div class="delayserver-quiet">{}</div>', recurrence.reading, code)


def target(row: Schedule) -> str:
    return f"group {row.group}" if row.group else row.channel or NONE


def state(standing: Standing) -> SafeString:
    return format_html(
        '<span class="delayserver-state" data-state="{0}" title="{1}">{0}</span>',
        standing.state,
        _STATES.get(standing.state, ""),
    )


def fault(row: Schedule, standing: Standing) -> str:
    """Why it does not run, if it does not."""
    text = (standing.fault or "").removesuffix(f" (row {row.pk})")
    return text if len(text) <= MOST_FAULT else f"{text[:MOST_FAULT]}..."


def last(standing: Standing) -> str | SafeString:
    return _when(standing, standing.overseen.last)


def next_one(standing: Standing) -> str | SafeString:
    if standing.fault:
        return NONE
    if standing.trouble and standing.overseen.next is not None:
        return UNKNOWN
    return _when(standing, standing.overseen.next, known=True)


def runs(standing: Standing) -> str:
    overseen = standing.overseen
    return UNKNOWN if standing.trouble else "0" if overseen.clash else str(overseen.runs)


def skipped(standing: Standing) -> str:
    cursor = standing.overseen.cursor
    return UNKNOWN if standing.trouble else "0" if cursor is None or standing.overseen.clash else str(cursor.skipped)


def counts(standing: Standing) -> str | SafeString:
    """How many ran, and beneath it how many were skipped, if any were."""
    number, left_out = runs(standing), skipped(standing)
    if left_out in ("0", UNKNOWN):
        return number
    return format_html('{}<div class="delayserver-quiet">{} skipped</div>', number, left_out)


def paused(row: Schedule) -> str:
    if not row.paused_at:
        return NONE
    at = row.paused_at if timezone.is_naive(row.paused_at) else timezone.localtime(row.paused_at)
    return f"by {row.paused_by or 'nobody known'}, {at:%Y-%m-%d %H:%M:%S}: {row.paused_why or 'no reason given'}"


def _when(standing: Standing, instant: int | None, *, known: bool = False) -> str | SafeString:
    if standing.trouble and not known:
        return UNKNOWN
    if instant is None or standing.overseen.clash:
        return NONE
    at = timezone.localtime(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=instant))
    far = abs(instant - standing.overseen.now) > DAY
    return format_html(
        '{}<div class="delayserver-quiet"><time datetime="{}" title="{}">{}</time></div>',
        _relative(instant - standing.overseen.now),
        at.isoformat(),
        f"{at:%A %Y-%m-%d %H:%M:%S.%f %Z}",
        f"{at.day} {at:%b %Y}" if far else f"{at:%a %H:%M:%S}",
    )


def _relative(ms: int) -> str:
    size, unit = next(((size, unit) for size, unit in _UNITS if abs(ms) >= size), (1_000, "s"))
    count = abs(ms) // size
    if count == 0:
        return "now"
    return f"in {count} {unit}" if ms > 0 else f"{count} {unit} ago"
