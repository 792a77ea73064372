"""The list: how each schedule stands, with a number of queries that does not grow."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from delayserver.models import Schedule
from delayserver.overseeing import oversee

from ..support.process import ROOT
from .conftest import LIST, schedule, scribble, someone, step


def rows(client: Client, query: str = "") -> dict[str, str]:
    """The text of each row of the list, by name."""
    page = client.get(LIST + query)
    assert page.status_code == 200
    found = re.findall(r'<th class="field-name">(.*?)</th>(.*?)</tr>', page.content.decode(), re.DOTALL)
    return {text(name): text(rest) for name, rest in found}


def text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_each_row_tells_its_rhythm_target_state_and_occurrences(ada: Client) -> None:
    schedule("nightly", tz="Europe/Berlin")
    schedule("new")
    schedule("off", enabled=False, channel="", group="board")
    (before,) = async_to_sync(oversee)(["nightly"])
    step("nightly", last=before.now - 7_200_000, runs=31, skipped=2)
    told = rows(ada)
    assert list(told) == ["new", "nightly", "off"]
    assert told["nightly"].startswith("At 03:00 0 3 * * * Europe/Berlin reports running in ")
    assert "2 h ago" in told["nightly"]
    assert told["nightly"].endswith("30 2 skipped")  # and one waits
    assert "reports waiting in " in told["new"]
    assert "group board disabled – –" in told["off"]  # noqa: RUF001


def test_a_broken_row_is_named_with_its_fault_and_the_others_are_as_ever(ada: Client) -> None:
    schedule("good")
    scribble(schedule("typo"), cron="61 3 * * *")
    scribble(schedule("scribbled"), jitter="soon", message="{nope", starts="2026-99-99 00:00:00")
    told = rows(ada)
    assert "61 3 * * * expected minute to be from 0 to 59, got &#x27;61&#x27; reports broken" in told["typo"]
    assert "its columns cannot be read: " in told["scribbled"]
    assert "jitter &#x27;soon&#x27;, starts &#x27;2026-99-99 00:00:00&#x27;" in told["scribbled"]
    assert "waiting" in told["good"]


def test_a_row_whose_name_is_taken_is_left_out(ada: Client, settings: Settings) -> None:
    settings.DELAYSERVER = {"SCHEDULES": {"beat": {"every": 5, "channel": "sink", "message": {"type": "beat"}}}}
    schedule("beat")
    told = rows(ada)["beat"]
    assert "left out" in told
    assert "it is in DELAYSERVER[&#x27;SCHEDULES&#x27;]" in told


@pytest.mark.parametrize("query", ["?q=nightly", "?enabled__exact=1", "?catch_up__exact=one", "?o=2.-3"])
def test_it_is_searched_filtered_and_sorted(ada: Client, query: str) -> None:
    schedule("nightly")
    schedule("off", enabled=False, catch_up="all")
    assert "nightly" in rows(ada, query)
    assert ("off" in rows(ada, query)) == query.startswith("?o")


def test_where_the_store_does_not_answer_it_says_so_once(ada: Client, settings: Settings) -> None:
    layer = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": ["redis://127.0.0.1:1"]}}
    settings.CHANNEL_LAYERS = {"default": layer}
    schedule("nightly")
    schedule("off", enabled=False)
    scribble(schedule("typo"), cron="x")
    page = ada.get(LIST).content.decode()
    assert page.count("The store does not tell how the schedules stand") == 1
    told = rows(ada)
    assert "reports unknown unknown unknown unknown" in told["nightly"]
    assert "disabled" in told["off"]
    assert "broken" in told["typo"]
    row = Schedule.objects.get(name="nightly")
    assert "unknown" in ada.get(f"{LIST}{row.pk}/change/").content.decode()


def test_ten_thousand_rows_take_as_many_queries_as_ten(ada: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            assert len(rows(ada)) in (10, 100)
        return len(seen)

    def add(first: int, last: int) -> None:
        made = [Schedule(name=f"s{n}", cron=f"{n % 60} 3 * * *", channel="c", message={}) for n in range(first, last)]
        Schedule.objects.bulk_create(made)

    add(0, 10)
    few = queries()
    add(10, 10_000)
    assert queries() == few <= 8


def test_only_those_see_it_who_may(db: None) -> None:
    assert someone().get(LIST).status_code == 403
    assert someone("view", name="eve").get(LIST).status_code == 200
    assert Client().get(LIST).status_code == 302


def test_a_project_without_the_admin_needs_nothing_of_it() -> None:
    code = "import django; django.setup(); import sys, delayserver; assert 'delayserver.admin' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": "tests.settings", "PATH": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
