"""At which instants `Every` and `Cron` fire: against an oracle, against Debian's manual, and as properties."""

from __future__ import annotations

import copy
import functools
import pickle
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import hypothesis
import pytest
from hypothesis import strategies as st

from delayserver import Cron, Every, InvalidSchedule
from tests.support.cron_oracle import SECOND, Oracle, changes, walls

MS = timedelta(milliseconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

CHANGING = ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Cairo"]
STEADY = ["UTC", "Asia/Kathmandu"]
ZONES = CHANGING + STEADY


def _listed(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.split("|")]


# Minute and hour: on and around each zone's gaps and overlaps, and away from them.
FIXED_TIMES = _listed("""
    0 0 | 0 1 | 0 2 | 0 3 | 0 4 | 0 12 | 0 22 | 0 23 | 1 0 | 1 1 | 1 2 | 1 3 | 5 0 | 15 1 | 15 2 | 15 3 | 29 2 |
    30 0 | 30 1 | 30 2 | 30 3 | 30 23 | 31 1 | 31 2 | 45 1 | 45 2 | 45 23 | 59 0 | 59 1 | 59 2 | 59 3 | 59 22 |
    59 23 | 0 0-4 | 0 1-3 | 0 2,3 | 0 1,2 | 0 0,12 | 0 23,0 | 30 0-23 | 30 1-3 | 30 1,2,3 | 0-59 2 | 0-59 1 | 0-59 0
    | 0-29 2 | 30-59 1 | 30-59 2 | 0,30 2 | 0,30 1 | 15,45 1-2 | 0-59/7 2 | 5/20 2 | 5/20 1 | 5-55/10 0-3 | 59 23,0
    | 10-20 2-3 | 0 0-23/2 | 0 1-23/2 | 0 0-23/3 | 0 2-2 | 5-5 2 | 15/15 23 | 0/30 0 | 0,1,2,3 0,1,2,3 | 58,59 1 |
    0-1 3 | 0 2/1 | 1-59/2 2 | 0 0,2,4 | 20 22-23 | 0,59 0-3 | 0 20/1 | 45/5 1
""")
STAR_TIMES = _listed("""
    * * | */5 * | */7 * | */15 * | */20 * | */30 * | */45 * | 0 * | 1 * | 30 * | 59 * | 0,30 * | 10-20 * | 5/25 * |
    * 0 | * 1 | * 2 | * 3 | * 23 | */10 2 | */10 1 | */10 0 | */15 1-3 | */30 0-3 | 0 */2 | 0 */3 | 30 */2 | 30 */5
    | 0 */1 | 15 */23 | */2 */2 | */59 */1 | * 1,2 | * 0-3 | 0 */2,3 | */30,10 2 | *,5 2 | 0 *,4 | */90 * | 0 */25
""")
TIMES = FIXED_TIMES + STAR_TIMES

DAYS = _listed("""
    * * * | 1 * * | 13 * 5 | 13 * fri | 1,15 * * | 1,15 * 1 | */2 * * | */2 * 1 | */2 * */2 | */10 * 1-5 | 1 * */2 |
    1-7 * 1 | 1-7 * */7 | */7 * 1 | * * 1 | * * */3 | *,1 * 1 | 1,* * 1 | ? * 1 | 1 * ? | ? * ? | 1-31 * 1 | 1 * 0-6
    | 1 * 1-7 | */1 * 1 | 13 * */1 | 15 * sat,sun | 1-31/1 * 3 | 2-31 * 0 | 31 * 0 | 31 * */7 | 29-31 * sun |
    1/1 * 1 | 1/2 * 1 | * * 0 | * * 7 | * * sun | * * SUN | * * 1-5 | * * mon-fri | * * 5-7 | * * 6-7 | * * 7-7 |
    * * 0-7 | * * 1-7 | * * 0-6 | * * 5-5 | * * 0,6 | * * sat,sun | * * 6,7 | * * 0-6/2 | * * 1-7/2 | * * */2 |
    * * */7 | * * 3/2 | * * 2/1 | * * 6/3 | * * fri-7 | * * mon,wed-fri | * * 0-7/7 | * * 1-5/4 | * * tue-thu/2 |
    * * 0,7 | * * 4-6,1 | 31 * * | 30 * * | 29 * * | 28 * * | 28-31 * * | 31 */2 * | 31 2-4 * | 30 2,3 * | 29 2 * |
    29 feb * | 29,30 2 * | 28,29 2 * | 29 2 1 | 29 2 */2 | 29 2 */3 | 30 2 1 | 31 4,6 0 | 31 4,5 * | 5-5 * * |
    1-1 1 * | * 2 * | * 5-5 * | * feb * | * jan-mar * | * 1-12/5 * | * */3 * | * 10-12 * | * 3/4 * | * 12/2 * |
    1 1 * | 31 12 * | 1 JAN * | */31 * * | */30 * * | 31/2 * * | 30/1 * * | 10/7 * * | 1-10/3 * * | 20-31/11 2 * |
    1,31 2 * | 29-31 2 * | 28-30/2 2 * | 15,28-31 * * | * 1,jul * | 1 sep-dec/2 * | 1-31/30 * * | 1,8,15,22,29 2 1 |
    L * * | l * * | L 2 * | L */2 * | 15,L * * | 1,L * * | L,31 * * | 28,L 2 * | 15-L * * | 25-l/3 * * | L 2,4 5 |
    L * 5 | L * */5 | 15W * * | 15w * * | W15 * * | 1W * * | 31W * * | 30W 2 * | 2W * * | 29W * * | 28W 2 * |
    15W * 1 | 15W * */2 | 1W 1,6 * | * * fri#1 | * * fri#2 | * * 5#2 | * * FRI#3 | * * 0#1 | * * 7#1 | * * sun#5 |
    * * 1#5 | * * mon#4 | * * L5 | * * l0 | * * L7 | * * L1 | * * L6 | * * fri#1,fri#3 | * * 1#1,5#2 | * * L5,1#1 |
    * * mon-fri#1 | * * 1-3#2 | * * 0-7#1 | * 2 L5 | * 2 mon#5 | 1 * fri#2 | 1-7 * fri#2 | */2 * fri#2 | */8 * 5#2 |
    13 * L5 | */5 * L0 | 31 * mon#1 | L * L5 | L * fri#1 | 15W * fri#2
""")

SHORT = ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually", "@HOURLY"]


def utc(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)  # type: ignore[arg-type, misc]


def occurrences(cron: Cron, start: datetime, end: datetime) -> list[datetime]:
    """All occurrences from `start` to before `end`, in UTC."""
    found = []
    instant = cron.next_after(start - MS)
    while instant < end:
        found.append(instant.astimezone(UTC))
        instant = cron.next_after(instant)
    return found


def local(zone: str, *when: int, fold: int = 0) -> datetime:
    return datetime(*when, fold=fold, tzinfo=ZoneInfo(zone))  # type: ignore[arg-type, misc]


def wall_times(expression: str, zone: str, day: date, dst: str = "debian") -> list[str]:
    """The wall clock's readings, with the offset, at which the job runs on this day."""
    start = local(zone, day.year, day.month, day.day).astimezone(UTC)
    tomorrow = day + DAY
    end = local(zone, tomorrow.year, tomorrow.month, tomorrow.day).astimezone(UTC)
    return [
        instant.astimezone(ZoneInfo(zone)).strftime("%H:%M %Z")
        for instant in occurrences(Cron(expression, tz=zone, dst=dst), start, end)
    ]


@functools.cache
def windows(zone: str, hours: int) -> list[tuple[datetime, datetime, list[tuple[datetime, datetime]]]]:
    """Around each change of the zone's clocks from 2024 to 2030: from, to, and the minutes with their wall times."""
    around = [(at - hours * HOUR, at + hours * HOUR) for at in changes(zone, 2024, 2030)]
    return [(start, end, walls(zone, start, end)) for start, end in around]


def same_as_oracle(expression: str, zone: str, hours: int, dst: str = "debian") -> None:
    oracle, cron = Oracle(expression), Cron(expression, tz=zone, dst=dst)
    for start, end, minutes in windows(zone, hours):
        assert occurrences(cron, start, end) == oracle.fires(minutes, dst), (str(cron), dst, start)


# -- against the oracle --------------------------------------------------------------------------------------


def test_hundreds_of_expressions_are_compared() -> None:
    assert len(set(TIMES)) >= 100
    assert len(set(DAYS)) >= 150
    assert {zone: len(changes(zone, 2024, 2030)) for zone in ZONES} == dict.fromkeys(CHANGING, 14) | dict.fromkeys(
        STEADY, 0
    )


@pytest.mark.parametrize("zone", CHANGING)
def test_times_of_day_through_every_change(zone: str) -> None:
    for time in TIMES:
        same_as_oracle(f"{time} * * *", zone, hours=5)


@pytest.mark.parametrize("zone", CHANGING)
def test_the_wall_policy_through_every_change(zone: str) -> None:
    for time in TIMES[::2]:
        same_as_oracle(f"{time} * * *", zone, hours=3, dst="wall")


@pytest.mark.parametrize("zone", CHANGING)
def test_days_through_every_change(zone: str) -> None:
    for index, days in enumerate(DAYS):
        same_as_oracle(f"{['30 0', '15 2', '30 1', '*/20 0-2'][index % 4]} {days}", zone, hours=3)


@pytest.mark.parametrize("days", DAYS)
def test_days_from_2024_to_2030(days: str) -> None:
    oracle, cron = Oracle(f"0 12 {days}"), Cron(f"0 12 {days}")
    expected = [utc(day.year, day.month, day.day, 12) for day in oracle.days(date(2024, 1, 1), date(2030, 12, 31))]
    assert occurrences(cron, utc(2024, 1, 1), utc(2031, 1, 1)) == expected
    later = next(oracle.days(date(2031, 1, 1), date(2071, 12, 31)))
    assert cron.next_after(utc(2031, 1, 1)) == utc(later.year, later.month, later.day, 12)


@pytest.mark.parametrize("zone", ZONES)
def test_month_ends_and_leap_days(zone: str) -> None:
    ends = [utc(2024, 2, 29), utc(2026, 2, 28), utc(2024, 12, 31), utc(2027, 4, 30)]
    minutes = [walls(zone, end - DAY, end + 2 * DAY) for end in ends]
    for time in TIMES[::16]:
        for days in DAYS[::9]:
            oracle, cron = Oracle(f"{time} {days}"), Cron(f"{time} {days}", tz=zone)
            for end, window in zip(ends, minutes, strict=True):
                assert occurrences(cron, end - DAY, end + 2 * DAY) == oracle.fires(window), (str(cron), end)


@pytest.mark.parametrize("zone", CHANGING)
@pytest.mark.parametrize(
    "time",
    ["30 2 * * * 15", "0-59 0-3 * * * 59", "*/30 * * * * */20", "59 1 * * * 58-59", "0 0-4 * * * *", "* 0-2 * * * 7"],
)
def test_seconds_through_a_change(zone: str, time: str) -> None:
    oracle, cron = Oracle(time), Cron(time, tz=zone)
    for at in changes(zone, 2027, 2027):
        start, end = at - 2 * HOUR, at + 2 * HOUR
        assert occurrences(cron, start, end) == oracle.fires(walls(zone, start, end, SECOND)), at


@pytest.mark.parametrize("short", SHORT)
def test_short_names(short: str) -> None:
    oracle, cron = Oracle(short), Cron(short)
    window = walls("UTC", utc(2027, 12, 30), utc(2028, 1, 9))
    assert occurrences(cron, utc(2027, 12, 30), utc(2028, 1, 9)) == oracle.fires(window)


# -- what Debian's cron(8) and crontab(5) say ----------------------------------------------------------------

SPRING, AUTUMN = date(2025, 3, 30), date(2025, 10, 26)  # Europe/Berlin: 02:00 -> 03:00, and 03:00 -> 02:00


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["03:00 CEST"]),  # "jobs that would have run in the interval that has been skipped"
        ("0 2 * * *", ["03:00 CEST"]),
        ("59 2 * * *", ["03:00 CEST"]),
        ("0 3 * * *", ["03:00 CEST"]),
        ("30 2,3 * * *", ["03:00 CEST", "03:30 CEST"]),
        ("0 1-4 * * *", ["01:00 CET", "03:00 CEST", "04:00 CEST"]),
        ("0,15,30,45 2 * * *", ["03:00 CEST"]),
        ("0-59/20 2 * * *", ["03:00 CEST"]),
        ("30 2 * * * 15", ["03:00 CEST"]),
        ("30 2 * * * *", ["03:00 CEST"]),
        ("*/30 2 * * *", []),  # "jobs which are specified with wildcards are run based on the new time"
        ("* 2 * * *", []),
        ("*/30 1-3 * * *", ["01:00 CET", "01:30 CET", "03:00 CEST", "03:30 CEST"]),
        ("30 */2 * * *", [f"{hour:02}:30 {'CET' if hour < 2 else 'CEST'}" for hour in (0, *range(4, 24, 2))]),
        ("30 2 31 3 *", []),
        ("30 2 * * 0", ["03:00 CEST"]),
    ],
)
def test_a_fixed_time_in_a_gap_runs_once_right_after_it(expression: str, expected: list[str]) -> None:
    assert wall_times(expression, "Europe/Berlin", SPRING) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["02:30 CEST"]),  # "those jobs that fall into the repeated time will not be re-run"
        ("0 2 * * *", ["02:00 CEST"]),
        ("0 3 * * *", ["03:00 CET"]),
        ("0,30 2 * * *", ["02:00 CEST", "02:30 CEST"]),
        ("0 1-4 * * *", ["01:00 CEST", "02:00 CEST", "03:00 CET", "04:00 CET"]),
        ("30 2 * * 0", ["02:30 CEST"]),
        ("*/30 2 * * *", ["02:00 CEST", "02:30 CEST", "02:00 CET", "02:30 CET"]),
        ("45 */2 * * *", ["00:45 CEST", "02:45 CEST", "02:45 CET", *(f"{h:02}:45 CET" for h in range(4, 24, 2))]),
    ],
)
def test_a_fixed_time_in_an_overlap_runs_once_the_first_time(expression: str, expected: list[str]) -> None:
    assert wall_times(expression, "Europe/Berlin", AUTUMN) == expected


