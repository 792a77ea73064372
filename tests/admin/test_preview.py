"""What is told while someone types."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from pytest_django import Settings

from delayserver.models import Schedule
from delayserver.rules import make_rule

from .conftest import PREVIEW, form, schedule, someone, step


def told(now: str, **options: object) -> list[str]:
    """The times in short, from an instant in UTC on."""
    from delayserver.admin.preview import times  # where there is no admin, it cannot be imported

    rule = make_rule("any", {"channel": "any", "message": {"type": "any"}, **options}, "row")
    instant = datetime.fromisoformat(now).replace(tzinfo=UTC)
    found = times(rule, round(instant.timestamp() * 1000))["times"]
    return [f"{time['day']} {time['time']} {time['offset']} {time['mark']}".strip() for time in found]


def test_the_reading_and_the_next_five_times(ada: Client) -> None:
    answer = ada.post(PREVIEW, form(cron="5 4 * * mon", tz="Asia/Kathmandu")).json()
    assert answer["errors"] == {}
    assert answer["reading"] == "At 04:05, only on Monday"
    assert answer["zone"] == "Asia/Kathmandu"
    assert [(time["time"], time["offset"], time["day"][:3]) for time in answer["times"]] == [
        ("04:05:00", "UTC+05:45", "Mon")
    ] * 5
    assert not Schedule.objects.exists()


def test_where_the_clock_changes_there_is_a_mark() -> None:
    assert told("2027-03-26T12:00", cron="30 2 * * *", tz="Europe/Berlin")[:3] == [
        "Sat 27 Mar 2027 02:30:00 UTC+01:00",
        "Sun 28 Mar 2027 03:00:00 UTC+02:00 clocks go forward 1 h before it",
        "Mon 29 Mar 2027 02:30:00 UTC+02:00",
    ]
    assert told("2027-04-02T12:00", cron="0 3 * * *", tz="Australia/Lord_Howe")[1] == (
        "Sun 4 Apr 2027 03:00:00 UTC+10:30 clocks go back 30 min before it"
    )


def test_an_end_is_told() -> None:
    ends = datetime(2027, 1, 1, 0, 0, 3, tzinfo=UTC)
    assert len(told("2027-01-01T00:00", every=1, ends=ends)) == 3
    assert len(told("2027-01-01T00:00", every=1, max_runs=2)) == 2
    assert told("2027-01-02T00:00", every=1, ends=ends) == []


def test_runs_that_were_are_counted(ada: Client) -> None:
    row = schedule("nightly", max_runs=3)
    step("nightly", runs=2)  # of which one waits
    answer = ada.post(f"{PREVIEW}?id={row.pk}", form(max_runs="3")).json()
    assert (len(answer["times"]), answer["note"]) == (2, "And then it ends.")
    answer = ada.post(f"{PREVIEW}?id={row.pk}", form(max_runs="1")).json()  # another rhythm: it begins anew
    assert (len(answer["times"]), answer["note"]) == (1, "And then it ends.")


def test_each_error_comes_with_its_field_beside_what_can_be_told(ada: Client) -> None:
    answer = ada.post(PREVIEW, form(cron="0 3 * * *", channel="", message='{"type": ""}')).json()
    assert answer["errors"].keys() == {"channel", "message"}
    assert len(answer["times"]) == 5
    answer = ada.post(PREVIEW, form(cron="0 25 * * *")).json()
    assert answer["errors"] == {"cron": ["Expected hour to be from 0 to 23, got '25'."]}
    assert answer["times"] == []


def test_an_interval_counts_from_where_the_row_does(ada: Client) -> None:
    row = schedule("beat", cron="", every=timedelta(minutes=1))
    step("beat", anchor=7_000)
    sent = form(name="beat", cron="", every="00:01:00")
    assert "As if it were saved now" in ada.post(PREVIEW, sent).json()["note"]
    answer = ada.post(f"{PREVIEW}?id={row.pk}", sent).json()
    assert answer["errors"] == {}
    assert (answer["reading"], answer["note"]) == ("Every minute", "")
    assert {time["time"][-2:] for time in answer["times"]} == {"07"}
    row.refresh_from_db()
    assert row.name == "beat"


@pytest.mark.parametrize("may", ["view", "add", "change"])
def test_whoever_may_see_the_form_may_ask(db: None, may: str) -> None:
    assert someone(may).post(PREVIEW, form()).status_code == 200


def test_nobody_else_may(db: None) -> None:
    assert someone("delete").post(PREVIEW, form()).status_code == 403
    assert Client().post(PREVIEW, form()).status_code == 302
    client = someone("add", name="eve")
    assert client.get(PREVIEW).status_code == 405
    client.handler.enforce_csrf_checks = True
    assert client.post(PREVIEW, form()).status_code == 403


@pytest.mark.parametrize("query", ["?id=x", "?id=0", f"?id={'9' * 99}", "?id=-1", "?id=²", "?id="])
def test_an_odd_id_is_none(ada: Client, query: str) -> None:
    assert ada.post(PREVIEW + query, form()).json()["errors"] == {}


def test_what_comes_in_has_a_limit(ada: Client, settings: Settings) -> None:
    settings.DELAYSERVER = {"MAX_MESSAGE_BYTES": 1000}
    assert ada.post(PREVIEW, form(cron="9" * 100_000)).status_code == 413
    errors = ada.post(PREVIEW, form(cron="9" * 10_000, tz="9" * 10_000, name="9" * 10_000)).json()["errors"]
    assert errors.keys() == {"cron", "tz", "name"}
