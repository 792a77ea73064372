"""The example of a task's status, from outside: both workers, a real browser, and those whose task it is not."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.async_api import Browser, Locator, Page, Route, expect
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ..support.wait import wait_for
from .starting import Example, alive, children_of, faults, opened, started

LIMIT = 20.0  # seconds after which nothing more will come
FAILED = "OutOfLuck: it was asked to fail"


class Visitor:
    """A session: what one browser has, without the browser."""

    def __init__(self, example: Example) -> None:
        self.url = example.url
        self.cookies = CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.opener.open(self.url).read().decode())
        assert found
        self.csrf = found[1]

    def ask(self, path: str, **fields: object) -> tuple[int, Any]:
        """The status and the JSON of the answer, None where it is no JSON; a POST where there are `fields`."""
        body = urlencode(fields).encode() if fields else None
        try:
            answer = self.opener.open(self.url + path, body, timeout=LIMIT)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            text = answer.read()
        return answer.status, json.loads(text) if answer.headers["Content-Type"] == "application/json" else None

    def start(self, **fields: object) -> tuple[int, Any]:
        return self.ask("start/", csrfmiddlewaretoken=self.csrf, **{"seconds": 1, "worker": "runtasks", **fields})

    def started(self, **fields: object) -> str:
        """The id of a new task."""
        status, answer = self.start(**fields)
        assert (status, answer.keys()) == (202, {"task_id"}), answer
        return str(answer["task_id"])

    async def watch(self, id: str, origin: str = "http://localhost") -> tuple[list[Any], int | None]:
        """What its WebSocket says until it is closed, and the close code."""
        headers = {"Origin": origin, "Cookie": "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)}
        address = f"{self.url.replace('http:', 'ws:')}ws/task_status/{id}/"
        frames = []
        async with asyncio.timeout(LIMIT), connect(address, additional_headers=headers) as socket:
            try:
                while True:
                    frames.append(json.loads(await socket.recv()))
            except ConnectionClosed as closed:
                return frames, closed.rcvd.code if closed.rcvd else None


@pytest.fixture(scope="module")
def example() -> Iterator[Example]:
    """In the end it is asked to end in the middle of a task, and leaves nothing behind."""
    with started("task_status") as example:
        yield example
        visitor = Visitor(example)
        id = visitor.started(seconds=60, worker="celery")
        wait_for(lambda: visitor.ask(f"task_status/{id}/")[1]["state"] == "running", LIMIT, "a task that runs")
        children = [pid for child in children_of(example.process.pid) for pid in (child, *children_of(child))]
        assert len(children) >= 8  # Redis, web, two workers, and the processes of Celery's
        example.process.signal(signal.SIGINT)
        assert example.process.wait() == 0
        wait_for(lambda: not any(map(alive, children)), 1, f"{children} to be gone")


@pytest.fixture(scope="module")
def visitor(example: Example) -> Visitor:
    return Visitor(example)


# -- the page ----------------------------------------------------------------------------------------------------


async def start(page: Page, worker: str, seconds: object, *, fails: bool = False) -> None:
    await page.get_by_label("Work for").fill(str(seconds))
    await page.get_by_label("Should fail").set_checked(fails)
    await page.get_by_role("radio", name=worker).check()
    await page.get_by_role("button", name="Start the task").click()


def row(page: Page, name: str) -> Locator:
    return page.locator(".task").filter(has=page.get_by_role("heading", name=name))


async def test_the_page_shows_what_becomes_of_tasks_on_both_workers(
    example: Example, browser: Browser, tmp_path: Path
) -> None:
    page, frames, troubles = await opened(browser, example.url)
    tasks = [("runtasks", 4, False), ("celery", 3, True), ("celery", 1, False), ("runtasks", 1, True)]
    for number, (worker, seconds, fails) in enumerate(tasks, 1):
        await start(page, worker, seconds, fails=fails)
        await expect(page.locator(".task")).to_have_count(number)
    for worker, seconds, fails in tasks[::-1]:
        shown = row(page, f"{seconds} s on {worker}")
        end = "FAILURE" if fails else "SUCCESS"
        await expect(shown.locator(".words li")).to_have_text(["PENDING", "STARTED", end], timeout=LIMIT * 1000)
        await expect(shown.locator("task-progress")).to_have_attribute("state", "failed" if fails else "succeeded")
        await expect(shown).to_contain_text(FAILED if fails else f"{seconds} s well spent")
        if seconds == 1 and worker == "celery":
            await looked_at(page, os.environ.get("TASK_STATUS_SCREENSHOT", tmp_path / "page.png"))
    assert {frame["error"] for frame in frames} == {"", FAILED}
    assert "Traceback" not in await page.inner_text("body")
    assert not troubles


async def looked_at(page: Page, screenshot: str | Path) -> None:
    """With tasks of which some have ended, and others have not."""
    await expect(row(page, "4 s on runtasks").locator(".words li")).to_have_text(["PENDING", "STARTED"])
    await page.set_viewport_size({"width": 1400, "height": 1100})
    await page.screenshot(path=screenshot)
    assert await faults(page) == []


async def test_the_page_says_what_is_wrong_and_starts_nothing_twice(example: Example, browser: Browser) -> None:
    page = (await opened(browser, example.url)).page
    field = page.get_by_label("Work for")
    for seconds, sentence in {
        "": "This field is required.",
        "-1": "Ensure this value is greater than or equal to 1.",
        "61": "Ensure this value is less than or equal to 60.",
    }.items():
        await start(page, "celery", seconds)
        await expect(page.get_by_role("alert").first).to_have_text(sentence)
        await expect(field).to_have_attribute("aria-invalid", "true")
        await expect(field).to_have_accessible_description(sentence)
        await expect(field).to_be_focused()

    asked: list[Route] = []
    await page.route("**/start/", lambda route: asked.append(route))
    await start(page, "runtasks", 1)
    await field.press("Enter")
    await asked[0].continue_()
    await expect(page.locator(".task")).to_have_count(1)
    assert len(asked) == 1
    await page.unroute("**/start/")
    await expect(page.get_by_role("alert").first).to_have_text("")
    await expect(field).to_have_attribute("aria-invalid", "false")
    await page.context.clear_cookies()
    await start(page, "runtasks", 1)
    await expect(page.get_by_role("alert").first).to_have_text("The server answered 403: reload the page.")


# -- and without one ---------------------------------------------------------------------------------------------


async def test_the_same_form_twice_is_two_tasks(visitor: Visitor) -> None:
    ids = [visitor.started(worker=worker) for worker in ("runtasks", "celery") for _ in range(2)]
    watched = await asyncio.gather(*map(visitor.watch, ids))
    assert [code for _, code in watched] == [1000] * 4
    assert len({frame["id"] for frames, _ in watched for frame in frames}) == 4
    for frames, _ in watched:
        assert (frames[-1]["state"], frames[-1]["result"]) == ("succeeded", "1 s well spent")


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        *(({"seconds": seconds}, {"seconds"}) for seconds in ("", "abc", "-1", "0", "61", "1.5", "9" * 5_000)),
        ({"worker": "shell"}, {"worker"}),
        ({"seconds": "-1", "worker": ""}, {"seconds", "worker"}),
    ],
)
def test_what_the_form_refuses(fields: dict[str, str], wrong: set[str], visitor: Visitor) -> None:
    status, answer = visitor.start(**fields)
    assert (status, answer.keys(), answer["errors"].keys()) == (400, {"errors"}, wrong)


def test_a_task_is_started_by_a_post_of_the_page_alone(visitor: Visitor) -> None:
    assert visitor.ask("start/")[0] == 405
    assert visitor.ask("start/", seconds=1, worker="runtasks")[0] == 403


@pytest.mark.parametrize("worker", ["runtasks", "celery"])
async def test_a_task_is_shown_to_the_session_that_started_it(worker: str, example: Example, visitor: Visitor) -> None:
    other = Visitor(example)
    nobody = Visitor(example)
    nobody.cookies.clear()
    id = visitor.started(worker=worker)
    path = f"task_status/{id}/"
    assert [await other.watch(id), await nobody.watch(id)] == [([], 4403)] * 2
    assert [other.ask(path)[0], nobody.ask(path)[0]] == [403, 403]
    status, frame = visitor.ask(path)
    assert (status, frame["error"]) == (200, "")
    known = [frame["id"], frame["id"].removeprefix("celery-"), id[:-1], id.swapcase(), f"x{id}"]
    assert await asyncio.gather(*map(visitor.watch, known)) == [([], 4404)] * len(known)


@pytest.mark.parametrize("id", ["x", "a/b", "%00", "x" * 5_000, ":::", ""])
async def test_what_is_no_task_is_not_there(id: str, visitor: Visitor) -> None:
    assert await visitor.watch(id) == ([], 4404)
    assert visitor.ask(f"task_status/{id}/")[0] == 404


async def test_pages_of_other_sites_see_nothing(visitor: Visitor) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        await visitor.watch("x", origin="http://evil.example")
