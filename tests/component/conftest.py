"""What these tests share: one browser, a server that speaks the contract, and a page that keeps what it heard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from ..support.browser import chromium
from .standin import StandIn

SCRIPT = '<script type="module" src="/static/delayserver/task-progress.js"></script>'
PAGE = (
    '<!doctype html><html lang="en"><head><title>Work</title>{head}</head><body><main><h1>Work</h1>{body}</main></body>'
)
# Every event that gets as far as the document, with the state that the element is in by then.
HEAR = """
window.heard = [];
for (const name of ["progress", "done", "failed", "export-done", "progress-lost"]) {
  document.addEventListener(name, (event) => {
    heard.push([name, event.target.id, event.detail.version, event.target.getAttribute("state")]);
  });
}
window.said = [];
document.addEventListener("DOMContentLoaded", async () => {
  await customElements.whenDefined("task-progress");
  const milestones = document.querySelector("task-progress").shadowRoot.querySelector("[part=milestones]");
  const keep = () => milestones.textContent && said.push(milestones.textContent);
  new MutationObserver(keep).observe(milestones, { childList: true, characterData: true, subtree: true });
  keep();
});
"""

Show = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="package")
async def standin() -> AsyncIterator[StandIn]:
    async with StandIn() as standin:
        yield standin


@pytest_asyncio.fixture(loop_scope="package")
async def show(browser: Browser, standin: StandIn) -> AsyncIterator[Show]:
    """Opens a page with this body; options are the browser context's. No script may fail, and no policy be broken."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    async def show(
        body: str, *, clock: bool = False, head: str = SCRIPT, at: str = "/", html: str = "", **options: Any
    ) -> Page:
        standin.pages[at] = html or PAGE.format(head=head, body=body)
        context = await browser.new_context(**options)
        contexts.append(context)
        page = await context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if "Content Security Policy" in line.text else None)
        if clock:
            await page.clock.install()
        await page.add_init_script(HEAR)
        await page.goto(standin.url + at.removeprefix("/"))
        return page

    yield show
    for context in contexts:
        await context.close()
    assert faults == []


def element(token: str = "one", **attributes: str) -> str:
    """As the template tag renders it."""
    given = {"id": token, "socket": f"/ws/progress/{token}/", "href": f"/progress/{token}/", "label": "Export"}
    text = " ".join(f'{name}="{value}"' for name, value in {**given, **attributes}.items())
    return f"<task-progress {text}>43 %</task-progress>"


def part(page: Page, name: str, token: str = "one") -> Locator:
    return page.locator(f"#{token}").locator(f"[part={name}]")


async def in_state(page: Page, state: str, token: str = "one") -> None:
    """Once it is."""
    await expect(page.locator(f"#{token}")).to_have_attribute("state", state)


async def linked(page: Page, connection: str, token: str = "one") -> None:
    """Once it is."""
    await expect(page.locator(f"#{token}")).to_have_attribute("connection", connection)


async def heard(page: Page) -> list[Any]:
    """Each event that came to the document: its name, the element, the frame's version, the state then shown."""
    return list(await page.evaluate("heard"))


async def said(page: Page) -> list[str]:
    """What a screen reader was asked to speak so far, by the first element."""
    return list(await page.evaluate("said"))