def test_hourly_runs_every_hour_whatever_the_clocks_do() -> None:
    assert len(wall_times("@hourly", "Europe/Berlin", SPRING)) == 23
    assert len(wall_times("@hourly", "Europe/Berlin", AUTUMN)) == 25


def test_the_wall_policy_has_none_in_a_gap_and_two_in_an_overlap() -> None:
    assert wall_times("30 2 * * *", "Europe/Berlin", SPRING, dst="wall") == []
    assert wall_times("30 2 * * *", "Europe/Berlin", AUTUMN, dst="wall") == ["02:30 CEST", "02:30 CET"]


def test_a_gap_of_half_an_hour() -> None:
    """Lord Howe, 5 October 2025: 02:00 -> 02:30."""
    spring = date(2025, 10, 5)
    assert wall_times("15 2 * * *", "Australia/Lord_Howe", spring) == ["02:30 +11"]
    assert wall_times("45 2 * * *", "Australia/Lord_Howe", spring) == ["02:45 +11"]
    assert wall_times("*/15 2 * * *", "Australia/Lord_Howe", spring) == ["02:30 +11", "02:45 +11"]
    assert wall_times("45 1 * * *", "Australia/Lord_Howe", date(2025, 4, 6)) == ["01:45 +11"]


def test_a_gap_at_midnight() -> None:
    """Cairo, 25 April 2025: the day begins at 01:00; 30 October has its last hour twice."""
    assert wall_times("@daily", "Africa/Cairo", date(2025, 4, 25)) == ["01:00 EEST"]
    assert wall_times("30 23 * * *", "Africa/Cairo", date(2025, 10, 30)) == ["23:30 EEST"]
    assert wall_times("@daily", "Africa/Cairo", date(2025, 10, 31)) == ["00:00 EET"]


