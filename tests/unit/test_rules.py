"""Plain options become a rule, or are refused with the part that is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delayserver import Cron, Every, InvalidSchedule, Retry
from delayserver.content import unpack
from delayserver.message import Occurrence, Target
from delayserver.occurrences import Rule
from delayserver.rules import MAX_NAME_BYTES, make_rule

CRON = {"cron": "0 3 * * *", "channel": "reports", "message": {"type": "report.build"}}


def make(**options: Any) -> Rule:
    return make_rule("nightly", {**CRON, **options}, "settings")


def test_what_is_left_out_has_its_default() -> None:
    rule = make()
    assert rule.recurrence == Cron("0 3 * * *")
    assert (rule.target, unpack(rule.body)) == (Target("channel", "reports"), {"type": "report.build"})
    assert (rule.catch_up, rule.catch_up_window, rule.overlap) == ("one", 86_400_000, "allow")
    assert (rule.jitter, rule.starts, rule.ends, rule.max_runs, rule.expires) == (0, None, None, None, None)
    assert rule.enabled and rule.retry is None


def test_all_that_can_be_said() -> None:
    rule = make_rule(
        "nightly",
        {
            "every": 1.5,
            "anchor": "2026-01-01T00:00:00+01:00",
            "group": "sinks",
            "message": {"type": "tick"},
            "catch_up": "all",
            "catch_up_window": timedelta(hours=2),
            "overlap": "queue_one",
            "jitter": 500,
            "starts": datetime(2026, 1, 1, tzinfo=UTC),
            "ends": "2027-01-01T00:00:00Z",
            "max_runs": 3,
            "enabled": False,
            "expires": timedelta(minutes=1),
            "retry": {"max_attempts": 2, "backoff": 100},
        },
        "row",
    )
    anchor = datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert rule.recurrence == Every(timedelta(milliseconds=1_500), anchor=anchor)
    assert rule.target == Target("group", "sinks")
    assert (rule.catch_up, rule.catch_up_window, rule.overlap, rule.jitter) == ("all", 7_200_000, "queue_one", 500)
    assert (rule.starts, rule.ends) == (1_767_225_600_000, 1_798_761_600_000)
    assert (rule.max_runs, rule.enabled, rule.expires) == (3, False, 60_000)
    assert rule.retry == Retry(max_attempts=2, backoff=timedelta(milliseconds=100))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cron": None}, "expected one of every and cron, got neither"),
        ({"every": 5}, "expected one of every and cron, got every and cron"),
        ({"cron": "0 25 * * *"}, "hour"),
        ({"cron": 5}, "expression"),
        ({"tz": "Europe/Berln"}, "Europe/Berlin"),
        ({"anchor": datetime(2026, 1, 1, tzinfo=UTC)}, "expected anchor only beside every"),
        ({"cron": None, "every": 5, "tz": "UTC"}, "expected tz only beside cron"),
        ({"cron": None, "every": "5"}, "expected every to be seconds or a timedelta, got '5'"),
        ({"cron": None, "every": True}, "expected every to be seconds or a timedelta, got True"),
        ({"cron": None, "every": 0}, "1 ms"),
        ({"cron": None, "every": -1}, "1 ms"),
        ({"cron": None, "every": 1e300}, "expected every"),
        ({"cron": None, "every": float("nan")}, "expected every"),
        ({"channel": None}, "expected one of channel and group, got neither"),
        ({"group": "sinks"}, "expected one of channel and group, got both"),
        ({"channel": "re ports"}, "expected channel to be a name"),
        ({"channel": "asgi.delay"}, "expected a target other than asgi.delay itself"),
        ({"message": None}, "expected a message, got none"),
        ({"message": {"n": 1}}, "type"),
        ({"message": {"type": "x", "__delay__": 1}}, "__delay__"),
        ({"message": {"type": "x", "body": "y" * 2_000_000}}, "bytes"),
        ({"catch_up": "two"}, "expected catch_up to be one, skip, all, got 'two'"),
        ({"catch_up": ["one"]}, "expected catch_up to be"),
        ({"overlap": True}, "expected overlap to be"),
        ({"jitter": 0.5}, "did you mean timedelta(seconds=0.5)"),
        ({"catch_up_window": -1}, "expected catch_up_window"),
        ({"cron": "* * * * *", "jitter": 60_000}, "expected jitter to be less than 60000 ms"),
        ({"cron": "0,5 3 * * *", "jitter": timedelta(minutes=6)}, "expected jitter to be less than 300000 ms"),
        ({"cron": None, "every": 1, "jitter": 1_000}, "expected jitter to be less than 1000 ms"),
        ({"message": "password"}, "expected message to be a dict, got str"),
        ({"starts": datetime(2026, 1, 1)}, "expected starts to be an aware datetime"),  # noqa: DTZ001
        ({"ends": "tomorrow"}, "expected ends to be an aware datetime, or ISO 8601"),
        ({"starts": "2026-01-02T00:00Z", "ends": "2026-01-01T00:00Z"}, "expected ends not to be before starts"),
        ({"max_runs": 0}, "expected max_runs to be a whole number"),
        ({"max_runs": True}, "expected max_runs to be a whole number"),
        ({"enabled": 1}, "expected enabled to be True or False"),
        ({"retry": {"attempts": 2}}, "expected retry to have no keys but"),
        ({"retry": 3}, "expected retry to be a Retry"),
        ({"chanel": "x"}, "got 'chanel'"),
        ({5: "x"}, "got '5'"),
    ],
)
def test_what_is_wrong_is_named(change: dict[Any, Any], told: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        make_rule("nightly", {**CRON, **change}, "settings")
    assert told in str(caught.value)


@pytest.mark.parametrize("name", ["", " nightly", "nightly ", "a\nb", "a\0b", "x" * 101, "ä" * 86, 5, None, b"nightly"])
def test_names_that_are_none(name: Any) -> None:
    with pytest.raises(InvalidSchedule, match="expected name to be 1 to 100 printable characters"):
        make_rule(name, CRON, "settings")


def test_the_longest_name_makes_an_id_that_every_store_takes() -> None:
    name = "ä" * (MAX_NAME_BYTES // 2)
    make_rule(name, CRON, "settings")
    assert len(Occurrence(name, 2**46).id.encode()) <= 200


@given(
    st.dictionaries(
        st.sampled_from(
            [*CRON, "every", "tz", "catch_up", "overlap", "jitter", "starts", "max_runs", "enabled", "expires", "retry"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=5,
        ),
    )
)
def test_nothing_but_a_rule_or_a_refusal_comes_of_anything(options: dict[str, Any]) -> None:
    try:
        rule = make_rule("nightly", options, "row")
    except InvalidSchedule:
        return
    assert rule.recurrence.next_ms(0) > 0


def test_rules_of_the_same_options_are_the_same() -> None:
    assert make() == make() and make().rhythm == make().rhythm and make().message == make().message
    assert make(cron="0 4 * * *").rhythm != make().rhythm
    assert make(message={"type": "other"}).message != make().message
    assert make(message={"type": "other"}).rhythm == make().rhythm


@pytest.mark.parametrize(
    "change", [{"starts": datetime(9500, 1, 1, tzinfo=UTC)}, {"ends": datetime(2201, 1, 1, tzinfo=UTC)}]
)
def test_instants_that_cannot_be_reckoned_with(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidSchedule, match="to be in 2200 or before"):
        make(**change)


def test_an_anchor_in_the_first_year_is_refused() -> None:
    with pytest.raises(InvalidSchedule, match="expected anchor to be from 1900 to 8999"):
        make(cron=None, every=86_400, anchor="0001-01-01T00:00+14:00")
