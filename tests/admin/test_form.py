"""The form: what it refuses and where, what it saves, and how a row that SQL has broken is mended."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from pytest_django import Settings

from delayserver.errors import InvalidSchedule
from delayserver.models import Schedule
from delayserver.rules import make_rule

from .conftest import LIST, form, history, schedule, scribble, someone

ADD = f"{LIST}add/"


def refused(client: Client, **parts: str) -> dict[str, list[str]]:
    page = client.post(ADD, form(**parts))
    assert page.status_code == 200
    errors: dict[str, list[str]] = page.context["adminform"].form.errors
    return errors


def test_it_saves_a_schedule(ada: Client) -> None:
    answer = ada.post(ADD, form(tz="Europe/Berlin", jitter="00:00:30", retry='{"max_attempts": 3}'))
    assert answer.status_code == 302
    row = Schedule.objects.get()
    assert (row.name, row.cron, row.tz, row.jitter) == ("nightly", "0 3 * * *", "Europe/Berlin", timedelta(seconds=30))
    assert row.message == {"type": "report.build"}
    assert row.retry == {"max_attempts": 3}


@pytest.mark.parametrize(
    ("parts", "field", "why"),
    [
        ({"cron": "61 3 * * *"}, "cron", "Expected minute to be from 0 to 59, got '61'."),
        ({"cron": ""}, "cron", "Expected one of every and cron, got neither."),
        ({"every": "00:05:00"}, "cron", "Expected one of every and cron, got every and cron."),
        ({"tz": "Europe/Berln"}, "tz", "Unknown time zone 'Europe/Berln'"),
        ({"cron": "", "every": "00:05:00", "tz": "UTC"}, "tz", "Expected tz only beside cron, got it beside every."),
        ({"anchor_0": "2026-01-01", "anchor_1": "00:00"}, "anchor", "Expected anchor only beside every"),
        ({"cron": "", "every": "-00:05:00"}, "every", "Expected interval to be whole milliseconds, from 1 ms"),
        ({"group": "board"}, "channel", "Expected one of channel and group, got both."),
        ({"channel": ""}, "channel", "Expected one of channel and group, got neither."),
        ({"channel": "no spaces"}, "channel", "Expected channel to be a name of 1 to"),
        ({"channel": "", "group": "é"}, "group", "Expected group to be a name of 1 to"),
        ({"channel": "asgi.delay"}, "channel", "Expected a target other than asgi.delay itself."),
        ({"message": '{"type": ""}'}, "message", "Expected content to have a type"),
        ({"message": '["type"]'}, "message", "Expected message to be a dict"),
        ({"retry": '{"max_attempts": 0}'}, "retry", "Expected retry max_attempts to be"),
        ({"retry": "[3]"}, "retry", "Expected retry to be a Retry or its parts as a dict"),
        ({"jitter": "-00:00:01"}, "jitter", "Expected jitter to be from 0"),
        ({"max_runs": "0"}, "max_runs", "Expected max_runs to be a whole number, 1 or more, got 0."),
        ({"name": "a\u2028b"}, "name", "Expected name to be 1 to 100 printable characters"),
        (
            {"starts_0": "2027-01-02", "starts_1": "00:00", "ends_0": "2027-01-01", "ends_1": "00:00"},
            "ends",
            "Expected ends not to be before starts.",
        ),
    ],
)
def test_an_error_stands_at_its_field(ada: Client, parts: dict[str, str], field: str, why: str) -> None:
    errors = refused(ada, **parts)
    assert list(errors) == [field]
    assert errors[field][0].startswith(why)
    assert not Schedule.objects.exists()


def test_all_errors_are_told_at_once(ada: Client) -> None:
    errors = refused(ada, cron="x", tz="y", channel="a b", message="{", jitter="-1", max_runs="0", catch_up="never")
    assert set(errors) == {"cron", "tz", "channel", "message", "jitter", "max_runs", "catch_up"}
    assert all(len(sentences) == 1 for sentences in errors.values())


def test_a_name_is_free_or_refused(ada: Client, settings: Settings) -> None:
    settings.DELAYSERVER = {"SCHEDULES": {"beat": {"every": 5, "channel": "sink", "message": {"type": "beat"}}}}
    schedule("nightly")
    assert "another row has it" in refused(ada)["name"][0]
    assert "there is a beat in DELAYSERVER['SCHEDULES']" in refused(ada, name="beat")["name"][0]


def test_a_refusal_names_its_part() -> None:
    plain = {"every": 5, "channel": "sink", "message": {"type": "beat"}}
    for part, value in {"every": 0, "overlap": "x", "starts": "soon", "enabled": 1, "expires": -1}.items():
        with pytest.raises(InvalidSchedule) as error:
            make_rule("beat", {**plain, part: value}, "code")
        assert error.value.part == part


# -- disabling -------------------------------------------------------------------------------------------------


def test_unticking_writes_a_note_and_ticking_clears_it(ada: Client) -> None:
    row = schedule("nightly")
    url = f"{LIST}{row.pk}/change/"
    off = form(why="the printer is away")
    del off["enabled"]
    assert ada.post(url, off).status_code == 302
    row.refresh_from_db()
    assert (row.enabled, row.paused_by, row.paused_why) == (False, "ada", "the printer is away")
    assert row.paused_at is not None

    since = row.paused_at
    assert "by ada, " in ada.get(url).content.decode()
    assert someone("change", "view").post(url, off | {"why": "still"}).status_code == 302
    row.refresh_from_db()
    assert (row.paused_by, row.paused_why, row.paused_at) == ("ada", "still", since)

    assert ada.post(url, form(why="still")).status_code == 302
    row.refresh_from_db()
    assert (row.enabled, row.paused_by, row.paused_why) == (True, "", "")
    assert Schedule.objects.filter(paused_at=None).exists()
    assert len(history()) == 3


# -- broken rows -----------------------------------------------------------------------------------------------


def test_a_row_that_cannot_be_read_is_opened_and_mended(ada: Client) -> None:
    row = schedule("nightly", every=None)
    scribble(
        row, cron="every day", expires="soon", message="{nope", starts="2026-99-99 00:00:00", paused_at="5 o'clock"
    )
    url = f"{LIST}{row.pk}/change/"
    page = ada.get(url).content.decode()
    assert "The column expires holds what cannot be read; saving replaces it: &#x27;soon&#x27;" in page
    assert "every day" in page
    assert "{nope" in page
    assert ada.post(url, form()).status_code == 302
    row.refresh_from_db()
    assert (row.cron, row.expires, row.starts, row.message) == ("0 3 * * *", None, None, {"type": "report.build"})


@pytest.mark.parametrize("how", ["one", "many"])
def test_a_row_that_cannot_be_read_is_deleted(ada: Client, how: str) -> None:
    row = schedule("nightly")
    scribble(row, expires="soon")
    if how == "one":
        answer = ada.post(f"{LIST}{row.pk}/delete/", {"post": "yes"})
    else:
        answer = ada.post(LIST, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    assert answer.status_code == 302
    assert not Schedule.objects.exists()


def test_those_who_may_only_look_see_the_next_times(db: None) -> None:
    row = schedule("nightly")
    page = someone("view").get(f"{LIST}{row.pk}/change/").content.decode()
    assert "At 03:00" in page
    assert 'name="cron"' not in page