def test_a_skipped_day_runs_as_the_next_begins() -> None:
    """Samoa had no 30 December 2011."""
    cron = Cron("0 3 * * *", tz="Pacific/Apia")
    assert cron.next_after(local("Pacific/Apia", 2011, 12, 29, 4)) == local("Pacific/Apia", 2011, 12, 31)
    assert cron.next_after(local("Pacific/Apia", 2011, 12, 31)) == local("Pacific/Apia", 2011, 12, 31, 3)


def test_an_offset_that_is_no_whole_minute() -> None:
    """Amsterdam kept its own sun's time until 1937; Kathmandu is 5:45 ahead."""
    cron = Cron("0 12 * * *", tz="Africa/Monrovia")  # -0:44:30 until 1972
    assert cron.next_after(utc(1971, 6, 1)) == utc(1971, 6, 1, 12, 44, 30)
    assert Cron("0 12 * * *", tz="Asia/Kathmandu").next_after(utc(2026, 1, 1)) == utc(2026, 1, 1, 6, 15)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ("13 * 5", [2, 9, 13, 16, 23, 30]),  # "if both fields are restricted ... when either field matches"
        ("13 * *", [13]),
        ("* * 5", [2, 9, 16, 23, 30]),
        ("*/2 * 5", [9, 23]),  # but a field that starts with * is not restricted, and must match too
        ("13 * */5", []),
        ("2 * */5", [2]),
        ("1-31 * 5", list(range(1, 32))),
        ("5-5 * *", [5]),  # N-N is N
        ("* * 5-5", [2, 9, 16, 23, 30]),
        ("* * 0,7", [4, 11, 18, 25]),
        ("* * 6-7", [3, 4, 10, 11, 17, 18, 24, 25, 31]),
        ("L * *", [31]),
        ("17W * *", [16]),
        ("18W * *", [19]),
        ("31W * *", [30]),
        ("* * fri#2", [9]),
        ("* * L5", [30]),
        ("2 * fri#2", [2, 9]),
    ],
)
def test_which_days_of_january_2026(days: str, expected: list[int]) -> None:
    """A Thursday is the first, a Saturday the last."""
    found = occurrences(Cron(f"0 0 {days}"), utc(2026, 1, 1), utc(2026, 2, 1))
    assert [instant.day for instant in found] == expected


