"""What is seen, heard and told of a piece of work, frame by frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from ..support.wait import await_for
from .conftest import Show, element, heard, in_state, part, said
from .standin import StandIn

pytestmark = pytest.mark.asyncio(loop_scope="package")

RUNNING: dict[str, Any] = {"state": "running", "current": 3, "total": 10, "text": "Reading"}
Bar = tuple[str | None, str | None, str]  # aria-valuenow, aria-valuemax, aria-valuetext

# What comes; what then is read; what the bar says; what is told at once.
STATES: dict[str, tuple[dict[str, Any], str, Bar, str]] = {
    "pending": ({}, "Waiting to start", (None, None, "Waiting to start"), ""),
    "pending-of": ({"total": 4}, "Waiting to start", ("0", "4", "0 of 4, 0 %, Waiting to start"), ""),
    "running": (RUNNING, "Reading 3 of 10", ("3", "10", "3 of 10, 30 %, Reading"), ""),
    "without-text": ({**RUNNING, "text": ""}, "Running 3 of 10", ("3", "10", "3 of 10, 30 %, Running"), ""),
    "without-total": ({"state": "running", "current": 7}, "Running 7", (None, None, "7, Running"), ""),
    "of-nothing": ({**RUNNING, "total": 0}, "Reading 3", (None, None, "3, Reading"), ""),
    "unknown": ({**RUNNING, "current": None}, "Reading 0 of 10", ("0", "10", "0 of 10, 0 %, Reading"), ""),
    "too-much": ({**RUNNING, "current": 99}, "Reading 10 of 10", ("10", "10", "10 of 10, 100 %, Reading"), ""),
    "too-little": ({**RUNNING, "current": -1}, "Reading 0 of 10", ("0", "10", "0 of 10, 0 %, Reading"), ""),
    "inexact": ({**RUNNING, "current": 0.29, "total": 1}, "29 %", ("0.29", "1", "0.29 of 1, 29 %, Reading"), ""),
    "attempt": ({**RUNNING, "attempt": 2}, "3 of 10 attempt 2", ("3", "10", "3 of 10, 30 %, Reading"), ""),
    "succeeded": ({"state": "succeeded"}, "100 % Done", ("1", "1", "100 %, Done"), ""),
    "done-early": (
        {**RUNNING, "state": "succeeded"},
        "Done: Reading",
        ("10", "10", "10 of 10, 100 %, Done: Reading"),
        "",
    ),
    "failed": (
        {**RUNNING, "state": "failed", "error": "disk full"},
        "Reading 3 of 10 Failed: disk full",
        ("3", "10", "3 of 10, 30 %, Reading"),
        "Failed: disk full",
    ),
    "speechless": ({"state": "failed"}, "Failed", (None, None, ""), "Failed"),
    "timed-out": (
        {"state": "timed_out", "error": "30 s"},
        "Took too long: 30 s",
        (None, None, ""),
        "Took too long: 30 s",
    ),
    "cancelled": ({"state": "cancelled"}, "Cancelled", (None, None, "Cancelled"), ""),
}


READ = """(tokens) => tokens.map((token) => {
  const element = document.getElementById(token);
  const part = (name) => element.shadowRoot.querySelector(`[part=${name}]`);
  const bar = ["valuenow", "valuemax", "valuetext", "label"].map((name) => part("track").getAttribute(`aria-${name}`));
  return [element.getAttribute("state"), part("box").innerText, bar, part("error").textContent];
})"""


async def test_each_state_is_told(show: Show, standin: StandIn) -> None:
    for token, (frame, *_) in STATES.items():
        await standin.send(token, **frame)
    page = await show("".join(map(element, STATES)))
    await expect(page.locator("task-progress[state=connecting]")).to_have_count(0)
    seen = await page.evaluate(READ, list(STATES))
    for (token, (frame, read, bar, alert)), (state, text, said_of_bar, error) in zip(STATES.items(), seen, strict=True):
        assert state == frame.get("state", "pending"), token
        assert read in " ".join(text.split()), token
        assert said_of_bar == [*bar, "Export"], token
        assert error == alert, token


async def test_what_comes_is_text_and_never_markup(show: Show, standin: StandIn) -> None:
    hostile = '<img src=x onerror="document.title = 1"><b>'
    await standin.send("one", state="failed", text=hostile, error=hostile)
    page = await show(element(label="&lt;b&gt;"))
    await in_state(page, "failed")
    assert await part(page, "text").text_content() == hostile
    assert await part(page, "error").text_content() == f"Failed: {hostile}"
    assert await part(page, "label").text_content() == "<b>"
    assert await page.evaluate("document.querySelector('#one').shadowRoot.querySelectorAll('img, b').length") == 0
    assert await page.title() == "Work"


async def test_versions_never_go_back(show: Show, standin: StandIn) -> None:
    page = await show(element())
    await await_for(lambda: standin.count("one"), 10, "the socket")
    for version in (3, 1, 3, 2, 7, 5, 7, 6):
        await standin.send("one", state="running", current=version, total=10, version=version)
    await standin.send("one", state="succeeded", version=8)
    await in_state(page, "succeeded")
    assert [version for name, _, version, _ in await heard(page) if name == "progress"] == [3, 7, 8]


async def test_events_tell_each_frame_then_the_end_then_the_trigger(show: Show, standin: StandIn) -> None:
    ends = {"succeeded": "done", "failed": "failed", "timed_out": "failed", "cancelled": "failed"}
    for state in ends:
        await standin.send(state, state="running")
    page = await show("".join(element(state, trigger="export-done") for state in ends))
    await expect(page.locator("task-progress[state=running]")).to_have_count(len(ends))
    await page.evaluate("document.addEventListener('progress', (event) => { window.last = event.detail })")
    for state, event in ends.items():
        await standin.send(state, state=state, result={"url": "/export/7"})
        await in_state(page, state, state)
        assert [entry for entry in await heard(page) if entry[1] == state] == [
            ["progress", state, 1, "running"],
            ["progress", state, 2, state],
            [event, state, 2, state],
            ["export-done", state, 2, state],
        ]
        assert await page.evaluate("last") == standin.frames[state]


async def test_a_page_that_was_rendered_when_all_was_over_is_not_triggered(show: Show, standin: StandIn) -> None:
    await standin.send("one", state="succeeded")
    page = await show(element(trigger="export-done", over=""))
    await in_state(page, "succeeded")
    assert [name for name, *_ in await heard(page)] == ["progress", "done"]


async def test_a_screen_reader_speaks_of_quarters_and_not_of_frames(show: Show, standin: StandIn) -> None:
    page = await show(element())
    await await_for(lambda: standin.count("one"), 10, "the socket")
    for current in (*range(61), 30, 55, *range(61, 101)):
        await standin.send("one", state="running", current=current, total=100)
    await standin.send("one", state="succeeded")
    await in_state(page, "succeeded")
    spoken = ["Started", "25 %", "50 %", "75 %", "Done"]
    assert await said(page) == [f"Export: {words}" for words in spoken]


async def test_failures_are_alerts_and_not_spoken_twice(show: Show, standin: StandIn) -> None:
    await standin.send("one", state="running", current=60, total=100)
    page = await show(element(label=""))
    await in_state(page, "running")
    await standin.send("one", state="failed", error="disk full")
    await expect(page.get_by_role("alert")).to_have_text("Failed: disk full")
    assert await said(page) == ["50 %"]


async def test_times_go_on_once_a_second_and_the_estimate_waits_for_enough_to_say(show: Show, standin: StandIn) -> None:
    await standin.send("one", state="running", current=0, total=100)
    page = await show(element(elapsed="65000"), clock=True)
    await in_state(page, "running")
    elapsed, remaining = part(page, "elapsed"), part(page, "remaining")
    await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 1"))
    began = await elapsed.text_content()
    assert began is not None and began.startswith("1 min 0")
    for second in range(1, 21):
        await standin.send("one", current=second)
        await page.wait_for_function("(n) => document.querySelector('#one').frame.current === n", arg=second)
        await page.clock.run_for(1000)
        if second == 1:
            assert await remaining.text_content() == ""
    assert await elapsed.text_content() == f"1 min {int(began[6:8]) + 20} s"
    assert await remaining.text_content() == "about 80 s left"
    await page.clock.run_for(60_000)
    assert await elapsed.text_content() == f"2 min {int(began[6:8]) + 20} s"
    shown = json.loads((await remaining.text_content() or "").replace("about ", "").partition(" ")[0])
    assert shown >= 5, "a standstill is seen"
    await standin.send("one", state="failed")
    await in_state(page, "failed")
    await page.clock.run_for(5000)
    assert await elapsed.text_content() == f"2 min {int(began[6:8]) + 20} s"
    assert await remaining.text_content() == ""


async def test_no_elapsed_time_is_made_up(show: Show, standin: StandIn) -> None:
    """Without the attribute, it is known only of what was seen to begin."""
    await standin.send("late", state="running")
    await standin.send("seen", state="pending")
    page = await show(element("late") + element("seen"))
    await in_state(page, "pending", "seen")
    await standin.send("seen", state="running")
    await expect(part(page, "elapsed", "seen")).to_have_text("0 s")
    await in_state(page, "running", "late")
    assert await part(page, "elapsed", "late").text_content() == ""


async def test_what_the_server_rendered_stays_until_the_first_frame(show: Show, standin: StandIn) -> None:
    page = await show(element(), head="")
    await expect(page.locator("#one")).to_have_text("43 %")
    assert await page.locator("#one").is_visible()
    page = await show(element())
    await in_state(page, "connecting")
    await await_for(lambda: standin.count("one"), 10, "the socket")
    assert "43 %" in await page.locator("main").inner_text()
    await standin.send("one", state="pending")
    await in_state(page, "pending")
    assert "43 %" not in await page.locator("main").inner_text()


async def test_a_page_may_change_its_words(show: Show, standin: StandIn, tmp_path: Path) -> None:
    words = tmp_path / "words.js"
    words.write_text(
        'import { TaskProgress } from "/static/delayserver/task-progress.js";'
        'Object.assign(TaskProgress.words, { succeeded: "Fertig", of: (current, total) => `${current} von ${total}` });'
    )
    standin.files["words.js"] = words
    await standin.send("one", state="succeeded", total=3)
    page = await show(element(), head='<script type="module" src="/static/words.js"></script>')
    await expect(part(page, "box")).to_contain_text("3 von 3")
    await expect(part(page, "text")).to_have_text("Fertig")
