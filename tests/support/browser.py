"""A real browser: Debian's Chromium, with a profile of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from .servers import find_program

QUIET = (
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)

expect.set_options(timeout=20_000)  # ms; a busy machine is no fault of the page


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_program("chromium", "chromium"), args=QUIET)
        yield browser
        await browser.close()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium, for one test; a conftest that wants it imports it."""
    async with chromium() as browser:
        yield browser


# -- for everybody -------------------------------------------------------------------------------------------


async def serious_faults(page: Page) -> list[str]:
    """What axe-core finds serious or critical, and where."""
    await page.evaluate(_axe())
    found = await page.evaluate("axe.run()")
    return [
        f"{fault['id']}: {node['target']} {node['failureSummary']}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


def _axe() -> str:
    """The source of axe-core, which a package of Python's brings."""
    found = find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        raise RuntimeError("axe-playwright-python was not found, and these tests need its axe.min.js. Run `make test`.")
    return Path(found.origin).with_name("axe.min.js").read_text()
