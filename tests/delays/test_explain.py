"""``delays explain``: what a person reads of times, clock changes and outages."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from ..support.process import Process
from .conftest import Delays
from .test_command import run as run  # the command as a user runs it


@pytest.fixture(autouse=True)
def bare(settings: Settings) -> None:
    """Neither a layer nor a store."""
    settings.CHANNEL_LAYERS = {}
    settings.DELAYSERVER = {}
    settings.TIME_ZONE = "Europe/Berlin"


def explain(*words: str) -> str:
    out = io.StringIO()
    call_command("delays", "explain", *words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def told(*words: str) -> Any:
    return json.loads(explain(*words, "--json"))


def refused(*words: str) -> tuple[int, str]:
    with pytest.raises(CommandError) as refusal:
        explain(*words)
    return refusal.value.returncode, str(refusal.value)


def lines(*words: str) -> list[str]:
    """Those of the times."""
    return explain(*words).split("\n\n")[1].splitlines()


BERLIN = ("30 2 * * *", "--tz", "Europe/Berlin", "--count", "3", "--from")


def test_spring_in_berlin() -> None:
    assert explain(*BERLIN, "2027-03-26T12:00") == (
        """\
30 2 * * * Europe/Berlin
At 02:30

  Sat 2027-03-27 02:30:00 CET +01:00
  Sun 2027-03-28 03:00:00 CEST +02:00  clock goes forward 02:00 -> 03:00: 02:30 does not exist, runs at 03:00
  Mon 2027-03-29 02:30:00 CEST +02:00
"""
    )


def test_spring_in_berlin_by_the_wall_clock() -> None:
    assert lines(*BERLIN, "2027-03-26T12:00", "--dst", "wall") == [
        "  Sat 2027-03-27 02:30:00 CET +01:00",
        "    Sun 2027-03-28, clock goes forward 02:00 -> 03:00: 02:30 does not exist, left out",
        "  Mon 2027-03-29 02:30:00 CEST +02:00",
        "  Tue 2027-03-30 02:30:00 CEST +02:00",
    ]


def test_autumn_in_berlin() -> None:
    back = "clock goes back 03:00 -> 02:00: 02:30 comes twice"
    assert lines(*BERLIN, "2027-10-30T12:00") == [
        f"  Sun 2027-10-31 02:30:00 CEST +02:00  {back}, runs the first time only",
        "  Mon 2027-11-01 02:30:00 CET +01:00",
        "  Tue 2027-11-02 02:30:00 CET +01:00",
    ]
    assert lines(*BERLIN, "2027-10-30T12:00", "--dst", "wall") == [
        f"  Sun 2027-10-31 02:30:00 CEST +02:00  {back}, runs both times, this is the first",
        f"  Sun 2027-10-31 02:30:00 CET +01:00  {back}, this is the second time",
        "  Mon 2027-11-01 02:30:00 CET +01:00",
    ]


def test_half_an_hour_on_lord_howe() -> None:
    zone = ("--tz", "Australia/Lord_Howe", "--count", "2", "--from")
    assert lines("15 2 * * *", *zone, "2027-10-02T12:00") == [
        "  Sun 2027-10-03 02:30:00 +11:00  clock goes forward 02:00 -> 02:30: 02:15 does not exist, runs at 02:30",
        "  Mon 2027-10-04 02:15:00 +11:00",
    ]
    assert lines("45 1 * * *", *zone, "2027-04-03T12:00") == [
        "  Sun 2027-04-04 01:45:00 +11:00  clock goes back 02:00 -> 01:30: 01:45 comes twice, runs the first time only",
        "  Mon 2027-04-05 01:45:00 +10:30",
    ]


def test_a_day_that_samoa_never_had() -> None:
    assert lines("0 12 * * *", "--tz", "Pacific/Apia", "--from", "2011-12-29T23:00", "--count", "1") == [
        "  Sat 2011-12-31 00:00:00 +14:00  clock goes forward 2011-12-30 00:00 -> 2011-12-31 00:00:"
        " 12:00 does not exist, runs at 00:00"
    ]


def test_jobs_of_every_hour_lose_and_repeat_what_the_clock_does() -> None:
    zone = ("--tz", "Europe/Berlin", "--count", "3", "--from")
    assert lines("*/10 * * * *", *zone, "2027-03-28T01:40") == [
        "  Sun 2027-03-28 01:50:00 CET +01:00",
        "    Sun 2027-03-28, clock goes forward 02:00 -> 03:00:"
        " 02:00, 02:10, 02:20 … and 3 more do not exist, left out",
        "  Sun 2027-03-28 03:00:00 CEST +02:00",
        "  Sun 2027-03-28 03:10:00 CEST +02:00",
    ]
    assert [line[:38].strip() for line in lines("0 * * * *", *zone, "2027-10-31T01:30")] == [
        "Sun 2027-10-31 02:00:00 CEST +02:00",
        "Sun 2027-10-31 02:00:00 CET +01:00",
        "Sun 2027-10-31 03:00:00 CET +01:00",
    ]


def test_a_fixed_zone_has_nothing_to_say() -> None:
    assert told("30 2 * * *", "--from", "2027-03-26T12:00Z", "--count", "2") == {
        "rhythm": "30 2 * * * UTC",
        "reading": "At 02:30",
        "tz": "UTC",
        "dst": "debian",
        "times": [
            {"at": "2027-03-27T02:30:00+00:00", "at_ms": 1806114600000, "note": None},
            {"at": "2027-03-28T02:30:00+00:00", "at_ms": 1806201000000, "note": None},
        ],
        "left_out": [],
        "outage": None,
    }


def test_an_interval() -> None:
    assert explain("--every", "1.5 s", "--from", "2027-01-01T00:00", "--count", "2") == (
        """\
