"""What is refused when a `Cron` is made, in which words; and that nothing else happens, whatever is handed in."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import hypothesis
import pytest
from hypothesis import strategies as st

from delayserver import Cron, DelayServerError, InvalidSchedule

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        # fields
        ("", "expected 5 fields, or 6 with seconds last, got 0"),
        ("   ", "expected 5 fields, or 6 with seconds last, got 0"),
        ("0 0 * *", "expected 5 fields, or 6 with seconds last, got 4"),
        ("0 0 * * * 0 2026", "expected 5 fields, or 6 with seconds last, got 7"),
        # ranges
        ("0 22-2 * * *", "expected hour to be a range from low to high, got '22-2' (write '22-23,0-2')"),
        ("50-10 * * * *", "expected minute to be a range from low to high, got '50-10' (write '50-59,0-10')"),
        ("59-0 * * * *", "expected minute to be a range from low to high, got '59-0' (write '59,0')"),
        ("0 0 28-3 * *", "expected day of month to be a range from low to high, got '28-3' (write '28-31,1-3')"),
        ("0 0 * nov-feb *", "expected month to be a range from low to high, got 'nov-feb' (write 'nov-12,1-feb')"),
        ("0 0 * * fri-mon", "expected day of week to be a range from low to high, got 'fri-mon' (write 'fri-6,0-mon')"),
        ("0 0 * * fri-sun", "expected day of week to be a range from low to high, got 'fri-sun' (write 'fri-7')"),
        ("0 0 * * 7-2", "expected day of week to be a range from low to high, got '7-2' (write '0-2')"),
        ("0 0 * * * 40-20", "expected second to be a range from low to high, got '40-20' (write '40-59,0-20')"),
        ("0 22-2/2 * * *", "expected hour to be a range from low to high, got '22-2/2'"),
        ("0 0 L-5 * *", "expected day of month to be from 1 to 31, got 'l'"),
        # bounds
        ("60 * * * *", "expected minute to be from 0 to 59, got '60'"),
        ("0 24 * * *", "expected hour to be from 0 to 23, got '24'"),
        ("0 0 0 * *", "expected day of month to be from 1 to 31, got '0'"),
        ("0 0 32 * *", "expected day of month to be from 1 to 31, got '32'"),
        ("0 0 32W * *", "expected day of month to be from 1 to 31, got '32'"),
        ("0 0 * 13 *", "expected month to be from 1 to 12 or jan to dec, got '13'"),
        ("0 0 * 0 *", "expected month to be from 1 to 12 or jan to dec, got '0'"),
        ("0 0 * january *", "expected month to be from 1 to 12 or jan to dec, got 'january'"),
        ("0 0 * * 8", "expected day of week to be from 0 to 7 or sun to sat, got '8'"),
        ("0 0 * * monday", "expected day of week to be from 0 to 7 or sun to sat, got 'monday'"),
        ("0 0 * * L8", "expected day of week to be from 0 to 7 or sun to sat, got '8'"),
        ("0 0 * * * 60", "expected second to be from 0 to 59, got '60'"),
        # steps
        ("*/0 * * * *", "expected minute to have a step of 1 or more, got '*/0'"),
        ("*/ * * * *", "expected minute to be from 0 to 59, got '*/'"),
        ("*/1/2 * * * *", "expected minute to be from 0 to 59, got '*/1/2'"),
        ("*/-1 * * * *", "expected minute to be from 0 to 59, got '*/-1'"),
        # lists and signs
        ("1, * * * *", "expected minute to be from 0 to 59, got ''"),
        (", * * * *", "expected minute to be from 0 to 59, got ''"),
        ("-1 * * * *", "expected minute to be from 0 to 59, got '-1'"),
        ("1.5 * * * *", "expected minute to be from 0 to 59, got '1.5'"),
        ("? * * * *", "expected minute to be from 0 to 59, got '?'"),
        ("1-2-3 * * * *", "expected minute to be from 0 to 59, got '1-2-3'"),
        ("0 mon * * *", "expected hour to be from 0 to 23, got 'mon'"),
        ("L * * * *", "expected minute to be from 0 to 59, got 'l'"),
        # days
        ("0 0 15W,20 * *", "expected day of month with 'W' to be that alone, got '15w,20'"),
        ("0 0 LW * *", "expected day of month to be from 1 to 31, got 'lw'"),
        ("0 0 ?,1 * *", "expected day of month to be from 1 to 31, got '?'"),
        ("0 0 * * L", "expected day of week to be from 0 to 7 or sun to sat, got 'l'"),
        ("0 0 * * 5L", "expected day of week to be from 0 to 7 or sun to sat, got '5l'"),
        ("0 0 * * fri#0", "expected day of week's '#' to be followed by 1 to 5, got 'fri#0'"),
        ("0 0 * * fri#6", "expected day of week's '#' to be followed by 1 to 5, got 'fri#6'"),
        ("0 0 * * jan#1", "expected day of week to be from 0 to 7 or sun to sat, got 'jan'"),
        ("0 0 * * fri#2,mon", "expected day of week not to mix plain days with '#' or 'L', got 'fri#2,mon'"),
        # chance
        ("R * * * *", "expected minute without 'R': chance would choose another time on each server; got 'r'"),
        ("0 R(1-5) * * *", "expected hour without 'R': chance would choose another time on each server; got 'r(1-5)'"),
        ("0 0 * r/2 *", "expected month without 'R': chance would choose another time on each server; got 'r/2'"),
        ("H * * * *", "expected minute without 'H': there is no job to hash; got 'h'"),
        ("0 0 * * H", "expected day of week without 'H': there is no job to hash; got 'h'"),
        # names
        ("@reboot", "expected a time, got '@reboot': a schedule is kept by many servers, and none is the boot"),
        ("@REBOOT", "expected a time, got '@REBOOT': a schedule is kept by many servers, and none is the boot"),
        ("@noon", "expected one of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly, got '@noon'"),
        # what never comes
        ("0 0 30 2 *", "'0 0 30 2 *' never fires: no such day ever comes"),
        ("0 0 31 2,4,6,9,11 *", "'0 0 31 2,4,6,9,11 *' never fires: no such day ever comes"),
        ("0 0 30 2 */2", "'0 0 30 2 */2' never fires: no such day ever comes"),
        ("0 0 */31 * fri#2", "'0 0 */31 * fri#2' never fires: no such day ever comes"),
        ("0 0 15W * */6", "'0 0 15W * */6' never fires: no such day ever comes"),
        # size and signs
        ("0 0 * * *\n", r"expected a cron expression of printable ASCII, got '\n' in it"),
        ("0 0 * *\x00 *", r"expected a cron expression of printable ASCII, got '\x00' in it"),
        ("0\u00a00 * * *", r"expected a cron expression of printable ASCII, got '\xa0' in it"),
        ("\u0665 0 * * *", "expected a cron expression of printable ASCII, got '\u0665' in it"),
        (" " * 1001, "expected a cron expression of at most 1000 characters, got 1001"),
        ("\n" * 10**7, "expected a cron expression of at most 1000 characters, got 10000000"),
        (b"0 0 * * *", "expected a cron expression to be a str, got b'0 0 * * *'"),
        (None, "expected a cron expression to be a str, got None"),
        (5, "expected a cron expression to be a str, got 5"),
    ],
)  # fmt: skip
def test_what_is_refused_and_why(expression: Any, message: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        Cron(expression)
    assert str(caught.value) == message
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, DelayServerError)


@pytest.mark.parametrize("field", range(6))
@pytest.mark.parametrize("text", ["R", "H", "x", "99", "5-1", "", "*/0", "1-", "%", "1,,2"])
def test_each_refusal_names_its_field(field: int, text: str) -> None:
    texts = ["*"] * 6
    texts[field] = text or ","
    name = ["minute", "hour", "day of month", "month", "day of week", "second"][field]
    with pytest.raises(InvalidSchedule, match=f"^expected {name} "):
        Cron(" ".join(texts))


@pytest.mark.parametrize(
    ("expression", "zone"),
    [
        ("*/10 2 * 3 sun#2", "America/New_York"),
        ("*/5 0 * 4 L5", "Africa/Cairo"),
        ("* 2 * 3 L0", "Europe/Berlin"),
    ],
)
def test_what_clock_changes_always_skip_never_fires(expression: str, zone: str) -> None:
    with pytest.raises(InvalidSchedule, match=f"never fires in {zone}: the clock always skips its times"):
        Cron(expression, tz=zone)
    Cron(expression)
    Cron(expression.replace("*/10", "10").replace("*/5", "5").replace("* 2 ", "0 2 ", 1), tz=zone)


@pytest.mark.parametrize(
    ("tz", "message"),
    [
        ("Europe/Berln", r"unknown time zone 'Europe/Berln' \(did you mean Europe/Berlin"),
        ("europe/berlin", r"unknown time zone 'europe/berlin' \(did you mean Europe/Berlin"),
        ("Mars/Olympus_Mons", "^unknown time zone 'Mars/Olympus_Mons'"),
        ("Europe", "^unknown time zone 'Europe'"),
        ("", "^unknown time zone ''"),
        ("../UTC", "^unknown time zone '../UTC'"),
        ("/etc/localtime", "^unknown time zone '/etc/localtime'"),
        ("localtime", "^unknown time zone 'localtime'"),
        ("right/UTC", "^unknown time zone 'right/UTC'"),
        ("UTC\n", r"^unknown time zone 'UTC\\n'"),
        ("x" * 10_000, "^unknown time zone 'xxx"),
        (None, "expected tz to be a time zone's name or a ZoneInfo with one, got None"),
        (UTC, "expected tz to be a time zone's name or a ZoneInfo with one, got a value of type timezone"),
    ],
)
def test_unknown_zones(tz: Any, message: str) -> None:
    with pytest.raises(InvalidSchedule, match=message):
        Cron("0 0 * * *", tz=tz)


@pytest.mark.parametrize("dst", ["", "Debian", "quartz", None, 1])
def test_unknown_policies(dst: Any) -> None:
    with pytest.raises(InvalidSchedule, match='expected dst to be "debian" or "wall", got'):
        Cron("0 0 * * *", dst=dst)


@pytest.mark.parametrize(
    "expression",
    ["\t0  0 * * * ", "59 23 31 12 *", "0 0 ? * ?", "*/59 */23 */31 */12 */7",
     "0 0 L,15 * *", ",".join(["5"] * 490) + " * * * *",
     f"*/{'9' * 900} * * * *", f"{'0' * 900}7 0 * * *", "0 0 30 2 fri",
     "0 0 29 2 */7", "0 0 * * 5#5", "0 0 31W 2 *", "* * * * * */59"],
)  # fmt: skip
def test_odd_ones_that_are_right(expression: str) -> None:
    assert Cron(expression).next_after(START) > START


# -- anything at all -----------------------------------------------------------------------------------------

parts = st.sampled_from(
    ["*", "?", "L", "W", "R", "H", "#", "/", "-", ",", "0", "1", "2", "5", "7", "12", "15", "29", "30", "31", "59",
     "60", "99",
     "mon", "fri", "sun", "feb", "dec", "*/2", "*/7", "1-5", "5-5", "22-2", "fri#2", "L5", "15W", "@", "(", ")"]
)  # fmt: skip
fields = st.lists(parts, min_size=1, max_size=3).map("".join)
expressions = (
    st.text(max_size=60)
    | st.text("*/-,#LWRH?0123456789 ", max_size=60)
    | st.lists(fields, min_size=4, max_size=7).map(" ".join)
    | st.tuples(*[st.lists(parts, min_size=1, max_size=3).map(",".join)] * 5).map(" ".join)
)
zones = st.sampled_from(["UTC", "Europe/Berlin", "Africa/Cairo", "Australia/Lord_Howe"])


@hypothesis.settings(max_examples=500, deadline=timedelta(seconds=2))
@hypothesis.given(expression=expressions, tz=zones, dst=st.sampled_from(["debian", "wall"]))
def test_any_text_is_a_cron_or_refused(expression: str, tz: str, dst: str) -> None:
    try:
        cron = Cron(expression, tz=tz, dst=dst)
    except InvalidSchedule as error:
        assert len(str(error)) < 250
        return
    found = cron.next_after(START)
    assert found > START
    assert found.tzinfo == ZoneInfo(tz)
    assert cron.next_after(found) > found
    assert isinstance(cron.reading, str)


@hypothesis.settings(max_examples=200, deadline=timedelta(seconds=2))
@hypothesis.given(tz=st.text(max_size=40))
def test_any_zone_is_known_or_refused(tz: str) -> None:
    try:
        assert Cron("0 0 * * *", tz=tz).tz == tz
    except InvalidSchedule as error:
        assert str(error).startswith("unknown time zone")


SLOWEST = ["0 0 1 * 1#2,2#2,3#2,4#2,5#2,6#2,0#2", "0 0 */31 * 1#2,2#2,3#2,4#2,5#2,6#2,0#2", "0 0 */31 2,4 l5",
           "0 0 30 2 *", "* * 30 2 */2 *", "0 0 */31 2,4,6,9,11 1#5", "* * */31 */2 sun#3"]  # fmt: skip


@pytest.mark.parametrize("expression", SLOWEST)
def test_what_never_fires_is_told_quickly(expression: str) -> None:
    start = time.process_time()
    with contextlib.suppress(InvalidSchedule):
        Cron(expression)
    assert time.process_time() - start < 1  # in truth 30 ms; a search without end takes for ever
