"""Who cannot see it, sees it badly, in the dark, or wants no motion: each state, for each of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Page, expect

from ..support.browser import serious_faults
from .conftest import SCRIPT, Show, element, in_state, part
from .standin import StandIn

pytestmark = pytest.mark.asyncio(loop_scope="package")

STATES: dict[str, dict[str, Any]] = {
    "pending": {"state": "pending"},
    "running": {"state": "running", "current": 3, "total": 10, "text": "Reading rows"},
    "endless": {"state": "running", "current": 1234, "text": "Looking for more"},
    "succeeded": {"state": "succeeded", "current": 10, "total": 10},
    "failed": {
        "state": "failed",
        "current": 6,
        "total": 10,
        "text": "Writing",
        "error": "The disk is full.",
        "attempt": 2,
    },
    "timed_out": {"state": "timed_out", "current": 6, "total": 10},
    "cancelled": {"state": "cancelled", "current": 6, "total": 10, "error": "by Ada"},
}
REFUSED = {"missing": 4404, "forbidden": 4403}
# A page that follows the system's colours.
CSS = """
:root { background: Canvas; color: CanvasText; color-scheme: light dark; font-family: sans-serif }
task-progress { margin: 0 0 1rem }
"""
Scheme = Literal["light", "dark"]


async def all_states(show: Show, standin: StandIn, folder: Path, **options: Any) -> Page:
    """A page with an element in each state that a server can bring about."""
    css = standin.files["page.css"] = folder / "page.css"
    css.write_text(CSS)
    standin.codes = dict(REFUSED)
    for token, frame in STATES.items():
        await standin.send(token, **frame)
    tokens = [*STATES, *REFUSED, "connecting"]
    body = "".join(element(token, label=token.replace("_", " "), elapsed="75000") for token in tokens)
    head = f'<link rel="stylesheet" href="/static/page.css">{SCRIPT}'
    page = await show(body, head=head, clock=True, viewport={"width": 640, "height": 900}, **options)
    for token in STATES:
        await in_state(page, STATES[token]["state"], token)
    for token in REFUSED:
        await in_state(page, token, token)
    return page


async def give_up(page: Page, standin: StandIn) -> None:
    await standin.die()
    for _ in range(40):
        await page.clock.run_for(10_000)
        if await page.locator("[connection=given-up]").count() == 4:  # all that are not over
            return
    raise AssertionError("expected them to give up within 400 s")


async def screenshot(page: Page, folder: Path, name: str) -> None:
    """For those who want to see it, in ``COMPONENT_SCREENSHOTS``."""
    await page.screenshot(path=Path(os.environ.get("COMPONENT_SCREENSHOTS", folder)) / f"{name}.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_no_serious_fault_in_any_state(
    show: Show, standin: StandIn, tmp_path: Path, scheme: Scheme
) -> None:
    page = await all_states(show, standin, tmp_path, color_scheme=scheme)
    assert await serious_faults(page) == []
    await screenshot(page, tmp_path, scheme)
    await give_up(page, standin)
    assert await serious_faults(page) == []
    await screenshot(page, tmp_path, f"{scheme}-given-up")


async def test_axe_would_find_a_fault(show: Show, standin: StandIn) -> None:
    page = await show(element())
    await page.evaluate("document.querySelector('#one').style.setProperty('color', '#ddd')")
    assert any("color-contrast" in fault for fault in await serious_faults(page))


async def test_a_screen_reader_reads_it(show: Show, standin: StandIn) -> None:
    await standin.send("one", state="running", current=3, total=10, text="Reading rows")
    page = await show(element(elapsed="75000"), clock=True)
    await in_state(page, "running")
    await expect(page.locator("#one")).to_match_aria_snapshot("""
        - group "Export":
          - text: /Export 30 %/
          - progressbar "Export"
          - text: /Reading rows 3 of 10/
        - status: "Export: 25 %"
    """)
    await standin.send("one", state="failed", error="The disk is full.")
    await expect(page.locator("#one")).to_match_aria_snapshot("""
        - group "Export":
          - progressbar "Export"
          - alert: "Failed: The disk is full."
    """)


ANIMATED = "(bar) => bar.getAnimations().map((one) => one.constructor.name)"


async def test_nothing_moves_for_those_who_want_no_motion(show: Show, standin: StandIn) -> None:
    await standin.send("one", state="running")
    page = await show(element(), reduced_motion="reduce")
    await in_state(page, "running")
    assert await part(page, "bar").evaluate(ANIMATED) == []
    await page.emulate_media(reduced_motion="no-preference")
    assert "CSSAnimation" in await part(page, "bar").evaluate(ANIMATED)


SYSTEM_COLOUR = """(name) => {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.setProperty("forced-color-adjust", "none");
  probe.style.color = name;
  return getComputedStyle(probe).color;
}"""


async def test_high_contrast_keeps_the_bar_apart_from_the_track(show: Show, standin: StandIn, tmp_path: Path) -> None:
    page = await all_states(show, standin, tmp_path, forced_colors="active")
    system = {name: await page.evaluate(SYSTEM_COLOUR, name) for name in ("Canvas", "CanvasText", "Highlight")}
    track, bar = [part(page, name, "running") for name in ("track", "bar")]
    await expect(track).to_have_css("background-color", system["Canvas"])
    await expect(track).to_have_css("border-top-color", system["CanvasText"])
    await expect(bar).to_have_css("background-color", system["Highlight"])
    await screenshot(page, tmp_path, "forced-colors")


async def test_a_page_styles_it_by_properties_parts_and_states(show: Show, standin: StandIn, tmp_path: Path) -> None:
    css = standin.files["own.css"] = tmp_path / "own.css"
    css.write_text(
        "task-progress { --task-progress-color: rgb(1, 2, 3); --task-progress-height: 30px }"
        "task-progress::part(text) { color: rgb(4, 5, 6) }"
        "task-progress[state=running] { border: 7px solid }"
    )
    await standin.send("one", state="running", current=1, total=2)
    page = await show(element(), head=f'<link rel="stylesheet" href="/static/own.css">{SCRIPT}')
    await in_state(page, "running")
    await expect(part(page, "bar")).to_have_css("background-color", "rgb(1, 2, 3)")
    await expect(part(page, "track")).to_have_css("block-size", "30px")
    await expect(part(page, "text")).to_have_css("color", "rgb(4, 5, 6)")
    await expect(page.locator("#one")).to_have_css("border-top-width", "7px")