# -- the oracle itself, by hand ------------------------------------------------------------------------------


def test_the_oracle_in_a_gap_and_an_overlap() -> None:
    spring = walls("America/New_York", utc(2026, 3, 8, 5), utc(2026, 3, 8, 9))  # 02:00 EST -> 03:00 EDT at 07:00 UTC
    assert Oracle("30 2 * * *").fires(spring) == [utc(2026, 3, 8, 7)]
    assert Oracle("*/30 2 * * *").fires(spring) == []
    assert Oracle("30 2 * * *").fires(spring, "wall") == []
    autumn = walls("America/New_York", utc(2026, 11, 1, 4), utc(2026, 11, 1, 8))  # 02:00 EDT -> 01:00 EST at 06:00
    assert Oracle("30 1 * * *").fires(autumn) == [utc(2026, 11, 1, 5, 30)]
    assert Oracle("30 1 * * *").fires(autumn, "wall") == [utc(2026, 11, 1, 5, 30), utc(2026, 11, 1, 6, 30)]
    assert Oracle("30 * * * *").fires(autumn) == [utc(2026, 11, 1, hour, 30) for hour in (4, 5, 6, 7)]


@pytest.mark.parametrize(
    ("days", "expected"),
    [("13 * 5", [6, 13, 20, 27]), ("*/2 * 5", [13, 27]), ("L 2 *", [28]), ("1W * *", [2]), ("28W * *", [27]),
     ("* * 0#4", [22]), ("* * l6", [28]), ("29 * *", []), ("* * 5-7", [1, 6, 7, 8, 13, 14, 15, 20, 21, 22, 27, 28])],
)  # fmt: skip
def test_the_oracle_on_february_2026(days: str, expected: list[int]) -> None:
    """It begins on a Sunday."""
    found = Oracle(f"0 0 {days}").days(date(2026, 2, 1), date(2026, 2, 28))
    assert [day.day for day in found] == expected


