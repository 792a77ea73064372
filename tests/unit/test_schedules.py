"""Which schedules there are: what the code declares, what settings say, and rows beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from channels.consumer import AsyncConsumer
from pytest_django import Settings

from delayserver import Cron, InvalidSchedule, schedule
from delayserver.content import unpack
from delayserver.declaring import Declaration
from delayserver.occurrences import Rule
from delayserver.schedules import Reading, Timetable, add_rows, read_fixed
from delayserver.stores.database_schedules import Row

NIGHTLY = Cron("0 3 * * *")


@pytest.fixture(autouse=True)
def nothing_declared(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Declaration]]:
    declared: list[Declaration] = []
    monkeypatch.setattr("delayserver.declaring._declared", declared)
    monkeypatch.setattr("delayserver.declaring.autodiscover_modules", lambda *names: None)
    monkeypatch.setattr("delayserver.declaring.module_has_submodule", lambda *names: False)
    yield declared


def only(name: str = "nightly") -> Rule:
    reading = read_fixed()
    assert not reading.faults and not reading.clashes
    return reading.rules[name]


def test_a_schedule_in_code() -> None:
    schedule("nightly", NIGHTLY, channel="reports", message={"type": "report.build"}, catch_up="skip")
    rule = only()
    assert (rule.recurrence, rule.catch_up, rule.source, rule.where) == (NIGHTLY, "skip", "code", __name__)


def test_a_decorated_method_is_what_the_message_is_for() -> None:
    class Reports(AsyncConsumer):  # type: ignore[misc]
        @schedule("nightly", NIGHTLY, channel="reports")
        async def report_build(self, message: Any) -> None: ...

        @schedule("weekly", NIGHTLY, channel="reports", message={"full": True})
        def report_check(self, message: Any) -> None: ...

    assert unpack(only().body) == {"type": "report.build"}
    assert unpack(only("weekly").body) == {"type": "report.check", "full": True}
    assert Reports.report_build.__name__ == "report_build"


def test_what_is_declared_without_a_message_is_a_fault() -> None:
    schedule("nightly", NIGHTLY, channel="reports")
    assert "expected a message, got none (or, as a decorator, no method)" in read_fixed().faults["nightly"]


def test_a_name_or_a_recurrence_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(InvalidSchedule, match="expected name"):
        schedule("", NIGHTLY, channel="reports", message={"type": "x"})
    with pytest.raises(InvalidSchedule, match="expected recurrence to be a Cron or an Every, got '0 3"):
        schedule("nightly", "0 3 * * *", channel="reports", message={"type": "x"})  # type: ignore[arg-type]


def test_a_module_may_be_imported_twice() -> None:
    for _ in range(2):
        schedule("nightly", NIGHTLY, channel="reports", message={"type": "report.build"})
    only()


def test_one_name_one_schedule(settings: Settings) -> None:
    for kind in ("report.build", "report.check"):
        schedule("nightly", NIGHTLY, channel="reports", message={"type": kind})
    settings.DELAYSERVER = {"SCHEDULES": {"nightly": {"every": 5, "channel": "sink", "message": {"type": "x"}}}}
    reading = read_fixed()
    assert unpack(reading.rules["nightly"].body) == {"type": "report.build"}
    assert reading.clashes["nightly"] == f"it is in {__name__}, and so the one in DELAYSERVER['SCHEDULES'] is left out"


def test_schedules_in_settings(settings: Settings) -> None:
    settings.DELAYSERVER = {
        "SCHEDULES": {
            "tick": {"every": 1.5, "channel": "sink", "message": {"type": "tick"}},
            "nightly": {"cron": "0 3 * * *", "tz": "Europe/Berlin", "channel": "reports", "message": {"type": "x"}},
            "wrong": {"cron": "0 25 * * *", "channel": "reports", "message": {"type": "x"}},
            "none": "0 3 * * *",
            "": {},
        }
    }
    reading = read_fixed()
    assert str(reading.rules["tick"].recurrence) == "every 1.5 s"
    assert str(reading.rules["nightly"].recurrence) == "0 3 * * * Europe/Berlin"
    assert reading.faults.keys() == {"wrong", "none", ""}
    assert "hour" in reading.faults["wrong"] and "DELAYSERVER['SCHEDULES']" in reading.faults["wrong"]
    assert "expected a dict" in reading.faults["none"]


def test_consumers_that_cannot_be_imported_are_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("delayserver.declaring.module_has_submodule", lambda module, name: name == "consumers")
    monkeypatch.setattr("delayserver.declaring.import_module", lambda name: 1 / 0)
    assert read_fixed().rules == {}
    assert "delayserver.consumers cannot be imported (ZeroDivisionError" in caplog.text


def row(pk: int, name: str, **options: Any) -> Row:
    return Row(pk, name, {"cron": "0 3 * * *", "channel": "reports", "message": {"type": "x"}, **options})


def test_rows_go_last() -> None:
    schedule("nightly", NIGHTLY, channel="reports", message={"type": "report.build"})
    rows = [row(1, "nightly"), row(2, "weekly"), row(3, "bad", cron="no"), row(4, "odd")._replace(fault="junk")]
    reading = add_rows(read_fixed(), rows)
    assert reading.rules.keys() == {"nightly", "weekly"}
    assert reading.rules["nightly"].source == "code" and reading.rules["weekly"].source == "row"
    assert "row 1" in reading.clashes["nightly"]
    assert "row 3" in reading.faults["bad"] and reading.faults["odd"] == "junk (row 4)"


class Rows:
    """What the test says, or an error of the database."""

    def __init__(self) -> None:
        self.rows: list[Row] | Exception = []

    async def read(self) -> list[Row]:
        if isinstance(self.rows, Exception):
            raise self.rows
        return list(self.rows)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> Rows:
    rows = Rows()
    monkeypatch.setattr("delayserver.stores.database_schedules.ScheduleRows", lambda: rows)
    return rows


async def test_what_has_not_changed_is_the_same_object(rows: Rows) -> None:
    rows.rows = [row(1, "a"), row(2, "b")]
    timetable = Timetable(fresh=0.0)
    first = await timetable.read()
    assert await timetable.read() is first
    rows.rows = [row(1, "a"), row(2, "b", cron="0 4 * * *")]
    second = await timetable.read()
    assert second.rules["a"] is first.rules["a"]
    assert second.rules["b"] != first.rules["b"]


async def test_rows_that_cannot_be_read_stay_as_they_were(rows: Rows, caplog: pytest.LogCaptureFixture) -> None:
    schedule("nightly", NIGHTLY, channel="reports", message={"type": "report.build"})
    rows.rows = ConnectionError("away")
    timetable = Timetable(fresh=0.0)
    reading = await timetable.read()
    assert (set(reading.rules), reading.has_rows) == ({"nightly"}, False)
    rows.rows = [row(1, "a")]
    reading = await timetable.read()
    assert (set(reading.rules), reading.has_rows) == ({"nightly", "a"}, True)
    rows.rows = ConnectionError("away again")
    assert await timetable.read() is reading
    assert isinstance(reading, Reading)
    told = [line for line in caplog.messages if "cannot be read" in line]
    assert len(told) <= 1  # once a minute
