"""``delays schedules``: seen, made, changed, stopped and thrown away, on each kind of store."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connections
from pytest_django import Settings

from delayserver import declaring
from delayserver.layers import get_layer
from delayserver.loops.tick import Tick
from delayserver.management.delays import schedule_options
from delayserver.management.delays.options import Parser
from delayserver.models import Schedule
from delayserver.occurrences import Cursor
from delayserver.recurrence import Cron, Every
from delayserver.schedules import Timetable

from ..docs.blocks import ROOT, table_rows
from ..process.conftest import Site
from ..support.process import Process
from ..support.wait import wait_for
from .conftest import Delays, Terminal
from .test_command import run as run  # the command as a user runs it

PAGE = ROOT / "docs/reference/command.md"
MESSAGE = ("--channel", "sink", "--message", '{"type": "report.build", "id": 7}')
HOURLY = ("--cron", "0 * * * *", *MESSAGE)
HOUR = 3_600_000


class Plans:
    """``delays schedules``, with rows and with what is in the settings."""

    def __init__(self, delays: Delays, settings: Settings, database: str) -> None:
        self.delays, self._settings, self.database = delays, settings, database

    def __call__(self, *words: str, **options: Any) -> str:
        return self.delays("schedules", *words, **options)

    def json(self, *words: str) -> Any:
        return self.delays.json("schedules", *words)

    def refused(self, *words: str) -> tuple[int, str]:
        return self.delays.refused("schedules", *words)

    def one(self, name: str) -> Any:
        """As `list` tells it."""
        [one] = self.json("list", name)["schedules"]
        return one

    @property
    def rows(self) -> Any:
        return Schedule.objects.using(self.database)

    def row(self, name: str, **parts: Any) -> None:
        self.rows.create(name=name, **{"channel": "sink", "message": {"type": "a"}, **parts})

    def in_settings(self, **schedules: object) -> None:
        self._settings.DELAYSERVER = {**self._settings.DELAYSERVER, "SCHEDULES": schedules}

    def serve(self, tick: Tick | None = None) -> Tick:
        """A server, a new one if none is given, does what there is to do."""
        store = self.delays.store
        tick = tick or Tick(store, get_layer("default"), Timetable(fresh=0.0), lambda name: True)

        async def serve() -> None:
            await store.aread_clock()
            for _ in range(5):
                await tick.run_once()

        async_to_sync(serve)()
        return tick

    def waiting(self) -> list[Any]:
        return [message["id"] for message in self.delays.json("list")["messages"]]

    def cursor(self, name: str) -> Cursor | None:
        seen = async_to_sync(self.delays.store.cursors)([name]).get(name)
        return None if seen is None else Cursor.unpack(seen)


@pytest.fixture
def plans(rows: str, delays: Delays, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Plans:
    monkeypatch.setattr(declaring, "_declared", [])
    return Plans(delays, settings, rows)


on_one = pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
FIXED = {"every": 3600, "channel": "sink", "message": {"type": "a"}}


# -- list ----------------------------------------------------------------------------------------------------


def test_none(plans: Plans) -> None:
    text = plans()
    assert text.startswith("No schedules. Add one: delays schedules add NAME --cron ")
    assert plans("list") == text
    assert plans.json("list")["schedules"] == []


def test_wherever_they_are_from(plans: Plans) -> None:
    declaring.schedule("coded", Cron("0 3 * * *", tz="Europe/Berlin"), group="all", message={"type": "b"})
    plans.in_settings(set=FIXED, twice=FIXED, bad={"cron": "61 * * * *"})
    plans("add", "made", *HOURLY)
    plans.row("twice", every=timedelta(hours=1))
    plans.row("broken", cron="0 0 30 2 *")
    plans.serve()
    head, *rows = plans(stdout=io.StringIO()).splitlines()
    assert head.split() == ["NAME", "RHYTHM", "TARGET", "STATE", "NEXT", "RUNS", "SKIPPED", "FROM"]
    table, notes = rows[:6], rows[6:]
    assert [re.split(r"  +", row)[:4] for row in table] == [
        ["bad", "broken", ""][:2],
        ["broken", "broken"],
        ["coded", "0 3 * * * Europe/Berlin", "group all", "running"],
        ["made", "0 * * * * UTC", "sink", "running"],
        ["set", "every 1 h", "sink", "running"],
        ["twice", "every 1 h", "sink", "running"],
    ]
    assert [row.split()[-1] for row in table[2:]] == ["code", "row", "settings", "settings"]
    assert notes[0].startswith("bad is broken: expected minute ")
    assert notes[1].startswith("broken is broken: '0 0 30 2 *' never fires: no such day ever comes (row ")
    assert re.fullmatch(
        r"twice is there twice: it is in DELAYSERVER.*, and so the one in row \d+ is left out", notes[2]
    )
    assert notes[3:] == ["6 schedules."]


def test_the_ones_that_are_named(plans: Plans) -> None:
    plans.in_settings(one=FIXED, two=FIXED)
    assert [one["name"] for one in plans.json("list", "two", "one", "two")["schedules"]] == ["one", "two"]
    assert plans.refused("list", "two", "three") == (1, "there is no schedule three")
    assert plans.refused("list", "three", "--json")[0] == 1


def test_all_that_json_tells(plans: Plans) -> None:
    plans(
        *("add", "made", "--cron", "0 3 * * *", "--tz", "Europe/Berlin", "--dst", "wall", *MESSAGE),
        *("--catch-up", "all", "--catch-up-window", "2h", "--overlap", "skip", "--jitter", "1.5s", "--max-runs", "9"),
        *("--starts", "2030-01-01T00:00:00+01:00", "--ends", "2031-01-01T00:00:00+01:00", "--expires", "5m"),
        *("--retry", '{"max_attempts": 3}'),
    )
    one = plans.one("made")
    assert one.pop("where").startswith("row ")
    assert one.pop("retry")["max_attempts"] == 3
    assert one == {
        "name": "made",
        "state": "waiting",
        "rhythm": "0 3 * * * Europe/Berlin",
        "reading": "At 03:00",
        "cron": "0 3 * * *",
        "tz": "Europe/Berlin",
        "dst": "wall",
        "every_ms": None,
        "anchor": None,
        "channel": "sink",
        "group": None,
        "message": {"type": "report.build", "id": 7},
        "enabled": True,
        "catch_up": "all",
        "catch_up_window_ms": 2 * HOUR,
        "overlap": "skip",
        "jitter_ms": 1_500,
        "starts": "2029-12-31T23:00:00.000Z",
        "ends": "2030-12-31T23:00:00.000Z",
        "max_runs": 9,
        "expires_ms": 300_000,
        "from": "row",
        "last": None,
        "last_ms": None,
        "next": "2030-01-01T02:00:00.000Z",
        "next_ms": 1893463200000,
        "runs": 0,
        "skipped": 0,
        "paused": None,
        "fault": None,
        "clash": None,
    }
    plans.row("broken", cron="x")
    assert {value for name, value in plans.one("broken").items() if name not in ("name", "state", "fault")} == {None, 0}


def test_an_occurrence_put_ahead_is_no_run_yet(plans: Plans) -> None:
    plans("add", "made", *HOURLY)
    plans.serve()
    one = plans.one("made")
    assert (one["state"], one["runs"], one["last"], one["next_ms"] % HOUR) == ("running", 0, None, 0)
    assert plans.waiting() == [f"schedule:made:{one['next'].replace('.000Z', '+00:00')}"] or len(plans.waiting()) == 1


def test_junk_in_rows_steers_no_terminal(plans: Plans) -> None:
    plans.row("a\x1b[31m", cron="* * * * \x1b[2J")
    plans.row("b", cron="* * * * *", channel="sink\x07")
    plans.row("c", cron="* * * * *", enabled=False, paused_by="\x1b[1m", paused_why="\x00\n".replace("\x00", "\x01"))
    plans.row("d", cron="* * * * *", message={"type": "x\x1b"})
    for text in (plans(), plans("disable", "c"), plans("edit", "d", "--message", '{"type": "y\\u001b"}')):
        assert all(line.isprintable() for line in text.splitlines()), text
    assert "c is disabled by \\u001b[1m: \\u0001\\n" in plans()
    assert plans("remove", "a\x1b[31m", "--yes") == "Removed: a\\u001b[31m\n"


def test_a_row_whose_columns_cannot_be_read(plans: Plans) -> None:
    if plans.database != "sqlite":  # others have types
        return
    plans("add", "made", *HOURLY)
    plans("add", "other", *HOURLY)
    plans("disable", "other", "--why", "because")
    with connections["sqlite"].cursor() as cursor:
        cursor.execute("UPDATE delayserver_schedule SET starts = '2020-99-99 00:00:00' WHERE name = 'made'")
        cursor.execute("UPDATE delayserver_schedule SET paused_at = '2020-99-99 00:00:00' WHERE name = 'other'")
    assert "made is broken: cannot be read: starts" in plans()
    assert plans.one("other")["paused"] == {"by": plans.one("other")["paused"]["by"], "why": "because", "at": None}
    assert plans.refused("edit", "made", "--tz", "UTC")[1].endswith("or remove it and add it again")
    assert plans("remove", "made", "--yes") == "Removed: made\n"


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
def test_an_instant_that_only_the_database_knows(plans: Plans) -> None:
    plans("add", "made", *HOURLY)
    plans("add", "other", *HOURLY)
    plans("disable", "other")
    with connections["postgres"].cursor() as cursor:
        cursor.execute("UPDATE delayserver_schedule SET ends = 'infinity' WHERE name = 'made'")
        cursor.execute("UPDATE delayserver_schedule SET paused_at = 'infinity' WHERE name = 'other'")
    assert "made is broken: cannot be read: ends (row " in plans()
    assert plans.one("other")["state"] == "disabled"


# -- add -----------------------------------------------------------------------------------------------------


def test_a_cron_is_added(plans: Plans) -> None:
    lines = plans("add", "nightly", "--cron", "30 3 * * *", "--tz", "Europe/Berlin", *MESSAGE).splitlines()
    assert lines[:3] == ["Added: nightly", "At 03:30 (Europe/Berlin)", "Next:"]
    assert len(lines) == 6
    assert all(re.fullmatch(r"  \w{3} \d{4}-\d\d-\d\d 03:30:00 CES?T \+0[12]:00", line) for line in lines[3:])
    row = plans.rows.get(name="nightly")
    assert (row.cron, row.tz, row.channel, row.message) == (
        *("30 3 * * *", "Europe/Berlin", "sink"),
        {"type": "report.build", "id": 7},
    )


def test_an_interval_is_added(plans: Plans) -> None:
    words = ("--every", "1.5s", "--group", "all", "--message", '{"type": "a"}')
    lines = plans("add", "tick", *words).splitlines()
    assert lines[:3] == ["Added: tick", "Every 1.5 seconds", "Next, counted from when a delay server sees it:"]
    assert (plans.one("tick")["every_ms"], plans.one("tick")["group"]) == (1_500, "all")
    added = plans.json("add", "tock", *words, "--anchor", "2020-01-01T00:00:00Z", "--max-runs", "2")
    assert list(added) == ["added", "schedule", "next_times"]
    assert (added["added"], len(added["next_times"])) == ("tock", 2)
    assert "It is disabled." in plans("add", "later", *words, "--disabled")
    assert "It has ended: there is no next time." in plans("add", "late", *words, "--ends", "2020-01-01T00:00:00Z")
    assert plans.one("later")["state"] == "disabled"


@on_one
def test_a_project_without_time_zones(plans: Plans, settings: Settings) -> None:
    settings.USE_TZ = False
    plans("add", "made", *HOURLY, "--starts", "2030-06-01T00:00:00Z")
    assert plans.one("made")["starts"] == "2030-06-01T00:00:00.000Z"
    assert "2031-06-01T02:00:00+02:00" in plans("edit", "made", "--starts", "2031-06-01T02:00:00+02:00")
    plans("disable", "made")
    assert plans.one("made")["starts"] == "2031-06-01T00:00:00.000Z"
    at = datetime.fromisoformat(plans.one("made")["paused"]["at"])
    assert abs(at - datetime.now(UTC)) < timedelta(minutes=5)


def test_the_message_from_stdin(plans: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"type": "b"}'))
    plans("add", "made", "--cron", "@daily", "--channel", "sink", "--message", "-")
    assert plans.one("made")["message"] == {"type": "b"}


def test_a_name_that_is_taken(plans: Plans) -> None:
    declaring.schedule("coded", Every(timedelta(hours=1)), channel="sink", message={"type": "b"})
    plans.in_settings(set=FIXED, bad={})
    plans("add", "made", *HOURLY)
    plans.row("broken", cron="x")
    for name, where in (
        ("coded", "tests.delays.test_schedules"),
        ("set", "DELAYSERVER['SCHEDULES']"),
        ("made", "row "),
        ("bad", "expected one of every and cron"),
        ("broken", "expected 5 fields"),
    ):
        code, sentence = plans.refused("add", name, *HOURLY)
        assert code == 1
        assert sentence.startswith(f"there is a schedule {name} already: {where}")
    assert plans.rows.count() == 2


def test_two_that_add_one_name(plans: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    plans("add", "made", *HOURLY)
    monkeypatch.setattr("delayserver.management.delays.scheduling._where", lambda reading, name: None)
    assert plans.refused("add", "made", *HOURLY) == (1, "there is a schedule made already: a row")


@on_one
@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--cron", "61 * * * *", *MESSAGE], 1, "expected minute "),
        (["--cron", "* * * * *", "--tz", "Mars", *MESSAGE], 1, "unknown time zone 'Mars'"),
        (["--cron", "* * * * *", "--anchor", "2030-01-01T00:00Z", *MESSAGE], 1, "expected anchor only beside every"),
        (["--every", "1h", "--tz", "UTC", *MESSAGE], 1, "expected tz only beside cron"),
        (["--every", "0ms", *MESSAGE], 1, "expected interval to be whole milliseconds"),
        (["--every", "1h", "--channel", "a b", "--message", '{"type": "a"}'], 1, "expected"),
        (["--every", "1h", "--channel", "asgi.delay", "--message", '{"type": "a"}'], 1, "other than asgi.delay itself"),
        (["--every", "1h", "--channel", "a", "--message", "[]"], 1, "expected message to be a dict"),
        (["--every", "1h", "--channel", "a", "--message", "{}"], 1, "expected content to have a type"),
        (["--every", "1h", "--channel", "a", "--message", "{"], 2, "expected --message to be JSON, got '{'"),
        (
            ["--every", "1h", "--channel", "a", "--message", "null"],
            2,
            "expected --message to be a JSON object, got null",
        ),
        (["--every", "1h", "--channel", "a", "--message", '{"type": "a", "b": 1e999}'], 2, "that JSON does not have"),
        (["--every", "1h", *MESSAGE, "--retry", "{"], 2, "expected --retry to be JSON"),
        (["--every", "1h", *MESSAGE, "--retry", '{"tries": 1}'], 1, "expected retry to have no keys but"),
        (["--every", "1h", *MESSAGE, "--retry", "5"], 1, "retry"),
        (
            ["--every", "1h", *MESSAGE, "--starts", "2031-01-01T00:00Z", "--ends", "2030-01-01T00:00Z"],
            *(1, "expected ends not to be before starts"),
        ),
    ],
)
def test_what_is_no_schedule(plans: Plans, words: list[str], code: int, sentence: str) -> None:
    given, got = plans.refused("add", "made", *words)
    assert (given, sentence in got) == (code, True), got
    assert plans.refused("add", "a\nb", *HOURLY)[1].startswith("expected name to be 1 to 100 printable characters")
    assert plans.rows.count() == 0


# -- edit ----------------------------------------------------------------------------------------------------


def test_parts_are_changed_and_taken_out(plans: Plans) -> None:
    plans("add", "made", *HOURLY, "--tz", "Europe/Berlin", "--jitter", "5s", "--retry", '{"max_attempts": 5}')
    assert plans("edit", "made", "--cron", "30 4 * * *", "--no-jitter", "--no-retry").splitlines()[:6] == [
        "Changed: made",
        "  cron: 0 * * * * -> 30 4 * * *",
        "  jitter: 5 s -> none",
        '  retry: {"max_attempts": 5} -> none',
        "At 04:30 (Europe/Berlin)",
        "Next:",
    ]
    assert plans("edit", "made", "--cron", "30 4 * * *").splitlines()[0] == "It was so already: made"
    changed = plans.json("edit", "made", "--every", "90s", "--group", "all", "--message", '{"type": "b"}')
    assert (
        changed["changed"]
        == {
            "every": {"old": None, "new": "90 s"},
            "cron": {"old": "30 4 * * *", "new": None},
            "tz": {"old": "Europe/Berlin", "new": None},
            "channel": {"old": "sink", "new": None},
            "group": {"old": None, "new": "all"},
            "message": {"old": '{"type": "report.build", "id": 7}', "new": '{"type": "b"}'},
        }
        or plans.delays.using == "postgres"
    )  # jsonb has an order of its own
    assert (changed["schedule"]["every_ms"], len(changed["next_times"])) == (90_000, 3)
    plans("edit", "made", "--cron", "0 4 * * *", "--ends", "2040-01-01T00:00:00+00:00", "--max-runs", "3")
    assert (plans.one("made")["every_ms"], plans.one("made")["max_runs"]) == (None, 3)
    assert "  ends: 2040-01-01T00:00:00+00:00 -> none" in plans("edit", "made", "--no-ends")


def test_true_is_not_1(plans: Plans) -> None:
    plans("add", "made", "--every", "1h", "--channel", "a", "--message", '{"type": "a", "b": 1}')
    assert plans("edit", "made", "--message", '{"type": "a", "b": true}').startswith("Changed: made")


def test_every_part_can_be_taken_out(plans: Plans) -> None:
    plans(
        *("add", "made", *HOURLY, "--tz", "UTC", "--dst", "wall", "--catch-up-window", "1h", "--jitter", "1s"),
        *("--starts", "2030-01-01T00:00Z", "--ends", "2040-01-01T00:00Z", "--max-runs", "3", "--expires", "1h"),
        *("--retry", '{"max_attempts": 5}'),
    )
    flags = [f"--no-{part.replace('_', '-')}" for part in schedule_options.CLEARED]
    plans("edit", "made", *flags)
    row = plans.rows.get(name="made")
    assert {getattr(row, part) for part in schedule_options.CLEARED} == {None, ""}


def test_a_new_rhythm_takes_back_what_was_put_ahead(plans: Plans) -> None:
    plans("add", "made", *HOURLY)
    plans.serve()
    [before] = plans.waiting()
    plans("edit", "made", "--cron", "30 4 * * *")
    plans.serve()
    [after] = plans.waiting()
    assert before != after


def test_what_cannot_be_changed(plans: Plans) -> None:
    declaring.schedule("coded", Every(timedelta(hours=1)), channel="sink", message={"type": "b"})
    plans.in_settings(set=FIXED, bad={}, twice=FIXED)
    plans.row("twice", cron="@daily")
    plans("add", "made", *HOURLY)
    assert plans.refused("edit", "made") == (2, "expected what to change, got no option")
    assert plans.refused("edit", "nobody", "--cron", "@daily") == (1, "there is no schedule nobody")
    assert plans.refused("edit", "made", "--jitter", "1s", "--no-jitter") == (
        *(2, "expected --jitter or --no-jitter, got both"),
    )
    for name, where in (
        ("coded", "tests."),
        ("set", "DELAYSERVER["),
        ("twice", "DELAYSERVER["),
        ("bad", "expected one"),
    ):
        code, sentence = plans.refused("edit", name, "--tz", "UTC")
        assert code == 1
        assert sentence.startswith(f"{name} is no row, and can be changed only where it is defined: {where}")
    assert plans.refused("edit", "made", "--cron", "x")[0] == 1
    assert plans.refused("edit", "made", "--anchor", "2030-01-01T00:00Z")[0] == 1
    assert plans.one("made")["cron"] == "0 * * * *"


def test_a_broken_row_is_mended(plans: Plans) -> None:
    plans.row("broken", cron="61 * * * *")
    assert "  cron: 61 * * * * -> 1 * * * *" in plans("edit", "broken", "--cron", "1 * * * *")
    assert plans.one("broken")["state"] == "waiting"


# -- enable, disable -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["row", "settings", "code"])
def test_stopped_and_let_go_again(plans: Plans, source: str) -> None:
    if source == "row":
        plans("add", "made", *HOURLY)
    elif source == "code":
        declaring.schedule("made", Cron("0 * * * *"), channel="sink", message={"type": "b"})
    else:
        plans.in_settings(made=FIXED)
    plans.serve()
    assert len(plans.waiting()) == 1
    assert plans("enable", "made").startswith("It was not disabled: made, next in ")
    text = plans("disable", "made", "--why", "it is\x1b broken", "--by", "anna")
    assert text == "Disabled: made by anna: it is\\u001b broken\n"
    assert re.match(
        "It was disabled already: made by anna, (.* ago|in .*): it is", plans("disable", "made", "--by", "bert")
    )
    plans.serve()
    assert plans.waiting() == []
    one = plans.one("made")
    assert (one["state"], one["next"]) == ("disabled" if source == "row" else "paused", None)
    assert (one["paused"]["by"], one["paused"]["why"]) == ("anna", "it is\x1b broken")
    assert abs(datetime.fromisoformat(one["paused"]["at"]) - datetime.now(UTC)) < timedelta(minutes=5)
    assert f"made is {one['state']} by anna" in plans()
    assert plans("enable", "made").startswith("Enabled: made, next in ")
    assert plans.one("made")["paused"] is None
    plans.serve()
    assert (plans.one("made")["state"], len(plans.waiting())) == ("running", 1)


def test_who_it_was_is_the_user_unless_told(plans: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    plans("add", "made", *HOURLY)
    monkeypatch.setenv("LOGNAME", "carla")
    assert plans.json("disable", "made")["schedule"]["paused"]["by"] == "carla"
    plans("enable", "made")

    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert plans.json("disable", "made")["schedule"]["paused"]["by"].startswith("uid ")


def test_a_row_that_was_stopped_when_it_was_in_the_settings(plans: Plans) -> None:
    plans.in_settings(made=FIXED)
    plans("disable", "made")
    plans.in_settings()
    plans("add", "made", *HOURLY)
    assert plans.one("made")["state"] == "paused"
    assert plans("enable", "made").startswith("Enabled: made")
    assert plans.one("made")["state"] == "waiting" or plans.one("made")["state"] == "running"


def test_what_cannot_be_stopped_or_let_go(plans: Plans) -> None:
    plans.in_settings(off={**FIXED, "enabled": False})
    plans.row("broken", cron="x")
    for word in ("enable", "disable", "run-now"):
        assert plans.refused(word, "nobody") == (1, "there is no schedule nobody")
        assert plans.refused(word, "broken")[1].startswith("schedule broken cannot be kept: expected 5 fields")
    assert plans.refused("enable", "off") == (
        *(1, "off is defined in DELAYSERVER['SCHEDULES'], and disabled there: enable it there"),
    )


# -- remove --------------------------------------------------------------------------------------------------


def test_removing_takes_what_waits(plans: Plans) -> None:
    plans("add", "made", *HOURLY)
    plans.serve()
    assert len(plans.waiting()) == 1
    assert plans.json("remove", "made", "--yes") == {"removed": "made"}
    assert plans.waiting() == []
    assert plans.refused("remove", "made", "--yes") == (1, "there is no schedule made")


def test_added_again_it_begins_anew_also_for_a_server_that_saw_no_gap(
    plans: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("delayserver.loops.tick.LOOK_SECONDS", 0.0)
    plans("add", "made", *HOURLY, "--max-runs", "1")
    tick = plans.serve()
    assert len(plans.waiting()) == 1
    plans("remove", "made", "--yes")
    cursor = plans.cursor("made")
    assert cursor is not None and cursor.removed
    plans("add", "made", *HOURLY, "--max-runs", "1")
    plans.serve(tick)
    assert len(plans.waiting()) == 1
    assert plans.one("made")["state"] == "running"


def test_it_asks_first(plans: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    plans("add", "made", *HOURLY)
    assert plans.refused("remove", "made") == (
        *(1, "Remove the schedule made? Nobody can be asked here: add --yes to do it."),
    )
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert plans("remove", "made") == "Nothing was done.\n"
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert plans("remove", "made") == "Removed: made\n"


def test_what_is_no_row_stays(plans: Plans) -> None:
    declaring.schedule("coded", Every(timedelta(hours=1)), channel="sink", message={"type": "b"})
    plans.in_settings(bad={}, twice=FIXED)
    plans.row("twice", cron="@daily")
    plans.serve()
    number = len(plans.waiting())
    assert plans.refused("remove", "coded", "--yes") == (
        *(1, "coded is defined in tests.delays.test_schedules: remove it there, or disable it"),
    )
    assert plans.refused("remove", "bad", "--yes")[1].startswith("bad is no row: expected one of every and cron")
    assert plans("remove", "twice", "--yes") == "Removed: twice\n"
    assert (plans.one("twice")["clash"], len(plans.waiting())) == (None, number)


def test_it_is_removed_though_its_store_is_away(plans: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    from delayserver.errors import StoreUnavailable

    plans("add", "made", *HOURLY)

    async def away(*args: object) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(type(plans.delays.store), "cursors", away)
    assert plans("remove", "made", "--yes") == "Removed: made\n"
    assert plans.rows.count() == 0


# -- run-now -------------------------------------------------------------------------------------------------


def test_run_now_does_not_move_the_rhythm(plans: Plans) -> None:
    plans("add", "made", *HOURLY)
    plans.serve()
    before = plans.cursor("made")
    told = plans.json("run-now", "made")
    assert list(told) == ["id", "due", "due_ms", "created"]
    assert told["id"].startswith("schedule:made:")
    assert plans("run-now", "made").startswith("Stored: schedule:made:")
    assert plans.cursor("made") == before
    assert len(plans.waiting()) == 3


# -- as a user runs it ---------------------------------------------------------------------------------------


def state(run: Callable[..., Process]) -> object:
    [one] = json.loads(run("schedules", "list", "--json").output)["schedules"]
    return one["state"]


@pytest.mark.parametrize("site", ["postgres"], indirect=True)
def test_as_a_user_runs_it(run: Callable[..., Process], site: Site) -> None:
    assert run("schedules").output.startswith("No schedules.")
    added = run("schedules", "add", "tick", "--every", "1s", *MESSAGE).output.splitlines()
    assert added[:2] == ["Added: tick", "Every second"]
    server = site.rundelay()
    wait_for(lambda: state(run) == "running", 20, "the server to see it")
    assert run("schedules", "list", "tick").lines[1].text.split()[:6] == ["tick", "every", "1", "s", "sink", "running"]
    assert "Disabled: tick by anna" in run("schedules", "disable", "tick", "--by", "anna").output
    assert run("schedules", "enable", "tick").output.startswith("Enabled: tick")
    assert "  every: 1 s -> 2 h" in run("schedules", "edit", "tick", "--every", "2h").output
    wait_for(lambda: state(run) == "running", 20, "the server to see it changed")
    assert run("schedules", "remove", "tick", code=1).output.endswith("add --yes to do it.")
    assert run("schedules", "remove", "tick", "--yes").output == "Removed: tick"
    assert "no schedule tick" in run("schedules", "edit", "tick", "--no-jitter", code=1).output
    assert "Traceback" not in server.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["add", "a"], "the following arguments are required: --message"),
        (["add", "a", "--message", "{}", "--channel", "a"], "one of the arguments --cron --every is required"),
        (["add", "a", "--message", "{}", "--every", "1h"], "one of the arguments --channel --group is required"),
        (
            ["add", "a", "--every", "5x", *MESSAGE],
            "argument --every: expected seconds, or a number and one of ms, s, m, h, d, w",
        ),
        (["add", "a", "--every", "-5m", *MESSAGE], "argument --every: expected seconds, or a number and one of"),
        (["add", "a", *HOURLY, "--catch-up", "most"], "argument --catch-up: invalid choice: 'most'"),
        (["add", "a", *HOURLY, "--max-runs", "0"], "argument --max-runs: expected a whole number, 1 or more, got '0'"),
        (
            ["add", "a", *HOURLY, "--starts", "2030-01-01"],
            "argument --starts: expected an ISO 8601 instant with offset",
        ),
        (["disable", "a", "--why", "x" * 501], "argument --why: expected at most 500 characters, got 501"),
        (["edit", "a"], "CommandError: expected what to change, got no option"),
        (["remove"], "the following arguments are required: NAME"),
    ],
)
def test_wrong_usage_is_exit_code_2(run: Callable[..., Process], words: list[str], sentence: str) -> None:
    assert sentence in run("schedules", *words, code=2).output


@pytest.mark.parametrize("words", [["list"], ["add", "a", *HOURLY], ["run-now", "a"], ["disable", "a"]])
def test_without_tables_or_a_store_it_is_one_sentence(run: Callable[..., Process], words: list[str]) -> None:
    lines = run("schedules", *words, code=1, DELAYSERVER_TEST_REDIS="redis://127.0.0.1:1").lines
    assert lines[-1].text.startswith("CommandError: ")
    assert len(lines) <= 2  # and one that the rows cannot be read


# -- the page ------------------------------------------------------------------------------------------------


def parts_of(add: Callable[[Parser], None]) -> set[str]:
    parser = Parser(prog="x")
    add(parser)
    return {action.option_strings[-1] for action in parser._actions if action.option_strings} - {
        *("--help", "--version", "--verbosity", "--settings", "--pythonpath", "--traceback", "--no-color"),
        *("--force-color", "--skip-checks"),
    }


def test_every_option_is_on_the_page() -> None:
    told: dict[str, set[str]] = {"add": set(), "edit": set(), "disable": set(), "remove": set(), "explain": set()}
    for options, of, _ in table_rows(PAGE, "## Options of schedules"):
        for option in re.findall(r"`(--[\w-]+)", options):
            for name in re.findall(r"`([\w-]+)`", of):
                told[name].add(option)
    assert told == {
        "add": parts_of(schedule_options.add_add),
        "edit": parts_of(schedule_options.add_edit),
        "disable": parts_of(schedule_options.add_disable),
        "remove": parts_of(schedule_options.add_remove),
        "explain": parts_of(schedule_options.add_explain),
    }


@on_one
def test_every_field_is_on_the_page(plans: Plans) -> None:
    came = {
        "schedules add": plans.json("add", "made", *HOURLY),
        "schedules list": plans.json("list"),
        "schedules edit": plans.json("edit", "made", "--cron", "@daily"),
        "schedules disable": plans.json("disable", "made"),
        "schedules enable": plans.json("enable", "made"),
        "schedules run-now": plans.json("run-now", "made"),
        "explain": plans.delays.json("explain", "@daily", "--down", "2027-01-01/2027-01-02"),
        "schedules remove": plans.json("remove", "made", "--yes"),
    }
    told = {name.strip("`"): re.findall(r"`(\w+)`", cell) for name, cell in table_rows(PAGE, "## JSON of schedules")}
    outage = told.pop("outage of explain")
    assert told == {name: list(answer) for name, answer in came.items()}
    assert outage == list(came["explain"]["outage"])
    fields = {name for row in table_rows(PAGE, "### A schedule") for name in re.findall(r"`(\w+)`", row[0])}
    assert fields == set(came["schedules list"]["schedules"][0])