every 1.5 s
Every 1.5 seconds
Counted from when the schedule begins; here from the instant that is asked about.

  Fri 2027-01-01 00:00:01.500 CET +01:00
  Fri 2027-01-01 00:00:03 CET +01:00
"""
    )
    assert told("--every", "1.5", "--count", "1")["rhythm"] == "every 1.5 s"
    assert told("--every", "1h30m", "--tz", "Asia/Kathmandu", "--count", "1")["rhythm"] == "every 90 min"


def test_from_now_on_unless_told_otherwise() -> None:
    times = told("* * * * *")["times"]
    assert [later["at_ms"] - earlier["at_ms"] for earlier, later in itertools.pairwise(times)] == [60_000] * 9


def test_an_expression_in_several_words() -> None:
    assert told("0", "3", "1", "1", "1", "--count", "1")["rhythm"] == "0 3 1 1 1 UTC"


def test_what_nobody_lives_to_see_ends() -> None:
    times = told("--every", "36500d", "--count", "1000")["times"]
    assert 60 < len(times) < 75
    assert told("0 0 29 2 *", "--from", "8997-01-01T00:00")["times"] == []
    assert "no next time" in explain("--every", "1d", "--from", "8999-12-31T12:00")


# -- an outage -----------------------------------------------------------------------------------------------

HOURLY = ("0 * * * *", "--tz", "Europe/Berlin", "--from", "2027-01-01T12:00", "--count", "1", "--down")


def test_three_hours_of_an_hourly_schedule() -> None:
    assert explain(*HOURLY, "2027-01-01T12:30/2027-01-01T15:30").split("\n\n")[2] == (
        """\
Down from Fri 2027-01-01 12:30:00 CET +01:00
       to Fri 2027-01-01 15:30:00 CET +01:00, 3 h:
3 occurrences missed, and on return
  one   sends 1, skips 2
          scheduled for Fri 2027-01-01 15:00:00 CET +01:00
  skip  sends none, skips 3
  all   sends 3
          scheduled for Fri 2027-01-01 13:00:00 CET +01:00
          scheduled for Fri 2027-01-01 14:00:00 CET +01:00
          scheduled for Fri 2027-01-01 15:00:00 CET +01:00
