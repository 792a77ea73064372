"""What a page's reader does in a browser: open, press, and see one text after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import expect

from tests.support.browser import chromium

SIZE = {"width": 640, "height": 260}


@dataclass(frozen=True)
class Visit:
    """`press` names a button; empty for none. `picture` is taken when the first text is seen; None for none."""

    url: str
    press: str
    texts: Sequence[str]
    picture: Path | None = None


def visit(wanted: Visit, seconds: float) -> None:
    """`AssertionError` where a text is not seen within `seconds` after the one before it."""
    asyncio.run(_visit(wanted, seconds * 1000))


async def _visit(wanted: Visit, ms: float) -> None:
    async with chromium() as browser:
        page = await browser.new_page(viewport=SIZE, device_scale_factor=2)  # type: ignore[arg-type]
        await page.goto(wanted.url)
        if wanted.press:
            await page.get_by_role("button", name=wanted.press).click()
        for number, text in enumerate(wanted.texts):
            await expect(page.get_by_text(text).first).to_be_visible(timeout=ms)
            if wanted.picture is not None and number == 0:
                await page.screenshot(path=wanted.picture)
