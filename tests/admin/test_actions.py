"""Enable, disable, run now."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from asgiref.sync import async_to_sync
from django.contrib.messages import get_messages
from django.test import Client
from pytest_django import Settings

from delayserver.models import Schedule
from delayserver.stores import get_stores

from .conftest import LIST, history, schedule, scribble, someone

MINUTE = 60_000


def act(client: Client, action: str, *rows: Schedule, **more: str) -> tuple[Any, list[str]]:
    answer = client.post(LIST, {"action": action, "_selected_action": [row.pk for row in rows], **more})
    return answer, [str(message) for message in get_messages(answer.wsgi_request)]


def test_disable_asks_why_and_keeps_who_and_why(ada: Client) -> None:
    rows = [schedule("nightly"), schedule("weekly"), schedule("off", enabled=False)]
    page, said = act(ada, "disable", *rows)
    assert page.status_code == 200
    assert "Why:" in page.content.decode()
    assert (said, Schedule.objects.filter(enabled=True).count()) == ([], 2)

    answer, said = act(ada, "disable", *rows, why="  the printer is away ")
    assert answer.status_code == 302
    assert said == ["2 schedules were disabled."]
    notes = Schedule.objects.order_by("name").values_list("name", "enabled", "paused_by", "paused_why")
    assert list(notes) == [
        ("nightly", False, "ada", "the printer is away"),
        ("off", False, "", ""),
        ("weekly", False, "ada", "the printer is away"),
    ]
    why = "Disabled: the printer is away"
    assert history() == [("nightly", why), ("weekly", why)]


def test_enable_clears_the_note(ada: Client) -> None:
    row = schedule("nightly", enabled=False, paused_by="eve", paused_why="for fun")
    _, said = act(ada, "enable", row, schedule("on"))
    assert said == ["1 schedule was enabled."]
    row.refresh_from_db()
    assert (row.enabled, row.paused_by, row.paused_why, row.paused_at) == (True, "", "", None)
    assert history() == [("nightly", "Enabled.")]


def test_run_now_puts_one_occurrence_each(ada: Client) -> None:
    _, said = act(ada, "run_now", schedule("nightly"), schedule("off", enabled=False))
    assert said == ["2 schedules were run now, beside their rhythm."]
    store = get_stores()[0]
    claims = async_to_sync(store.claim)(store.read_clock().now() + MINUTE, 10, MINUTE)  # also those of other homes
    assert [msgpack.unpackb(claim.message.body) for claim in claims] == [{"type": "report.build"}] * 2
    assert {claim.message.occurrence.schedule for claim in claims if claim.message.occurrence} == {"nightly", "off"}
    assert history() == [("nightly", "Run now."), ("off", "Run now.")]


def test_what_cannot_run_is_told_and_the_others_run(ada: Client) -> None:
    broken = [schedule(f"broken {n}") for n in range(5)]
    for row in broken:
        scribble(row, cron="x")
    _, said = act(ada, "run_now", schedule("nightly"), *broken)
    assert said[0] == "1 schedule was run now, beside their rhythm."
    assert said[1].startswith("broken 0 cannot be run: expected 5 fields")
    assert said[-1] == "And 2 more could not be run."
    assert history() == [("nightly", "Run now.")]


def test_a_broken_row_can_be_disabled(ada: Client) -> None:
    row = schedule("nightly")
    scribble(row, expires="soon")
    assert act(ada, "disable", row, why="broken")[1] == ["1 schedule was disabled."]
    assert Schedule.objects.filter(enabled=False, paused_by="ada", paused_why="broken").exists()


def test_a_store_that_does_not_answer_is_a_message(ada: Client, settings: Settings) -> None:
    layer = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": ["redis://127.0.0.1:1"]}}
    settings.CHANNEL_LAYERS = {"default": layer}
    answer, said = act(ada, "run_now", schedule("nightly"), schedule("weekly"))
    assert answer.status_code == 302
    assert len(said) == 1
    assert said[0].startswith("nightly could not be run: ")
    assert history() == []


def test_all_pages_at_once(ada: Client) -> None:
    rows = [schedule(f"s{n}") for n in range(120)]
    page, _ = act(ada, "disable", *rows[:100], select_across="1")
    assert b"and 100 more" in page.content
    assert act(ada, "disable", *rows[:100], select_across="1", why="")[1] == ["120 schedules were disabled."]
    assert [what for _, what in history()] == ["Disabled."] * 120


@pytest.mark.parametrize("action", ["enable", "disable", "run_now"])
def test_they_need_the_permission_to_change(db: None, action: str) -> None:
    row = schedule("nightly")
    act(someone("view", "add", "delete"), action, row, why="because")
    row.refresh_from_db()
    assert row.enabled
    assert history() == []
