"""What a schedule puts next, and what it leaves out: the pure function, by a clock that only the tests move."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delayserver import Retry
from delayserver.events import OCCURRENCES_MISSED, OCCURRENCES_OVERLAPPED, OCCURRENCES_TOO_OLD
from delayserver.message import Target
from delayserver.occurrences import Cursor, Pause, Rule
from delayserver.planning import Plan, held, next_after, plan, wake_at
from delayserver.recurrence import Cron, Every

HOUR = 3_600_000
NOON = 1_790_251_200_000  # 2026-09-24 12:00 UTC
LONG_AGO = 0
DAY = 24 * HOUR
_MS = timedelta(milliseconds=1)


def rule(**parts: Any) -> Rule:
    parts.setdefault("recurrence", Cron("0 * * * *"))
    return Rule(name="nightly", target=Target("channel", "reports"), body=b"\x80", **parts)


def through(one: Rule, cursor: Cursor, since: int, now: int) -> tuple[Cursor, list[int], list[tuple[str, int]]]:
    """All steps that there are to make at `now`: the cursor, what is put then or was ahead, what was left out."""
    put: list[int] = [] if cursor.waiting is None else [cursor.waiting]
    skipped: list[tuple[str, int]] = []
    for _ in range(100_000):
        wake = wake_at(one, cursor)
        if wake is None or wake > now:
            return cursor, put, skipped
        step = plan(one, cursor, since, now)
        put += step.put
        if step.take_back:
            put.remove(cursor.waiting)  # type: ignore[arg-type]
        skipped += [(some.event.name, some.number) for some in step.skipped]
        cursor = step.cursor
    raise AssertionError("it never came to rest")


def begun(one: Rule, now: int = NOON) -> Cursor:
    return plan(one, Cursor.begin(one, now), LONG_AGO, now).cursor


def test_the_next_occurrence_waits_ahead_of_its_time() -> None:
    cursor = begun(rule())
    assert (cursor.at, cursor.waiting, cursor.runs) == (NOON + HOUR, NOON + HOUR, 1)
    assert wake_at(rule(), cursor) == NOON + HOUR


def test_when_it_has_gone_out_the_one_after_it_waits() -> None:
    step = plan(rule(), begun(rule()), LONG_AGO, NOON + HOUR)
    assert step.put == (NOON + 2 * HOUR,)
    assert (step.cursor.waiting, step.cursor.last) == (NOON + 2 * HOUR, NOON + HOUR)
    assert not step.skipped


def test_a_server_that_is_late_puts_all_that_has_come() -> None:
    _, put, skipped = through(rule(), begun(rule()), LONG_AGO, NOON + 4 * HOUR)
    assert put == [NOON + n * HOUR for n in (1, 2, 3, 4, 5)]
    assert not skipped


@pytest.mark.parametrize(
    ("policy", "sent", "left_out"),
    [
        ("one", [3, 4], [("occurrences_missed", 2)]),
        ("skip", [4], [("occurrences_missed", 3)]),
        ("all", [1, 2, 3, 4], []),
    ],
)
def test_three_missed_hours(policy: Any, sent: list[int], left_out: list[tuple[str, int]]) -> None:
    """What was put ahead is taken back first: it was missed like the others."""
    one, now = rule(catch_up=policy), NOON + 3 * HOUR + 60_000
    cursor, put, skipped = through(one, begun(one), now, now)
    assert put == [NOON + n * HOUR for n in sent]
    assert skipped == left_out
    assert cursor.waiting == NOON + 4 * HOUR
    assert cursor.skipped == sum(number for _, number in left_out)
    assert cursor.runs == len(sent)


def test_what_was_missed_is_taken_back_before_anything_is_put() -> None:
    now = NOON + HOUR + 1
    step = plan(rule(), begun(rule()), now, now)
    assert step == Plan(begun(rule())._replace(at=NOON + HOUR - 1, waiting=None, runs=0), take_back=True)


def test_what_went_out_although_nobody_ticked_is_not_sent_again() -> None:
    one, now = rule(), NOON + 3 * HOUR + 1
    gone = begun(one)._replace(waiting=None, last=NOON + HOUR)  # the store did not have it any more
    _, put, skipped = through(one, gone, now, now)
    assert put == [NOON + 3 * HOUR, NOON + 4 * HOUR]
    assert skipped == [("occurrences_missed", 1)]


def test_no_older_ones_than_the_window() -> None:
    one, now = rule(catch_up="all", catch_up_window=2 * HOUR), NOON + 5 * HOUR + 1
    _, put, skipped = through(one, begun(one), now, now)
    assert put == [NOON + n * HOUR for n in (4, 5, 6)]
    assert skipped == [(OCCURRENCES_TOO_OLD.name, 3)]


def test_what_has_expired_is_not_caught_up() -> None:
    one, now = rule(catch_up="all", expires=HOUR // 2), NOON + 3 * HOUR + HOUR // 4
    cursor, put, skipped = through(one, begun(one), now, now)
    assert put == [NOON + 3 * HOUR, NOON + 4 * HOUR]
    assert skipped == [("occurrences_expired", 2)]
    assert (cursor.runs, cursor.skipped) == (2, 2)


@pytest.mark.parametrize("policy", ["one", "skip", "all"])
def test_a_long_outage_goes_in_steps(policy: Any) -> None:
    one = rule(recurrence=Every(HOUR // 3600 * _MS), catch_up=policy, catch_up_window=10 * HOUR)
    now = NOON + 2 * HOUR + 500
    cursor, put, skipped = through(one, begun(one), now, now)
    missed = 2 * 3600
    expected = {"one": 1, "skip": 0, "all": missed}[policy] + 1
    assert len(put) == expected and len(set(put)) == expected
    assert sum(number for _, number in skipped) == missed + 1 - expected
    assert cursor.waiting == NOON + 2 * HOUR + 1000


def test_a_step_is_bounded_in_bytes() -> None:
    one = Rule(
        name="large",
        recurrence=Cron("* * * * * *"),
        target=Target("channel", "reports"),
        body=b"x" * 1_000_000,
        catch_up="all",
    )
    step = plan(one, begun(one)._replace(waiting=None), LONG_AGO, NOON + HOUR)
    assert len(step.put) == 1


# -- overlap -------------------------------------------------------------------------------------------------


def test_what_must_not_overlap_is_decided_at_its_instant() -> None:
    one = rule(overlap="skip")
    cursor = Cursor.begin(one, NOON)
    assert wake_at(one, cursor) == NOON + HOUR
    step = plan(one, cursor, LONG_AGO, NOON + HOUR)
    assert step.put == (NOON + HOUR,)
    assert (step.cursor.at, step.cursor.waiting, step.cursor.last) == (NOON + HOUR, None, NOON + HOUR)


def test_those_that_come_together_would_overlap() -> None:
    one = rule(overlap="skip", catch_up="all")
    step = plan(one, Cursor.begin(one, NOON), NOON + 3 * HOUR, NOON + 3 * HOUR)
    assert step.put == (NOON + 3 * HOUR,)
    assert [(some.event, some.number) for some in step.skipped] == [(OCCURRENCES_OVERLAPPED, 2)]


def test_skip_leaves_out_what_finds_the_one_before() -> None:
    one = rule(overlap="skip")
    cursor = Cursor.begin(one, NOON)
    instead = held(one, cursor, plan(one, cursor, LONG_AGO, NOON + HOUR))
    assert instead.put == ()
    assert (instead.cursor.at, instead.cursor.skipped, instead.cursor.runs) == (NOON + HOUR, 1, 0)


def test_queue_one_lets_the_newest_wait() -> None:
    one = rule(overlap="queue_one")
    cursor = Cursor.begin(one, NOON)
    first = held(one, cursor, plan(one, cursor, LONG_AGO, NOON + HOUR))
    assert not first.skipped
    again = held(one, first.cursor, plan(one, first.cursor, LONG_AGO, NOON + 2 * HOUR))
    assert [(some.event, some.number, some.first) for some in again.skipped] == [
        (OCCURRENCES_OVERLAPPED, 1, NOON + HOUR)
    ]
    assert plan(one, again.cursor, LONG_AGO, NOON + 2 * HOUR + 1).put == (NOON + 2 * HOUR,)


# -- where a schedule begins and ends ------------------------------------------------------------------------


def test_starts_and_ends() -> None:
    one = rule(starts=NOON + 2 * HOUR, ends=NOON + 3 * HOUR)
    cursor, put, _ = through(one, Cursor.begin(one, NOON), LONG_AGO, NOON + 10 * HOUR)
    assert put == [NOON + 2 * HOUR, NOON + 3 * HOUR]
    assert wake_at(one, cursor) is None


def test_an_interval_without_an_anchor_counts_from_when_it_began_or_starts() -> None:
    every = Every(7 * 24 * HOUR * _MS)
    assert begun(rule(recurrence=every)).waiting == NOON + 7 * 24 * HOUR
    assert begun(rule(recurrence=every, starts=NOON + 5)).waiting == NOON + 5


@pytest.mark.parametrize("overlap", ["allow", "skip"])
def test_max_runs(overlap: Any) -> None:
    one = rule(max_runs=3, overlap=overlap)
    cursor = Cursor.begin(one, NOON)
    put: list[int] = []
    for minute in range(0, 600, 10):
        cursor, some, _ = through(one, cursor, LONG_AGO, NOON + minute * 60_000)
        put += some
    assert sorted({*put}) == [NOON + n * HOUR for n in (1, 2, 3)]
    assert wake_at(one, cursor) is None


def test_max_runs_counts_what_is_sent_not_what_was_taken_back() -> None:
    one, now = rule(max_runs=2, catch_up="skip"), NOON + 3 * HOUR + 1
    cursor, put, _ = through(one, begun(one), now, now)
    assert cursor.runs == 1
    cursor, put, _ = through(one, cursor, now, NOON + 9 * HOUR)
    assert cursor.runs == 2 and put == [NOON + 4 * HOUR, NOON + 5 * HOUR]


@pytest.mark.parametrize("change", [{"enabled": False}, {}])
def test_what_is_stopped_never_wakes(change: dict[str, Any]) -> None:
    one = rule(**change)
    cursor = Cursor.begin(one, NOON)._replace(paused=None if change else Pause("ann", "it hurts", NOON))
    assert wake_at(one, cursor) is None


def test_beginning_anew_keeps_what_was_but_not_what_was_ahead() -> None:
    before = begun(rule())._replace(runs=5, skipped=2, last=NOON - HOUR)
    off = Cursor.begin(rule(enabled=False), NOON + 1, before)
    assert (off.at, off.waiting, off.last, off.runs, off.skipped) == (NOON + 1, None, NOON - HOUR, 4, 2)
    other = Cursor.begin(rule(recurrence=Cron("30 * * * *")), NOON + 1, before)
    assert (other.at, other.waiting, other.last, other.runs, other.skipped) == (NOON + 1, None, NOON - HOUR, 0, 0)


@pytest.mark.parametrize("policy", ["one", "skip", "all"])
def test_a_month_of_an_interval_is_passed_over_at_once(policy: Any) -> None:
    one = rule(recurrence=Every(_MS), catch_up=policy, catch_up_window=10)
    now = NOON + 30 * 24 * HOUR
    steps, cursor = 0, begun(one)
    while (wake := wake_at(one, cursor)) is not None and wake <= now:
        cursor, steps = plan(one, cursor, now, now).cursor, steps + 1
    assert steps < 10
    assert cursor.waiting == now + 1
    assert cursor.skipped + cursor.runs == 30 * 24 * HOUR + 1


# -- jitter --------------------------------------------------------------------------------------------------


def test_jitter_is_chance_and_the_same_everywhere() -> None:
    one = rule(jitter=60_000)
    dues = [one.due(NOON + n * HOUR) - (NOON + n * HOUR) for n in range(200)]
    assert all(0 <= due <= 60_000 for due in dues)
    assert len(set(dues)) > 190 and max(dues) > 50_000 and min(dues) < 10_000
    assert dues == [rule(jitter=60_000).due(NOON + n * HOUR) - (NOON + n * HOUR) for n in range(200)]


def test_what_chance_holds_back_is_not_missed() -> None:
    one = rule(jitter=50 * 60_000)
    late = next(n for n in range(1, 100) if one.due(NOON + n * HOUR) > NOON + n * HOUR + 60_000)
    cursor = begun(one, NOON + (late - 1) * HOUR)
    now = NOON + late * HOUR + 60_000
    assert not plan(one, cursor, now, now).take_back


def test_an_occurrence_as_a_message() -> None:
    message = rule(expires=1_000).occurrence(NOON, home="here")
    assert (message.id, message.due, message.expires) == (f"schedule:nightly:{NOON}", NOON, NOON + 1_000)
    assert message.content()["__delay__"] == {
        "id": message.id,
        "attempt": 1,
        "due": NOON,
        "scheduled_for": NOON,
        "schedule": "nightly",
    }


# -- cursors -------------------------------------------------------------------------------------------------


def test_a_cursor_is_what_it_was_packed_from() -> None:
    cursor = begun(rule())._replace(paused=Pause("ann", "it hurts", NOON))
    assert Cursor.unpack(cursor.pack()) == cursor


@given(st.binary(max_size=200))
def test_bytes_that_are_no_cursor(raw: bytes) -> None:
    assert Cursor.unpack(raw) is None


@given(
    hours=st.lists(st.integers(1, 7 * 3_600_000), min_size=1, max_size=12),
    down=st.lists(st.booleans(), min_size=12, max_size=12),
    policy=st.sampled_from(["one", "skip", "all"]),
    overlap=st.sampled_from(["allow", "skip", "queue_one"]),
    minutes=st.sampled_from([1, 7, 60]),
)
def test_every_occurrence_is_sent_or_told_and_none_twice(
    hours: list[int], down: list[bool], policy: Any, overlap: Any, minutes: int
) -> None:
    """Whatever the gaps: each instant of the rhythm is put once, or is among those left out, or is still ahead."""
    one = rule(recurrence=Every(minutes * 60_000 * _MS), catch_up=policy, overlap=overlap)
    cursor, now = Cursor.begin(one, NOON), NOON
    start = since = NOON
    put: list[int] = []
    left_out = 0
    for step, was_down in zip(hours, down, strict=False):
        now += step
        since = now if was_down else since
        for _ in range(10_000):
            wake = wake_at(one, cursor)
            if wake is None or wake > now:
                break
            planned = plan(one, cursor, since, now)
            if planned.take_back:
                put.remove(cursor.waiting)  # type: ignore[arg-type]
            put += planned.put
            left_out += sum(some.number for some in planned.skipped)
            cursor = planned.cursor
    rhythm: list[int] = []
    instant = next_after(one, start, start)
    while instant is not None and instant <= max(now, cursor.at):
        rhythm.append(instant)
        instant = next_after(one, start, instant)
    assert len(put) == len(set(put))
    assert set(put) <= set(rhythm)
    assert len(put) + left_out == len(rhythm)
    assert put == sorted(put)


def test_what_is_missed_says_from_when_to_when() -> None:
    one, now = rule(catch_up="skip"), NOON + 3 * HOUR + 1
    back = plan(one, begun(one), now, now).cursor
    (some,) = plan(one, back, now, now).skipped
    assert some == (OCCURRENCES_MISSED, 3, NOON + HOUR, NOON + 3 * HOUR)


def test_digests_are_the_same_in_every_release() -> None:
    """They lie in stores: another digest begins every schedule of every project anew."""
    assert rule().rhythm.hex() == "c6c462c7818a47c7"
    assert rule(recurrence=Every(7 * DAY * _MS), retry=Retry(), jitter=5).message.hex() == "0efc7543bd4877dc"


def test_what_went_out_ahead_of_its_time_is_not_sent_again() -> None:
    """A user moved the one of 13:00 to noon, and then the schedule was switched off and on."""
    before = begun(rule())._replace(waiting=None, last=NOON + HOUR)
    assert plan(rule(), Cursor.begin(rule(), NOON + 1, before), LONG_AGO, NOON + 1).put == (NOON + 2 * HOUR,)
    far = before._replace(last=NOON + 1_000 * HOUR)  # a clock was set back: no reason to be silent
    assert plan(rule(), Cursor.begin(rule(), NOON + 1, far), LONG_AGO, NOON + 1).put == (NOON + HOUR,)
