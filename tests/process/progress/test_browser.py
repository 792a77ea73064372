"""The whole of it in a real browser: who leaves and returns, and a worker that is killed meanwhile."""

from __future__ import annotations

import re

from playwright.async_api import Browser, Locator, expect

from ...support.browser import browser as browser
from ...support.browser import serious_faults
from ...support.wait import await_for
from .stage import Stage

STEPS = 30
LATE = 40.0  # seconds in which all goes on after a death: a lease, and its discovery


async def test_the_bar_goes_on_whoever_leaves_and_whatever_dies(stage: Stage, browser: Browser) -> None:
    started = await stage.start_export(steps=STEPS, name="seen")
    address = f"http://127.0.0.1:{stage.port}/show/{started.id}/"
    page = await browser.new_page()
    await page.goto(address)
    bar = page.get_by_role("progressbar", name="Export")
    await expect(bar).to_have_attribute("aria-valuenow", re.compile("[3-9]"))
    left_at = await value_of(bar)

    await page.goto("about:blank")
    await page.goto(address)
    await expect(bar).to_have_attribute("aria-valuenow", re.compile(r"\d"))
    assert await value_of(bar) >= left_at
    await await_for(lambda: value_is_over(bar, left_at + 2), LATE, "the bar to go on")

    stage.worker.kill()
    stage.worker.wait()
    stage.start_worker()
    await expect(page.locator("task-progress")).to_have_attribute("state", "succeeded", timeout=LATE * 1_000)
    await expect(page.get_by_text(f"{STEPS} of {STEPS}")).to_be_visible()
    assert await serious_faults(page) == []
    steps = [one.step for one in stage.steps() if one.id == started.id]
    assert sorted(set(steps)) == list(range(1, STEPS + 1))
    assert steps == sorted(steps), "no second poller"
    assert len(steps) <= STEPS + 1, "only what was in hand came twice"


async def value_of(bar: Locator) -> int:
    return int(await bar.get_attribute("aria-valuenow") or 0)


async def value_is_over(bar: Locator, value: int) -> bool:
    return await value_of(bar) > value
