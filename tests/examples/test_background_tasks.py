"""The example of tasks in the background, from outside: real processes, a real browser, a worker that is killed."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, expect
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ..support.wait import await_for
from .starting import Example, Opened, faults, opened, started

LIMIT = 25.0  # seconds after which nothing more will come


@pytest.fixture(scope="module")
def runtasks() -> Iterator[Example]:
    with started("background_tasks") as example:
        yield example


@pytest.fixture(scope="module")
def runworker() -> Iterator[Example]:
    with started("background_tasks", "--worker", "runworker") as example:
        yield example


# -- what a test does, and sees ----------------------------------------------------------------------------------


def ask(example: Example, path: str) -> tuple[int, Any]:
    """The status and the JSON that a view answers to a GET; None where it is no JSON."""
    try:
        answer = urllib.request.urlopen(example.url + path, timeout=LIMIT)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        body = answer.read()
    return answer.status, json.loads(body) if answer.headers["Content-Type"] == "application/json" else None


async def watched(browser: Browser, example: Example) -> Opened:
    """The page, once it listens."""
    page = await opened(browser, example.url)
    await expect(page.page.locator("#tasks[data-listening]")).to_have_count(1)
    return page


def told(page: Opened, name: str) -> list[str]:
    """What the page has heard from the worker of the tasks with this name that it saw being asked for, in order."""
    asked = {frame["task"] for frame in page.frames if (frame["name"], frame["what"]) == (name, "asked")}
    return [frame["what"] for frame in page.frames if frame["task"] in asked and frame["what"] != "asked"]


def instant(page: Opened, name: str, what: str) -> float:
    return next(float(frame["at"]) for frame in page.frames if (frame["name"], frame["what"]) == (name, what))


async def seen(page: Opened, name: str, *whats: str) -> None:
    wanted = list(whats)
    try:
        await await_for(lambda: told(page, name) == wanted, LIMIT, f"{name}: {wanted}")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{page.frames}") from None


async def start_two(page: Opened, seconds: int) -> None:
    field = page.page.get_by_label("of seconds", exact=False).first
    await field.fill(str(seconds))
    button = page.page.get_by_role("button", name="Start task b")
    await button.click()
    await field.press("Enter")


# -- the page ----------------------------------------------------------------------------------------------------


async def test_tasks_run_side_by_side_later_again_and_on_a_schedule(
    runtasks: Example, browser: Browser, tmp_path: Path
) -> None:
    page = await watched(browser, runtasks)
    await page.page.get_by_role("button", name="task c").click()
    await start_two(page, 4)
    await page.page.get_by_role("button", name="Start task a", exact=True).click()
    await page.page.get_by_label("in seconds", exact=False).last.fill("1")
    await page.page.get_by_role("button", name="Start task a later").click()
    await page.page.get_by_label("to", exact=True).fill("Ada")
    await page.page.get_by_role("button", name="Say hello").click()

    await seen(page, "Task b, 4 s", "running", "running", "done", "done")
    await seen(page, "Task a", "running", "done")
    await seen(page, "Hello, Ada", "running", "done")
    runtasks.process.wait_for_line(r"Hello, Ada!")
    later = "Task a, 1 s later"
    await seen(page, later, "running", "done")
    assert instant(page, later, "running") - instant(page, later, "asked") >= 1
    again = ("running", "failed")
    await seen(page, "Task c, which fails twice", *again, *again, "running", "done")

    row = page.page.locator(".task", has_text="Task c")
    await expect(row.locator(".runs li")).to_have_count(3)
    await expect(row.locator(".sentence")).to_contain_text("done, after 1")
    await expect(row.locator(".track [data-state=failed]")).to_have_count(2)
    await expect(page.page.get_by_role("heading", name="Task a, every 10 s")).to_be_visible(timeout=LIMIT * 1000)
    await page.page.set_viewport_size({"width": 1400, "height": 1200})
    shot = os.environ.get("BACKGROUND_TASKS_SCREENSHOT", tmp_path / "page.png")
    await page.page.screenshot(path=shot)
    assert await faults(page.page) == []
    await page.page.get_by_role("button", name="Clear").press("Enter")
    await expect(page.page.locator(".task")).to_have_count(0)
    assert not page.troubles


async def test_under_runworker_one_task_waits_for_the_other(runworker: Example, browser: Browser) -> None:
    page = await watched(browser, runworker)
    await expect(page.page.get_by_text("one task at a time")).to_be_visible()
    await start_two(page, 1)
    await seen(page, "Task b, 1 s", "running", "done", "running", "done")
    assert not page.troubles


async def test_a_task_survives_the_death_of_its_worker(runtasks: Example, browser: Browser) -> None:
    """And what a view has asked for meanwhile is not lost either."""
    page = await watched(browser, runtasks)
    name = ask(runtasks, "start-task-c/")[1]["name"]
    await seen(page, name, "running")
    running = page.frames[-1]
    os.kill(int(running["worker"].split()[1]), signal.SIGKILL)
    assert ask(runtasks, "start-task-a/")[0] == 202

    runtasks.process.wait_for_line("worker ended by itself, with exit code -9: starting it again")
    await seen(page, "Task a", "running", "done")
    await seen(page, name, "running", "running", "failed", "running", "done")
    assert page.frames[-1]["worker"] != running["worker"]
    row = page.page.locator(".task", has_text="Task c")
    await expect(row.locator(".runs li").first).to_contain_text("its worker died")
    await expect(row.locator(".sentence")).to_contain_text("done")
    assert not page.troubles


async def test_the_page_says_what_the_server_refuses_and_what_it_is_told(runtasks: Example, browser: Browser) -> None:
    page = await watched(browser, runtasks)
    await page.page.eval_on_selector_all("form", "forms => forms.forEach(form => form.noValidate = true)")
    await start_two(page, 61)
    await expect(page.page.get_by_role("alert")).to_have_text("expected at most 60 seconds, got 61")
    await start_two(page, -1)
    await expect(page.page.get_by_role("alert")).to_have_text("The server answered 404 to /start-task-b/-1/.")
    await page.page.get_by_label("to", exact=True).fill("<b>you</b> / me")
    await page.page.get_by_role("button", name="Say hello").click()
    await expect(page.page.get_by_role("heading", name="Hello, <b>you</b> / me")).to_be_visible()
    await expect(page.page.get_by_role("alert")).to_have_text("")


# -- and without one ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("start-task-a/", 202),
        ("start-task-b/0/", 202),
        ("start-task-b/61/", 400),
        ("start-task-a/in/61/", 400),
        ("start-task-b/abc/", 404),
        ("start-task-b/-1/", 404),
        ("start-task-b/1.5/", 404),
        ("start-task-b/" + "9" * 4000 + "/", 400),
        ("start-task-b/" + "9" * 5000 + "/", 404),
    ],
)
def test_the_views_answer_at_once(path: str, status: int, runtasks: Example) -> None:
    came, answer = ask(runtasks, path)
    assert came == status
    if status != 404:
        assert answer.keys() == ({"task", "name"} if status == 202 else {"error"})


async def test_what_a_browser_says_is_ignored(runtasks: Example) -> None:
    async with websocket(runtasks) as socket:
        for nonsense in ("[" * 100_000, "{}", b"\0"):
            await socket.send(nonsense)
        task = ask(runtasks, "hello/you/")[1]["task"]
        whats = []
        while "done" not in whats:
            frame = json.loads(await socket.recv())
            whats += [frame["what"]] * (frame["task"] == task)
    assert whats == ["asked", "running", "done"]


async def test_pages_of_other_sites_hear_nothing(runtasks: Example) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        async with websocket(runtasks, origin="http://evil.example"):
            pass


def websocket(example: Example, origin: str = "http://localhost") -> connect:
    address = example.url.replace("http:", "ws:") + "ws/happenings/"
    return connect(address, additional_headers={"Origin": origin}, open_timeout=LIMIT)
