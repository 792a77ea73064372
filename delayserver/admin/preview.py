"""What a form says, while it is typed: its reading, the next times, and what is wrong at which field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import timezone

from ..occurrences import Cursor, Rule
from ..planning import next_after
from ..recurrence import Cron
from .form import ScheduleForm

TIMES = 5
_OF_TIMES = {"cron", "tz", "dst", "every", "anchor", "starts", "ends"}


def preview(form: ScheduleForm, now: int, cursor: Cursor | None = None) -> dict[str, Any]:
    """As JSON; `cursor` is how far the row has come that is edited."""
    told: dict[str, Any] = {"errors": form.errors.get_json_data(), "reading": "", "times": [], "note": ""}
    told["errors"] = {name: [error["message"] for error in errors] for name, errors in told["errors"].items()}
    if form.rule is not None and not _OF_TIMES & form.errors.keys():
        told |= times(form.rule, now, cursor)
    return told


def times(rule: Rule, now: int, cursor: Cursor | None = None) -> dict[str, Any]:
    """How it reads, and when it fires next."""
    began = cursor if cursor is not None and cursor.rhythm == rule.rhythm and not cursor.removed else None
    anchor = now if began is None else began.anchor  # a rhythm that is new counts from now
    recurrence = rule.recurrence
    zone: tzinfo = ZoneInfo(recurrence.tz) if isinstance(recurrence, Cron) else timezone.get_current_timezone()
    reading = recurrence.reading
    note = "" if reading or not isinstance(recurrence, Cron) else "This expression is more than one sentence can say."
    if not isinstance(recurrence, Cron) and recurrence.anchor is None and rule.starts is None and began is None:
        note = "As if it were saved now: an interval without an anchor counts from when a server first sees it."
    ran = 0 if began is None else began.ran(now)
    most = TIMES if rule.max_runs is None else min(TIMES, max(0, rule.max_runs - ran))
    found: list[dict[str, str]] = []
    before, at = _local(now, zone), now
    while len(found) < most and (instant := next_after(rule, anchor, at)) is not None:
        local, at = _local(instant, zone), instant
        found.append(_told(local, before))
        before = local
    if not found:
        note = "It never fires again."
    elif len(found) < TIMES:
        note = "And then it ends."
    return {"reading": reading, "zone": str(zone), "times": found, "note": note}


def _local(instant: int, zone: tzinfo) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=instant)).astimezone(zone)


def _told(at: datetime, before: datetime) -> dict[str, str]:
    offset, was = at.utcoffset() or timedelta(), before.utcoffset() or timedelta()
    time = at.strftime("%H:%M:%S" if not at.microsecond else "%H:%M:%S.%f")
    return {
        "day": f"{at:%a} {at.day} {at:%b %Y}",
        "time": time[:12],
        "offset": _offset(offset),
        "iso": at.isoformat(timespec="milliseconds"),
        "mark": _mark(offset - was),
    }


def _offset(offset: timedelta) -> str:
    seconds = round(offset.total_seconds())
    hours, rest = divmod(abs(seconds), 3600)
    text = f"UTC{'-' if seconds < 0 else '+'}{hours:02}:{rest // 60:02}"
    return f"{text}:{rest % 60:02}" if rest % 60 else text


def _mark(change: timedelta) -> str:
    if not change:
        return ""
    minutes = round(abs(change).total_seconds() / 60)
    much = f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
    return f"clocks go {'forward' if change > timedelta() else 'back'} {much} before it"