then regularly again: Fri 2027-01-01 16:00:00 CET +01:00
"""
    )


def by_policy(*words: str) -> dict[str, tuple[int, int]]:
    """How many each policy sends and skips."""
    policies = told(*words)["outage"]["policies"]
    return {policy: (answer["sends"], answer["skips"]) for policy, answer in policies.items()}


@pytest.mark.parametrize("to", ["15:00", "15:00:00.400", "14:59"])
def test_what_is_due_on_return_is_not_missed(to: str) -> None:
    down = f"2027-01-01T12:00/2027-01-01T{to}"
    assert by_policy(*HOURLY, down) == {"one": (1, 2), "skip": (0, 3), "all": (3, 0)}
    assert told(*HOURLY, down)["outage"]["then"]["at"] == "2027-01-01T15:00:00+01:00"


def test_no_occurrence_missed() -> None:
    assert by_policy(*HOURLY, "2027-01-01T12:10/2027-01-01T12:50") == {"one": (0, 0), "skip": (0, 0), "all": (0, 0)}
    assert "0 occurrences missed\nthen" in explain(*HOURLY, "2027-01-01T12:10/2027-01-01T12:50")


def test_all_go_back_no_further_than_the_window() -> None:
    down = "2027-01-01T12:30/2027-01-03T15:30"
    text = explain(*HOURLY, down)
    assert "  all   sends 24, skips 27 older than the catch-up window of 24 h\n" in text
    assert "          … and 14 more\n" in text
    policies = told(*HOURLY, down, "--catch-up-window", "2h")["outage"]["policies"]
    assert policies["all"]["skipped"] == {"occurrences_too_old": 49}
    assert [time["at"] for time in policies["all"]["scheduled_for"]] == [
        "2027-01-03T14:00:00+01:00",
        "2027-01-03T15:00:00+01:00",
    ]
    assert policies["one"]["skipped"] == {"occurrences_missed": 50}


def test_far_more_than_a_step_takes() -> None:
    answer = told("* * * * * *", "--count", "1", "--down", "2027-01-01T00:00/2027-01-01T05:00")["outage"]
    assert answer["missed"] == 18_000
    assert answer["policies"]["one"]["scheduled_for"][0]["at"] == "2027-01-01T04:59:59+00:00"
    assert len(answer["policies"]["all"]["scheduled_for"]) == 1_000
    assert answer["policies"]["all"]["sends"] == 18_000


def test_an_outage_over_a_clock_change() -> None:
    answer = told(*BERLIN, "2027-03-28T00:00", "--down", "2027-03-28T01:00/2027-03-28T04:00")["outage"]
    assert answer["down"]["at"], answer["up"]["at"] == ("2027-03-28T01:00:00+01:00", "2027-03-28T04:00:00+02:00")
    assert answer["policies"]["one"]["scheduled_for"][0]["at"] == "2027-03-28T03:00:00+02:00"


def test_an_interval_counts_from_when_the_outage_began() -> None:
    answer = told("--every", "20m", "--count", "1", "--down", "2027-01-01T12:10Z/2027-01-01T13:00Z")["outage"]
    assert [time["at"][11:16] for time in answer["policies"]["all"]["scheduled_for"]] == ["13:10", "13:30", "13:50"]


# -- a schedule that there is --------------------------------------------------------------------------------


@pytest.fixture
def known(bare: None, rows: str, delays: Delays, settings: Settings) -> Callable[..., Any]:
    """Makes a schedule in the settings, and explains it."""

    def known(*words: str, **options: object) -> Any:
        parts = {"channel": "sink", "message": {"type": "a"}, **options}
        settings.DELAYSERVER = {**settings.DELAYSERVER, "SCHEDULES": {"known": parts}}
        return delays.json("explain", "--schedule", "known", *words)

    return known


def test_it_is_explained_with_all_that_it_says(known: Callable[..., Any], delays: Delays) -> None:
    down = "2027-01-01T12:30/2027-01-01T15:30"
    first = {"cron": "0 * * * *", "tz": "Europe/Berlin", "starts": "2027-01-01T14:00:00+01:00"}
    answer = known("--down", down, "--from", "2027-01-01T12:00", **first, expires=3_600_000, catch_up="all")
    assert answer["times"][0]["at"] == "2027-01-01T14:00:00+01:00"
    assert answer["outage"]["policies"]["all"]["sends"] == 1
    assert answer["outage"]["policies"]["all"]["skipped"] == {"occurrences_expired": 1}
    text = delays("explain", "--schedule", "known", "--down", down)
    assert "known: 0 * * * * Europe/Berlin\nEvery hour\n" in text
    assert "  all   sends 1, skips 1 that would have expired after 60 min, as this schedule has it\n" in text


def test_it_must_not_overlap_and_ends(known: Callable[..., Any]) -> None:
    down = "2027-01-01T12:30Z/2027-01-01T15:30Z"
    answer = known("--down", down, cron="0 * * * *", overlap="skip", catch_up="all")["outage"]["policies"]
    assert (answer["all"]["sends"], answer["all"]["skipped"]) == (1, {"occurrences_overlapped": 2})
    answer = known("--down", down, cron="0 * * * *", max_runs=2, catch_up="all")
    assert (len(answer["times"]), answer["outage"]["policies"]["all"]["sends"]) == (2, 2)
    assert known(cron="0 * * * *", ends="2020-01-01T00:00:00Z")["times"] == []


def test_one_that_is_disabled_or_jitters_says_so(known: Callable[..., Any], delays: Delays) -> None:
    known(cron="0 * * * *", enabled=False, jitter=60_000)
    text = delays("explain", "--schedule", "known")
    assert "It is disabled: these are the times that it would have.\n" in text
    assert "Each goes out up to 60 s later, by chance.\n" in text


def test_one_that_is_not_there_or_broken_is_refused(known: Callable[..., Any], delays: Delays) -> None:
    with pytest.raises(CommandError, match=r"schedule known cannot be kept: .*every and cron, got neither"):
        known()
    assert delays.refused("explain", "--schedule", "nobody") == (1, "there is no schedule nobody")


# -- wrong usage ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ([], 2, "expected one of EXPRESSION, --every and --schedule, got none"),
        (["* * * * *", "--every", "1s"], 2, "got several"),
        (["--every", "1s", "--dst", "wall"], 2, "expected --dst only beside EXPRESSION"),
        (["--every", "0s"], 1, "expected interval to be whole milliseconds"),
        (["--every", "0.0001s"], 1, "expected interval to be whole milliseconds"),
        (["0 0 30 2 *"], 1, "'0 0 30 2 *' never fires: no such day ever comes"),
        (["nonsense"], 1, "expected 5 fields, or 6 with seconds last, got 1"),
        ([""], 1, "expected"),
        (["* * * * *", "--tz", "Europe/Berlim"], 1, "did you mean Europe/Berlin"),
        (["* * * * *", "--down", "2027-01-02/2027-01-01"], 2, "with FROM before TO, got the reverse"),
        (["* * * * *", "--down", "2027-01-01/2027-01-01"], 2, "with FROM before TO, got the reverse"),
        (["* * * * * *", "--down", "2020-01-01/2027-01-01"], 1, "at most 100 000 occurrences, got more"),
        (["* * * * *", "--from", "1900-01-01T00:00+14:00"], 1, "expected an instant from 1900 to 8999"),
        (["--schedule", "a"], 1, "You do not have any CHANNEL_LAYERS configured"),
    ],
)
def test_what_cannot_be_explained(words: list[str], code: int, sentence: str) -> None:
    given, got = refused(*words)
    assert given == code
    assert sentence in got


def test_as_a_user_runs_it(run: Callable[..., Process]) -> None:
    bare = {"DELAYSERVER_TEST_LAYERS": "{}"}
    output = run("explain", *BERLIN, "2027-03-26T12:00", **bare).output
    assert output.splitlines()[:2] == ["30 2 * * * Europe/Berlin", "At 02:30"]
    assert "never fires" in run("explain", "0 0 30 2 *", code=1, **bare).output
    for words, sentence in (
        (["--count", "0"], "argument --count: expected a whole number from 1 to 1000, got '0'"),
        (["--from", "soon"], "argument --from: expected an ISO 8601 instant"),
        (["--down", "2027-01-01"], "argument --down: expected two instants, FROM/TO, got '2027-01-01'"),
        (["--from", "9999-12-31T23:59"], "argument --from: expected an ISO 8601 instant from 1900 to 8999"),
        (["--down", "a/b"], "argument --down: expected an ISO 8601 instant"),
        (["--every", "5x"], "argument --every: expected seconds, or a number and one of ms, s, m, h, d, w"),
        (["--every", "999999999999w"], "argument --every: expected at most 100 years"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ):
        assert sentence in run("explain", "* * * * *", *words, code=2, **bare).output
