"""The second tab of the prog rock demo: the same runs as pollers, and a page that shows them with one tag."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from .starting import Example, faults, opened, started

LIMIT = 20.0
CURRENTS = [None, *range(0, 100, 3), 100]  # nothing is known before the first step

TEXTS = ["", *(f"Frame {n} of 35" for n in range(1, 36))]


@pytest.fixture(scope="module", params=[(), ("--redis",)], ids=["one process", "three processes"])
def demo(request: pytest.FixtureRequest) -> Iterator[Example]:
    with started("progrock", *request.param) as example:
        yield example


async def test_the_page_shows_two_pollers(demo: Example, browser: Browser, tmp_path: Path) -> None:
    page, frames, troubles = await opened(browser, demo.url)
    await page.get_by_role("link", name="As a poller").click()
    button = page.get_by_role("button", name="Start", exact=True)
    await button.click()
    await button.press("Enter")
    await expect(page.locator("task-progress[state=running]")).to_have_count(2, timeout=LIMIT * 1000)
    await expect(page.get_by_role("progressbar", name="Close to the Due")).to_have_attribute("aria-valuemax", "100")
    screenshot = os.environ.get("PROGROCK_POLLER_SCREENSHOT", tmp_path / "poller.png")
    await expect(page.get_by_text("about", exact=False).first).to_be_visible(timeout=LIMIT * 1000)
    await page.screenshot(path=screenshot, full_page=True)
    assert await faults(page) == []

    await expect(page.locator("task-progress[state=succeeded]")).to_have_count(2, timeout=LIMIT * 1000)
    for id in {frame["id"] for frame in frames}:
        ours = [frame for frame in frames if frame["id"] == id]
        running = [frame for frame in ours if frame["state"] == "running"]
        first = CURRENTS.index(running[0]["current"])  # the state at which its socket opened; and then each
        assert first <= 2
        assert [frame["current"] for frame in running] == CURRENTS[first:-1]
        assert [frame["text"] for frame in running] == TEXTS[first:-1]
        assert (ours[-1]["state"], ours[-1]["current"]) == ("succeeded", 100)
    assert troubles == []


@pytest.mark.parametrize("number", ["", "x", "-1", "9" * 5_000])
def test_whatever_number_is_sent_there_is_a_run(demo: Example, number: str) -> None:
    body = f"number={number}".encode()
    with urllib.request.urlopen(f"{demo.url}poller/start/", body, timeout=LIMIT) as answer:
        assert b"<task-progress " in answer.read()


def test_a_run_is_not_started_by_looking(demo: Example) -> None:
    with pytest.raises(urllib.error.HTTPError, match="405"):
        urllib.request.urlopen(f"{demo.url}poller/start/", timeout=LIMIT).close()