def test_the_oracle_finds_the_changes() -> None:
    assert changes("Europe/Berlin", 2026, 2026) == [utc(2026, 3, 29, 1), utc(2026, 10, 25, 1)]


# -- properties of Cron --------------------------------------------------------------------------------------

PLACES = ["Europe/Dublin", "Africa/Casablanca", "America/St_Johns", "Asia/Gaza", "Pacific/Chatham", "Antarctica/Troll"]
instants = st.integers(1_550_000_000_000, 2_200_000_000_000).map(lambda ms: utc(1970, 1, 1) + ms * MS)


@st.composite
def near_changes(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone, and an instant within hours of a change of its clocks, or any."""
    zone = draw(st.sampled_from(ZONES + PLACES))
    found = _changes(zone)
    if not found or draw(st.booleans()):
        return zone, draw(instants)
    away = timedelta(seconds=draw(st.integers(-4 * 3600, 4 * 3600)), milliseconds=draw(st.sampled_from([0, 1, 999])))
    return zone, draw(st.sampled_from(found)) + away


@functools.cache
def _changes(zone: str) -> list[datetime]:
    return changes(zone, 2024, 2027)


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(
    time=st.sampled_from(TIMES), days=st.sampled_from(DAYS), at=near_changes(), dst=st.sampled_from(["debian", "wall"])
)
def test_strictly_later_and_nothing_is_skipped(time: str, days: str, at: tuple[str, datetime], dst: str) -> None:
    zone, start = at
    try:
        cron = Cron(f"{time} {days}", tz=zone, dst=dst)
    except InvalidSchedule:
        hypothesis.assume(False)
    there = cron.next_after(start)
    found = there.astimezone(UTC)  # in UTC, since Python compares times of one zone without regard to the fold
    assert found > start
    assert there.tzinfo is ZoneInfo(zone)
    assert cron.next_after(start).astimezone(UTC) == found
    assert cron.next_ms((start - utc(1970, 1, 1)) // MS) == (found - utc(1970, 1, 1)) // MS
    begin = start.replace(second=0, microsecond=0) - 6 * HOUR
    end = min(found, start + 30 * HOUR)
    kept = Oracle(cron.expression).fires(walls(zone, begin, end + timedelta(minutes=1)), dst)
    assert [instant for instant in kept if start < instant <= end] == ([found] if found == end else [])


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(time=st.sampled_from(TIMES), at=near_changes(), earlier=st.integers(1, 10**8))
def test_an_earlier_start_never_gives_a_later_occurrence(time: str, at: tuple[str, datetime], earlier: int) -> None:
    zone, start = at
    cron = Cron(f"{time} * * *", tz=zone)
    after = (start - utc(1970, 1, 1)) // MS
    assert cron.next_ms(after - earlier) <= cron.next_ms(after)


def test_far_from_now() -> None:
    assert Cron("0 0 29 2 *").next_after(utc(1896, 3, 1) + 5 * 365 * DAY) == utc(1904, 2, 29)
    assert Cron("0 0 29 2 *").next_after(utc(2096, 3, 1)) == utc(2104, 2, 29)
    assert Cron("0 0 29 2 */7").next_after(utc(2088, 3, 1)) == utc(2128, 2, 29)  # a Sunday: the longest wait there is
    assert Cron("30 2 * * *", tz="Europe/Berlin").next_after(utc(8999, 1, 1)) == utc(8999, 1, 1, 1, 30)


@pytest.mark.parametrize("instant", [utc(1899, 12, 31), utc(9000, 1, 1), datetime.max.replace(tzinfo=UTC)])
def test_instants_out_of_reach(instant: datetime) -> None:
    with pytest.raises(InvalidSchedule, match="expected an instant from 1900 to 8999"):
        Cron("0 0 * * *").next_after(instant)


def test_a_naive_instant_is_refused() -> None:
    for recurrence in (Cron("0 0 * * *"), Every(HOUR)):
        with pytest.raises(InvalidSchedule, match="expected instant to be an aware datetime"):
            recurrence.next_after(datetime(2026, 1, 1))  # noqa: DTZ001


def test_any_aware_instant_will_do() -> None:
    there = datetime(2026, 1, 1, 5, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert Cron("0 0 * * *").next_after(there) == utc(2026, 1, 1)
    assert Cron("0 0 * * *").next_after(there).tzinfo is ZoneInfo("UTC")


def test_a_cron_is_a_value() -> None:
    one = Cron("0 3  * * *", tz="Europe/Berlin")
    assert one == Cron("0 3 * * *", ZoneInfo("Europe/Berlin")) == pickle.loads(pickle.dumps(one)) == copy.deepcopy(one)
    assert hash(one) == hash(copy.copy(one))
    assert one != Cron("0 3 * * *", tz="Europe/Paris")
    assert one != Cron("0 3 * * *", tz="Europe/Berlin", dst="wall")
    assert (one.expression, one.tz, one.dst) == ("0 3 * * *", "Europe/Berlin", "debian")
    assert repr(one) == "Cron(expression='0 3 * * *', tz='Europe/Berlin', dst='debian')"
    assert str(one) == "0 3 * * * Europe/Berlin"


# -- Every ---------------------------------------------------------------------------------------------------

intervals = st.integers(1, 100 * 365 * 86_400_000).map(MS.__mul__)


@hypothesis.given(interval=intervals, anchor=st.none() | instants, start=instants)
def test_every_is_on_its_grid(interval: timedelta, anchor: datetime | None, start: datetime) -> None:
    every = Every(interval, anchor=anchor)
    found = every.next_after(start)
    assert start < found <= start + interval
    assert (found - (every.anchor or utc(1970, 1, 1))) % interval == timedelta()
    assert every.next_ms((start - utc(1970, 1, 1)) // MS) == (found - utc(1970, 1, 1)) // MS
    assert found.tzinfo is UTC


def test_every_counts_both_ways_from_its_anchor() -> None:
    every = Every(timedelta(days=7), anchor=utc(2026, 1, 8, 9))
    assert every.next_after(utc(2026, 1, 8, 9)) == utc(2026, 1, 15, 9)
    assert every.next_after(utc(2025, 12, 25)) == utc(2025, 12, 25, 9)
    assert Every(HOUR).next_after(utc(1969, 12, 31, 23, 59)) == utc(1970, 1, 1)


def test_an_anchor_is_kept_and_taken_down_to_the_millisecond() -> None:
    here = utc(2026, 1, 1, 0, 0, 0, 1999)
    every = Every(HOUR, anchor=here)
    assert every == Every(HOUR, anchor=utc(2026, 1, 1, 0, 0, 0, 1000))
    assert every.next_ms(0, 1) == every.next_ms(0)
    assert Every(HOUR).next_ms(0, 1) == 1
    assert hash(every) == hash(Every(HOUR, anchor=local("Asia/Kathmandu", 2026, 1, 1, 5, 45, 0, 1000)))
    assert pickle.loads(pickle.dumps(every)) == every
    assert repr(Every(HOUR)) == "Every(interval=datetime.timedelta(seconds=3600), anchor=None)"


@pytest.mark.parametrize(
    ("interval", "message"),
    [
        (1.5, r"expected interval to be a timedelta, got 1\.5 \(did you mean timedelta\(seconds=1\.5\)\?\)"),
        (60, r"got 60 \(did you mean timedelta\(seconds=60\)\?\)"),
        (True, r"got True$"),
        ("1h", "expected interval to be a timedelta, got '1h'"),
        (timedelta(), "from 1 ms to 100 years"),
        (timedelta(seconds=-1), "from 1 ms to 100 years"),
        (timedelta(microseconds=1500), "whole milliseconds"),
        (timedelta(days=36_501), "to 100 years"),
    ],
)
def test_intervals_that_are_refused(interval: timedelta, message: str) -> None:
    with pytest.raises(InvalidSchedule, match=message):
        Every(interval)


def test_a_naive_anchor_is_refused() -> None:
    for anchor in (datetime(2026, 1, 1), "2026-01-01"):  # noqa: DTZ001
        with pytest.raises(InvalidSchedule, match="expected anchor to be an aware datetime, got"):
            Every(HOUR, anchor=anchor)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ms", "short", "reading"),
    [
        (1, "every 1 ms", "Every millisecond"),
        (200, "every 200 ms", "Every 200 milliseconds"),
        (1000, "every 1 s", "Every second"),
        (1500, "every 1.5 s", "Every 1.5 seconds"),
        (61_001, "every 61.001 s", "Every 61.001 seconds"),
        (90_000, "every 90 s", "Every 90 seconds"),
        (5_400_000, "every 90 min", "Every 90 minutes"),
        (129_600_000, "every 36 h", "Every 36 hours"),
        (7 * 86_400_000, "every 7 d", "Every 7 days"),
    ],
)
def test_every_in_words(ms: int, short: str, reading: str) -> None:
    every = Every(ms * MS)
    assert (str(every), every.reading) == (short, reading)


# -- readings of Cron ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "reading"),
    [
        ("0 3 * * *", "At 03:00"),
        ("@hourly", "Every hour"),
        ("* * * * *", "Every minute"),
        ("* * * * * *", "Every second"),
        ("* * * * * 0", "Every minute"),
        ("*/5 * * * *", "Every 5 minutes"),
        ("*/7 * * * *", "At 0, 7, 14, 21, 28, 35, 42, 49, and 56 minutes past the hour"),
        ("*/90 * * * *", "Every hour"),
        ("5/15 * * * *", "At 5, 20, 35, and 50 minutes past the hour"),
        ("0 */2 * * *", "Every 2 hours"),
        ("0 */5 * * *", "At 00:00, 05:00, 10:00, 15:00 and 20:00"),
        ("*/15 9-17 * * mon-fri", "Every 15 minutes, between 09:00 and 17:59, Monday through Friday"),
        ("0 22-23,0-1 * * *", "At 00:00, 01:00, 22:00 and 23:00"),
        ("30 14 * * * 15", "At 14:30:15"),
        ("* 2 * * * */10", "Every 10 seconds, between 02:00 and 02:59"),
        ("0 0 5-5 * *", "At 00:00, on day 5 of the month"),
        ("0 0 1-31 * 1", "At 00:00"),
        ("30 2 1 * 1", "At 02:30, on day 1 of the month, or on Monday"),
        ("30 2 1 2 1-5", "At 02:30, on day 1 of the month, or on Monday through Friday, only in February"),
        ("30 2 */10 * 1", "At 02:30, on day 1, 11, 21, and 31 of the month, if it falls on Monday"),
        ("0 0 1 * fri#2", "At 00:00, on day 1 of the month, or on the second Friday of the month"),
        ("0 0 L * *", "At 00:00, on the last day of the month"),
        ("0 0 15W * *", "At 00:00, on the weekday nearest day 15 of the month"),
        ("0 0 * * L5", "At 00:00, on the last Friday of the month"),
        ("0 0 * */6 *", "At 00:00, only in January and July"),
        ("0 0 15,L * *", ""),
        ("0 0 * * 1#1,5#2", ""),
        ("1,2,4,8,16,32 1-23/2 * * *", ""),
    ],
)
def test_cron_in_words(expression: str, reading: str) -> None:
    assert Cron(expression).reading == reading


@hypothesis.settings(deadline=None)
@hypothesis.given(time=st.sampled_from(TIMES), days=st.sampled_from(DAYS))
def test_a_reading_is_one_short_sentence_or_none(time: str, days: str) -> None:
    reading = Cron(f"{time} {days}").reading
    assert reading == "" or (reading[0].isupper() and len(reading) <= 240 and "*" not in reading)
