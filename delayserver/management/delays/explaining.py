"""``delays explain``: when an expression, an interval or a schedule fires, and what an outage leaves of that."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.utils import timezone

from delayserver.clock import SystemClock
from delayserver.errors import InvalidSchedule
from delayserver.events import OCCURRENCES_EXPIRED, OCCURRENCES_OVERLAPPED, OCCURRENCES_TOO_OLD, Event
from delayserver.loops.tick import GRACE_MS
from delayserver.message import Target, at_instant, milliseconds
from delayserver.occurrences import CatchUp, Cursor, Rule
from delayserver.recurrence import Cron, Every
from delayserver.zones import zone_of

from .desk import USAGE, Desk
from .forecast import MOST_MISSED, Note, Return, TooMany, notes, outage, upcoming
from .listing import Options
from .schedules import one_of
from .terminal import CUT, counted, number, printable, span
from .values import EPOCH

MS = timedelta(milliseconds=1)
SHOWN = 10  # occurrences of one policy, to a person
TOLD = 1_000  # and to a program
CATCH_UPS: tuple[CatchUp, ...] = ("one", "skip", "all")


class Subject(NamedTuple):
    """What is explained: `anchor` is what an interval counts from, `cursor` where a schedule that exists stands."""

    rule: Rule
    zone: ZoneInfo
    now: int
    anchor: int
    cursor: Cursor | None = None


def explain(desk: Desk, options: Options) -> None:
    """The next times; and with ``--down``, what an outage would leave out, run once, or repeat."""
    subject = _subject(desk, options)
    rule, zone = subject.rule, subject.zone
    start = subject.now if options["from_"] is None else _ms(options["from_"], zone)
    anchor = subject.anchor if subject.cursor is not None else start
    instants = upcoming(rule, anchor, start, _most(subject, options))
    noted = notes(rule.recurrence, start, instants)
    found = None
    if options["down"] is not None:
        down, up = (_ms(moment, zone) for moment in options["down"])
        found = _outage(desk, subject, down, up)
    _say_rule(desk, subject)
    _say_times(desk, subject, instants, noted)
    if found is not None:
        _say_outage(desk, subject, found)
    desk.tell(**_told(subject, instants, noted), outage=found and _told_outage(found, zone))


def _subject(desk: Desk, options: Options) -> Subject:
    given = [bool(options["words"]), options["every"] is not None, options["schedule"] is not None]
    if sum(given) != 1:
        got = "several" if any(given) else "none"
        desk.refuse(f"expected one of EXPRESSION, --every and --schedule, got {got}", USAGE)
    zone = None if options["tz"] is None else zone_of(options["tz"])
    dst, window = options["dst"], options["catch_up_window"]
    if dst is not None and not options["words"]:
        desk.refuse("expected --dst only beside EXPRESSION", USAGE)
    if options["schedule"] is not None:
        subject = _of_schedule(desk, options["schedule"], zone)
    else:
        recurrence: Cron | Every = (
            Cron(" ".join(options["words"]), zone or "UTC", dst or "debian")
            if options["words"]
            else Every(options["every"])
        )
        rule = Rule(name="explained", recurrence=recurrence, target=Target("channel", "explained"), body=b"")
        now = SystemClock().now()
        subject = Subject(rule, zone or display_zone(recurrence), now, now)
    if window is not None:
        subject = subject._replace(rule=replace(subject.rule, catch_up_window=milliseconds("catch_up_window", window)))
    return subject


def _of_schedule(desk: Desk, name: str, zone: ZoneInfo | None) -> Subject:
    one = one_of(desk, name).one
    if one.rule is None:
        raise InvalidSchedule(f"schedule {name} cannot be kept: {one.fault}")
    cursor = one.cursor
    if cursor is None or cursor.removed or cursor.rhythm != one.rule.rhythm:
        cursor = Cursor.begin(one.rule, one.now)
    return Subject(one.rule, zone or display_zone(one.rule.recurrence), one.now, cursor.anchor, cursor)


def _most(subject: Subject, options: Options) -> int:
    """So many as were asked for, or are left."""
    most: int = options["count"]
    rule, cursor = subject.rule, subject.cursor
    if rule.max_runs is None or cursor is None or options["from_"] is not None:
        return most
    ahead = cursor.waiting is not None and cursor.waiting > subject.now
    return min(most, max(0, rule.max_runs - cursor.runs + ahead))


def _ms(moment: datetime, zone: ZoneInfo) -> int:
    """An instant; one without offset is by the clock of `zone`."""
    aware = moment if moment.utcoffset() is not None else moment.replace(tzinfo=zone)
    return (aware - EPOCH) // MS


# -- times ---------------------------------------------------------------------------------------------------


def display_zone(recurrence: Cron | Every) -> ZoneInfo:
    """A cron's own; an interval has none, and so Django's."""
    return zone_of(recurrence.tz if isinstance(recurrence, Cron) else timezone.get_current_timezone())


def moment_text(at: int, zone: ZoneInfo) -> str:
    """As in ``Sun 2027-03-28 03:00:00 CEST +02:00``."""
    instant = at_instant(at).astimezone(zone)
    exact = "milliseconds" if at % 1_000 else "seconds"
    name, offset = instant.tzname() or "", instant.isoformat(timespec="seconds")[len("2027-03-28T03:00:00") :]
    abbreviation = f"{name} " if name.isalpha() else ""
    return f"{instant:%a} {instant.replace(tzinfo=None).isoformat(' ', exact)} {abbreviation}{offset}"


def _say_rule(desk: Desk, subject: Subject) -> None:
    rule = subject.rule
    desk.say(printable(f"{rule.recurrence}" if subject.cursor is None else f"{rule.name}: {rule.recurrence}"))
    if rule.recurrence.reading:
        desk.say(rule.recurrence.reading)
    if subject.cursor is None and isinstance(rule.recurrence, Every):
        desk.say("Counted from when the schedule begins; here from the instant that is asked about.")
    if rule.jitter:
        desk.say(f"Each goes out up to {span(rule.jitter)} later, by chance.")
    if not rule.enabled or (subject.cursor is not None and subject.cursor.paused):
        desk.say("It is disabled: these are the times that it would have.")


def _say_times(desk: Desk, subject: Subject, instants: list[int], noted: list[Note]) -> None:
    desk.say()
    at_instants = {note.at: note.text for note in noted if not note.leaves_out}
    between = [note for note in noted if note.leaves_out]
    for instant in instants:
        while between and between[0].at <= instant:
            note = between.pop(0)
            day = at_instant(note.at).astimezone(subject.zone)
            desk.say(f"    {day:%a} {day.date()}, {note.text}")
        text = at_instants.get(instant)
        desk.say(f"  {moment_text(instant, subject.zone)}" + (f"  {text}" if text else ""))
    if not instants:
        desk.say("  no next time: it has ended")


def _told(subject: Subject, instants: list[int], noted: list[Note]) -> dict[str, object]:
    rule, zone = subject.rule, subject.zone
    at_instants = {note.at: note.text for note in noted if not note.leaves_out}
    cron = rule.recurrence if isinstance(rule.recurrence, Cron) else None
    return {
        "rhythm": str(rule.recurrence),
        "reading": rule.recurrence.reading,
        "tz": zone.key,
        "dst": cron and cron.dst,
        "times": [{**_time(at, zone), "note": at_instants.get(at)} for at in instants],
        "left_out": [{**_time(note.at, zone), "note": note.text} for note in noted if note.leaves_out],
    }


def _time(at: int, zone: ZoneInfo) -> dict[str, object]:
    return {"at": at_instant(at).astimezone(zone).isoformat(), "at_ms": at}


# -- an outage -----------------------------------------------------------------------------------------------


class Outage(NamedTuple):
    """No server from `down` until `up`; what follows then by each policy, and the first regular occurrence after it."""

    down: int
    up: int
    returns: dict[CatchUp, Return]
    then: list[int]

    @property
    def missed(self) -> int:
        return len(self.returns["one"].sent) + self.returns["one"].skips


def _outage(desk: Desk, subject: Subject, down: int, up: int) -> Outage:
    if up <= down:
        desk.refuse("expected --down FROM/TO with FROM before TO, got the reverse", USAGE)
    rule, before = subject.rule, subject.cursor
    try:
        returns = {policy: outage(rule, policy, down, up, before) for policy in CATCH_UPS}
    except TooMany:
        desk.refuse(f"expected an outage with at most {number(MOST_MISSED)} occurrences, got more")
    then = upcoming(rule, down if before is None else subject.anchor, up - GRACE_MS, 1)
    return Outage(down, up, returns, then)


def _say_outage(desk: Desk, subject: Subject, found: Outage) -> None:
    zone = subject.zone
    desk.say()
    desk.say(f"Down from {moment_text(found.down, zone)}")
    desk.say(f"       to {moment_text(found.up, zone)}, {span(found.up - found.down)}:")
    desk.say(f"{counted(found.missed, 'occurrence')} missed{', and on return' * bool(found.missed)}")
    for policy, answer in found.returns.items():
        if found.missed:
            _say_policy(desk, subject, policy, answer)
    if found.then:
        desk.say(f"then regularly again: {moment_text(found.then[0], zone)}")


def _told_outage(found: Outage, zone: ZoneInfo) -> dict[str, object]:
    return {
        "down": _time(found.down, zone),
        "up": _time(found.up, zone),
        "missed": found.missed,
        "policies": {policy: _told_policy(answer, zone) for policy, answer in found.returns.items()},
        "then": _time(found.then[0], zone) if found.then else None,
    }


def _say_policy(desk: Desk, subject: Subject, policy: CatchUp, answer: Return) -> None:
    own = ", as this schedule has it" if subject.cursor is not None and subject.rule.catch_up == policy else ""
    skips = ", ".join(
        f"skips {number(skipped)}{_reason(event, subject.rule)}" for event, skipped in answer.reasons.items()
    )
    desk.say(
        f"  {policy:4}  sends {number(len(answer.sent)) if answer.sent else 'none'}{', ' * bool(skips)}{skips}{own}"
    )
    for at in answer.sent[:SHOWN]:
        desk.say(f"          scheduled for {moment_text(at, subject.zone)}")
    if len(answer.sent) > SHOWN:
        desk.say(f"          {CUT} and {number(len(answer.sent) - SHOWN)} more")


def _reason(event: Event, rule: Rule) -> str:
    if event is OCCURRENCES_TOO_OLD:
        return f" older than the catch-up window of {span(rule.catch_up_window)}"
    if event is OCCURRENCES_EXPIRED:
        return f" that would have expired after {span(rule.expires or 0)}"
    return " that must not overlap" if event is OCCURRENCES_OVERLAPPED else ""


def _told_policy(answer: Return, zone: ZoneInfo) -> dict[str, object]:
    return {
        "sends": len(answer.sent),
        "scheduled_for": [_time(at, zone) for at in answer.sent[:TOLD]],
        "skips": answer.skips,
        "skipped": {event.name: skipped for event, skipped in answer.reasons.items()},
    }
