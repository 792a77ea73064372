"""``delays schedules``: which there are and how they stand; enable, disable, remove, run-now."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from delayserver import overseeing
from delayserver.content import unpack
from delayserver.occurrences import Pause, Rule
from delayserver.overseeing import Overseen
from delayserver.recurrence import Cron
from delayserver.schedules import read_fixed
from delayserver.stores.database_schedules import ScheduleRows
from delayserver.zones import zone_of

from . import terminal
from .contents import jsonable
from .desk import Desk
from .listing import Options
from .terminal import Column, counted, local, number, printable, relative

COLUMNS = (
    Column("NAME", least=12),
    Column("RHYTHM", least=10),
    Column("TARGET", least=8, optional=True),
    Column("STATE"),
    Column("LAST", optional=True),
    Column("NEXT"),
    Column("RUNS", right=True, optional=True),
    Column("SKIPPED", right=True, optional=True),
    Column("FROM"),
)
EMPTY = (
    "No schedules. Add one: delays schedules add NAME --cron '0 3 * * *' --channel CHANNEL --message '{\"type\": ...}'"
)
MS = timedelta(milliseconds=1)


class Seen(NamedTuple):
    """A schedule, and the note on its pause."""

    one: Overseen
    pause: Pause | None


async def see(names: list[str]) -> list[Seen]:
    """The schedules of these names, or all, by name."""
    found = await overseeing.oversee(names)
    pauses = await ScheduleRows().pauses() if any(map(_is_disabled_row, found)) else {}
    return [Seen(one, _pause(one, pauses)) for one in found]


def _is_disabled_row(one: Overseen) -> bool:
    return one.rule is not None and one.rule.source == "row" and not one.rule.enabled


def _pause(one: Overseen, pauses: Mapping[str, Pause]) -> Pause | None:
    if _is_disabled_row(one):
        return pauses.get(one.name)
    return one.cursor.paused if one.cursor is not None else None


# -- list ----------------------------------------------------------------------------------------------------


def schedules(desk: Desk, options: Options) -> None:
    """All schedules, or those that are named."""
    names = list(dict.fromkeys(options.get("words") or ()))
    found = desk.ask(see, names)
    now = found[0].one.now if found else desk.now
    missing = sorted({*names} - {seen.one.name for seen in found})
    desk.tell(now=terminal.iso(now), schedules=[told(seen) for seen in found], not_found=missing)
    if found and not desk.as_json:
        desk.table(COLUMNS, [_row(seen.one) for seen in found])
        for seen in found:
            _say_notes(desk, seen)
    if missing:
        desk.refuse(f"there is no schedule {', '.join(missing)}")
    desk.say(f"{counted(len(found), 'schedule')}." if found else EMPTY)


def _row(one: Overseen) -> list[str]:
    rule = one.rule
    return [
        one.name,
        str(rule.recurrence) if rule else "",
        f"{'group ' * (rule.target.kind == 'group')}{rule.target.name}" if rule else "",
        one.state,
        "" if one.last is None else relative(one.last, one.now, "{} ago"),
        "" if one.next is None else relative(one.next, one.now, "now"),
        number(one.runs) if one.cursor else "",
        number(one.cursor.skipped) if one.cursor else "",
        rule.source if rule else "",
    ]


def _say_notes(desk: Desk, seen: Seen) -> None:
    """What the table has no room for: why it does not run, and what was left out."""
    one, pause = seen
    if one.fault is not None:
        desk.say(printable(f"{one.name} is broken: {one.fault}"))
    if one.clash is not None:
        desk.say(printable(f"{one.name} is there twice: {one.clash}"))
    if pause is not None:
        desk.say(printable(f"{one.name} is {one.state}{_note(pause, one.now)}"))


def _note(pause: Pause, now: int | None) -> str:
    by = f" by {pause.by}" if pause.by else ""
    when = f", {relative(pause.at, now, '{} ago')}" if pause.at and now is not None else ""
    return f"{by}{when}{f': {pause.why}' if pause.why else ''}"


def told(seen: Seen) -> dict[str, object]:
    """A schedule, for a program."""
    one, pause = seen
    return {
        "name": one.name,
        "state": one.state,
        **_told_rule(one.rule),
        "last": terminal.iso(one.last),
        "last_ms": one.last,
        "next": terminal.iso(one.next),
        "next_ms": one.next,
        "runs": one.runs,
        "skipped": one.cursor.skipped if one.cursor else 0,
        "paused": pause and {"by": pause.by, "why": pause.why, "at": terminal.iso(pause.at or None)},
        "fault": one.fault,
        "clash": one.clash,
    }


def _told_rule(rule: Rule | None) -> dict[str, object]:
    """What it says; all null where there is none."""
    cron = rule.recurrence if rule and isinstance(rule.recurrence, Cron) else None
    every = rule.recurrence if rule and not isinstance(rule.recurrence, Cron) else None
    return {
        "rhythm": rule and str(rule.recurrence),
        "reading": rule and rule.recurrence.reading,
        "cron": cron and cron.expression,
        "tz": cron and cron.tz,
        "dst": cron and cron.dst,
        "every_ms": every and every.interval // MS,
        "anchor": every and every.anchor and every.anchor.isoformat(),
        "channel": rule.target.name if rule and rule.target.kind == "channel" else None,
        "group": rule.target.name if rule and rule.target.kind == "group" else None,
        "message": rule and jsonable(unpack(rule.body)),
        "enabled": rule and rule.enabled,
        "catch_up": rule and rule.catch_up,
        "catch_up_window_ms": rule and rule.catch_up_window,
        "overlap": rule and rule.overlap,
        "jitter_ms": rule and rule.jitter,
        "starts": rule and terminal.iso(rule.starts),
        "ends": rule and terminal.iso(rule.ends),
        "max_runs": rule and rule.max_runs,
        "expires_ms": rule and rule.expires,
        "retry": rule and rule.retry and rule.retry.to_wire(),
        "from": rule and rule.source,
        "where": rule and rule.where,
    }


# -- steering ------------------------------------------------------------------------------------------------


def one_of(desk: Desk, name: str) -> Seen:
    """The schedule of this name; refused where there is none."""
    found = desk.ask(see, [name])
    if not found:
        desk.refuse(f"there is no schedule {name}")
    return found[0]


def disable(desk: Desk, options: Options) -> None:
    """Running -> stopped, with a note of who and why."""
    name = options["name"]
    done = desk.ask(overseeing.pause, name, options["by"] or _user(), options["why"])
    seen = one_of(desk, name)
    desk.tell(disabled=done, schedule=told(seen))
    how, now = ("Disabled", None) if done else ("It was disabled already", seen.one.now)
    desk.say(printable(f"{how}: {name}{_note(seen.pause, now) if seen.pause else ''}"))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # it has no name
        return f"uid {os.getuid()}"


def enable(desk: Desk, options: Options) -> None:
    """Stopped -> running, from now on."""
    name = options["name"]
    done = desk.ask(overseeing.resume, name)
    seen = one_of(desk, name)
    rule = seen.one.rule
    if rule is not None and not rule.enabled and rule.source != "row":
        desk.refuse(f"{name} is defined in {rule.where}, and disabled there: enable it there")
    desk.tell(enabled=done, schedule=told(seen))
    following = f", next {_when(seen.one, seen.one.next)}" if seen.one.next is not None else ""
    desk.say(printable(f"{'Enabled' if done else 'It was not disabled'}: {name}{following}"))


def _when(one: Overseen, at: int) -> str:
    zone = zone_of(one.rule.recurrence.tz) if one.rule and isinstance(one.rule.recurrence, Cron) else None
    return f"{relative(at, one.now, 'now')} ({local(at, zone)})"


def run_now(desk: Desk, options: Options) -> None:
    """One occurrence more; the rhythm goes on as it was."""
    receipt = desk.ask(overseeing.run_now, options["name"])
    desk.tell(id=receipt.id, due=terminal.iso(receipt.due), due_ms=receipt.due, created=receipt.created)
    desk.say(printable(f"Stored: {receipt.id}, due now. The rhythm goes on as it was."))


def remove(desk: Desk, options: Options) -> None:
    """A row -> gone, and with it what waits for it."""
    name = options["name"]
    if not desk.ask(_has_row, name):
        fixed = read_fixed()
        if name in fixed.rules:
            desk.refuse(f"{name} is defined in {fixed.rules[name].where}: remove it there, or disable it")
        if name in fixed.faults:
            desk.refuse(f"{name} is no row: {fixed.faults[name]}")
        desk.refuse(f"there is no schedule {name}")
    if not desk.confirm(printable(f"Remove the schedule {name}?")):
        return
    if not desk.ask(overseeing.remove, name):
        desk.refuse(f"there is no schedule {name} any more")
    desk.tell(removed=name)
    desk.say(printable(f"Removed: {name}"))


async def _has_row(name: str) -> bool:
    return any(row.name == name for row in await ScheduleRows().read())
