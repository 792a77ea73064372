"""``delays schedules add`` and ``edit``: schedules as rows."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError

from delayserver.occurrences import Cursor, Rule
from delayserver.overseeing import Overseen
from delayserver.reading import short_interval
from delayserver.recurrence import Cron, Every
from delayserver.rules import make_rule
from delayserver.schedules import Reading, Timetable
from delayserver.stores.database_schedules import PARTS, Row, ScheduleRows

from .desk import USAGE, Desk
from .explaining import display_zone, moment_text
from .forecast import LATEST, upcoming
from .listing import Options
from .schedules import Seen, one_of, told
from .sending import parsed
from .terminal import iso, printable

JSON_PARTS = ("message", "retry")
INSTEAD = {  # what goes when another comes
    "cron": ("every", "anchor"),
    "every": ("cron", "tz", "dst"),
    "channel": ("group",),
    "group": ("channel",),
}
SHOWN_TIMES = 3


def add(desk: Desk, options: Options) -> None:
    """Nowhere -> a row."""
    name, parts = options["name"], _given(desk, options)
    make_rule(name, parts, "row")
    reading, _ = desk.ask(_known, name)
    if where := _where(reading, name):
        desk.refuse(f"there is a schedule {name} already: {where}")
    try:
        desk.ask(functools.partial(ScheduleRows().save, name, parts, new=True))
    except IntegrityError:
        desk.refuse(f"there is a schedule {name} already: a row")
    seen = one_of(desk, name)
    desk.tell(added=name, schedule=told(seen), next_times=[iso(at) for at in times_of(seen.one, SHOWN_TIMES)])
    desk.say(printable(f"Added: {name}"))
    _say_times(desk, seen)


def edit(desk: Desk, options: Options) -> None:
    """A row -> the same with other parts."""
    name, given, cleared = options["name"], _given(desk, options), options["clear"] or []
    if not given and not cleared:
        desk.refuse("expected what to change, got no option", USAGE)
    if both := sorted(given.keys() & set(cleared)):
        desk.refuse(f"expected --{_flag(both[0])} or --no-{_flag(both[0])}, got both", USAGE)
    row = _row(desk, name)
    parts = {part: value for part, value in row.options.items() if part not in cleared}
    for part in given:
        for other in INSTEAD.get(part, ()):
            parts.pop(other, None)
    parts |= given
    make_rule(name, parts, "row")
    changed = [part for part in PARTS if not _same(row.options.get(part), parts.get(part))]
    if changed:
        desk.ask(ScheduleRows().save, name, {part: parts.get(part) for part in changed}, new=False)
    seen = one_of(desk, name)
    old = {part: _shown(row.options.get(part)) for part in changed}
    new = {part: _shown(parts.get(part)) for part in changed}
    desk.tell(
        changed={part: {"old": old[part], "new": new[part]} for part in changed},
        schedule=told(seen),
        next_times=[iso(at) for at in times_of(seen.one, SHOWN_TIMES)],
    )
    desk.say(printable(f"Changed: {name}" if changed else f"It was so already: {name}"))
    for part in changed:
        desk.say(printable(f"  {_flag(part)}: {old[part] or 'none'} -> {new[part] or 'none'}"))
    _say_times(desk, seen)


def _given(desk: Desk, options: Options) -> dict[str, Any]:
    """The parts that the command line has."""
    given = {part: options[part] for part in PARTS if options.get(part) is not None}
    for part in JSON_PARTS:
        if part in given:
            given[part] = parsed(desk, f"--{part}", given[part])
            try:
                json.dumps(given[part], allow_nan=False)
            except ValueError:
                desk.refuse(f"expected --{part} to be JSON, got a number that JSON does not have", USAGE)
            if given[part] is None:
                desk.refuse(f"expected --{part} to be a JSON object, got null", USAGE)
    return given


async def _known(name: str) -> tuple[Reading, Row | None]:
    reading = await Timetable().read()
    rows = [row for row in await ScheduleRows().read() if row.name == name]
    return reading, rows[0] if rows else None


def _where(reading: Reading, name: str) -> str | None:
    """Where a schedule is; None where there is none."""
    return reading.rules[name].where if name in reading.rules else reading.faults.get(name)


def _row(desk: Desk, name: str) -> Row:
    reading, row = desk.ask(_known, name)
    if name in reading.clashes or row is None:
        if where := _where(reading, name):
            desk.refuse(f"{name} is no row, and can be changed only where it is defined: {where}")
        desk.refuse(f"there is no schedule {name}")
    if row.fault is not None:
        desk.refuse(f"{row.fault}: mend it in the database, or remove it and add it again")
    return row


# -- for a person --------------------------------------------------------------------------------------------


def _same(old: object, new: object) -> bool:
    """As Python has it, but that True is not 1."""
    return old == new and (not isinstance(old, dict) or json.dumps(old) == json.dumps(new))


def _shown(value: object) -> str | None:
    match value:
        case None:
            return None
        case timedelta():
            return short_interval(value).removeprefix("every ")
        case datetime():
            return value.isoformat()
        case Mapping() | list():
            return json.dumps(value, ensure_ascii=False)
    return str(value)


def _flag(part: str) -> str:
    return part.replace("_", "-")


def times_of(one: Overseen, most: int) -> list[int]:
    """Its next occurrences; as they will be, where no server has seen it yet."""
    rule, first = one.rule, one.next
    if rule is None or first is None or first >= LATEST:
        return []
    cursor, left = _cursor(one, rule), most
    if rule.max_runs is not None:
        left = rule.max_runs - cursor.runs + (cursor.waiting is not None)
    return [first, *upcoming(rule, cursor.anchor, first, most)][: min(most, left)]


def _cursor(one: Overseen, rule: Rule) -> Cursor:
    if one.cursor is None or one.cursor.removed:
        return Cursor.begin(rule, one.now)
    return one.cursor if one.cursor.rhythm == rule.rhythm else Cursor.begin(rule, one.now, one.cursor)


def _say_times(desk: Desk, seen: Seen) -> None:
    rule, times = seen.one.rule, times_of(seen.one, SHOWN_TIMES)
    if rule is None:
        desk.say(printable(f"It is broken: {seen.one.fault}"))
        return
    recurrence = rule.recurrence
    if recurrence.reading:
        desk.say(recurrence.reading + (f" ({recurrence.tz})" if isinstance(recurrence, Cron) else ""))
    if not rule.enabled:
        desk.say("It is disabled.")
    elif times:
        is_floating = isinstance(recurrence, Every) and recurrence.anchor is None and rule.starts is None
        is_unseen = seen.one.state == "waiting" and is_floating
        desk.say("Next, counted from when a delay server sees it:" if is_unseen else "Next:")
        zone = display_zone(recurrence)
        for at in times:
            desk.say(f"  {moment_text(at, zone)}")
    else:
        desk.say("It has ended: there is no next time.")
