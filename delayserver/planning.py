"""What a schedule puts next, and what it leaves out: a pure function of its rule, its cursor and the time.

A schedule whose occurrences may overlap has its next one waiting in the store, so that it goes out as exactly as any
message. One that must not overlap with itself decides at the instant itself. Both go from one occurrence to the next:
the present only tells how far.

What was due before `since` was missed: no server was there to send it. What was missed is `catch_up`'s.
All instants are whole milliseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, takewhile
from typing import NamedTuple

from .events import OCCURRENCES_EXPIRED, OCCURRENCES_MISSED, OCCURRENCES_OVERLAPPED, OCCURRENCES_TOO_OLD, Event
from .occurrences import Cursor, Rule
from .recurrence import Every

MOST_AT_ONCE = 200  # occurrences of one schedule that one step puts or passes over
MOST_BYTES = 262_144  # and about how many bytes
MOST_PASSED = 1_000  # how many it only counts


class Skipped(NamedTuple):
    """Occurrences that are left out: the event that says why, how many, and the first and the last of them."""

    event: Event
    number: int
    first: int
    last: int


class Plan(NamedTuple):
    """One step: the occurrences to put, where the cursor stands then, and what is left out.

    With `take_back`, what was put ahead is to be taken back, for it was missed: first that, then a new plan.
    """

    cursor: Cursor
    put: tuple[int, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    take_back: bool = False


def next_after(rule: Rule, anchor: int, after: int) -> int | None:
    """The first occurrence after an instant; None where the rule has ended."""
    if rule.starts is not None:
        after, anchor = max(after, rule.starts - 1), rule.starts
    instant = rule.recurrence.next_ms(after, anchor)
    return None if rule.ends is not None and instant > rule.ends else instant


def wake_at(rule: Rule, cursor: Cursor) -> int | None:
    """When there is something to plan; None for never."""
    if cursor.paused or not rule.enabled or (_runs_left(rule, cursor) == 0 and cursor.waiting is None):
        return None
    if cursor.waiting is not None:
        return rule.due(cursor.waiting)
    following = next_after(rule, cursor.anchor, cursor.at)
    return cursor.at if following is not None and rule.overlap == "allow" else following


def plan(rule: Rule, cursor: Cursor, since: int, now: int) -> Plan:
    """What to do at `now`; `since` is since when there has been a server that looks."""
    if cursor.waiting is not None and rule.due(cursor.waiting) <= since:
        return Plan(taken_back(cursor), take_back=True)
    if cursor.waiting is not None and rule.due(cursor.waiting) > now:
        return Plan(cursor)
    if (passed := _pass_over(rule, cursor, since, now)) is not None:
        return Plan(gone_out(cursor)._replace(at=passed.last, skipped=cursor.skipped + passed.number), (), (passed,))
    come, more = _come(rule, cursor, now)
    put, skipped = _chosen(rule, come, more, since, now)
    at = come[-1] if come else cursor.at
    waiting = None
    if rule.overlap == "allow" and more is None and (ahead := next_after(rule, cursor.anchor, at)) is not None:
        put, at, waiting = [*put, ahead], ahead, ahead
    left = _runs_left(rule, cursor)
    if left is not None and len(put) > left:
        put, waiting = put[:left], None
    last = next((instant for instant in reversed(put) if instant != waiting), cursor.newest)
    return Plan(
        cursor._replace(
            at=at,
            waiting=waiting,
            last=last,
            runs=cursor.runs + len(put),
            skipped=cursor.skipped + sum(some.number for some in skipped),
        ),
        tuple(put),
        tuple(skipped),
    )


def taken_back(cursor: Cursor) -> Cursor:
    """As if what waits had not been put."""
    if cursor.waiting is None:
        return cursor
    return cursor._replace(at=cursor.waiting - 1, waiting=None, runs=cursor.runs - 1)


def gone_out(cursor: Cursor) -> Cursor:
    """As if nothing waited, for what did is on its way."""
    return cursor._replace(waiting=None, last=cursor.newest)


def held(rule: Rule, cursor: Cursor, planned: Plan) -> Plan:
    """What to do instead, where the occurrence before is not done: the newest waits for that, or none does."""
    (instant,) = planned.put
    if rule.overlap == "queue_one":
        at, skipped = instant - 1, planned.skipped
    else:
        at, skipped = planned.cursor.at, (*planned.skipped, _skip(OCCURRENCES_OVERLAPPED, [instant]))
    number = sum(some.number for some in skipped)
    return Plan(cursor._replace(at=at, skipped=cursor.skipped + number), (), skipped)


def _pass_over(rule: Rule, cursor: Cursor, since: int, now: int) -> Skipped | None:
    """The occurrences that `catch_up` surely leaves out, however many: all at once, or for cron some thousands."""
    until, event = since - rule.jitter, OCCURRENCES_MISSED
    if rule.catch_up == "all":
        until, event = min(until, now - rule.catch_up_window), OCCURRENCES_TOO_OLD
    first = next_after(rule, cursor.anchor, cursor.at)
    if first is None or first > until:
        return None
    if isinstance(rule.recurrence, Every):
        interval = rule.recurrence.next_ms(first, first) - first
        number = (min(until, until if rule.ends is None else rule.ends) - first) // interval + 1
        last = first + (number - 1) * interval
        if rule.catch_up == "one":
            number, last = number - 1, last - interval
        return Skipped(event, number, first, last) if number else None
    passed = list(takewhile(until.__ge__, islice(_from(rule, cursor.anchor, cursor.at), MOST_PASSED)))
    if rule.catch_up == "one":
        passed.pop()
    return _skip(event, passed) if passed else None


def _come(rule: Rule, cursor: Cursor, now: int) -> tuple[list[int], int | None]:
    """The occurrences until now, at most so many; and the next, where there are more."""
    come: list[int] = []
    most = min(MOST_AT_ONCE, 1 + MOST_BYTES // (len(rule.body) + 1))
    for instant in _from(rule, cursor.anchor, cursor.at):
        if instant > now:
            break
        if len(come) == most:
            return come, instant
        come.append(instant)
    return come, None


def _from(rule: Rule, anchor: int, after: int) -> Iterator[int]:
    instant: int | None = after
    while instant is not None and (instant := next_after(rule, anchor, instant)) is not None:
        yield instant


def _chosen(rule: Rule, come: list[int], more: int | None, since: int, now: int) -> tuple[list[int], list[Skipped]]:
    """Of what has come, what is sent, and what is not."""
    missed = [instant for instant in come if rule.due(instant) <= since]
    caught_up, skipped = _catch_up(rule, missed, since, now, more)
    put = sorted({*come} - {*missed} | {*caught_up})
    if rule.overlap != "allow" and len(put) > 1:
        skipped.append(_skip(OCCURRENCES_OVERLAPPED, put[:-1]))
        put = put[-1:]
    if rule.expires is not None and (expired := [one for one in put if rule.due(one) + rule.expires < now]):
        put = [one for one in put if one not in expired]
        skipped.append(_skip(OCCURRENCES_EXPIRED, expired))
    return put, skipped


def _catch_up(rule: Rule, missed: list[int], since: int, now: int, more: int | None) -> tuple[list[int], list[Skipped]]:
    """Of what was missed, what is sent all the same, and what is not; `more` is what comes after it."""
    if not missed:
        return [], []
    if rule.catch_up == "all":
        sent = [instant for instant in missed if instant > now - rule.catch_up_window]
        event = OCCURRENCES_TOO_OLD
    else:
        is_last = more is None or rule.due(more) > since
        sent = missed[-1:] if rule.catch_up == "one" and is_last else []
        event = OCCURRENCES_MISSED
    left_out = missed[: len(missed) - len(sent)]
    return sent, [_skip(event, left_out)] if left_out else []


def _runs_left(rule: Rule, cursor: Cursor) -> int | None:
    return None if rule.max_runs is None else max(0, rule.max_runs - cursor.runs)


def _skip(event: Event, instants: list[int]) -> Skipped:
    return Skipped(event, len(instants), instants[0], instants[-1])
