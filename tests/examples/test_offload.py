"""The example of offloaded work, from outside: real processes, a real browser, and addresses that nobody should ask."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from playwright.async_api import Browser, Page, expect
from websockets.asyncio.client import connect

from .starting import Example, children_of, faults, opened, started

LIMIT = 20.0  # seconds after which nothing more will come


@pytest.fixture(scope="module")
def offloading() -> Iterator[Example]:
    with started("offload") as example:
        yield example


@pytest.fixture(scope="module")
def slow(offloading: Example) -> str:
    """The address of the slow service, as the page has it, without a time."""
    page = urllib.request.urlopen(offloading.url).read().decode()
    found = re.search(r'value="(http://127\.0\.0\.1:\d+)/', page)
    assert found, page
    return found[1]


def ask(example: Example, path: str) -> tuple[int, str, Any]:
    """The status, the body, and the headers that a view answers."""
    try:
        answer = urllib.request.urlopen(example.url + path, timeout=LIMIT)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.read().decode(), answer.headers


def proxied(example: Example, url: str) -> tuple[int, str, Any]:
    return ask(example, f"proxy/?url={quote(url, safe='')}")


# -- the page ----------------------------------------------------------------------------------------------------


async def asked(page: Page, button: str, way: str) -> str:
    """Press a button; what its row says once the answer is there, in one line."""
    await page.get_by_label(f"over {way}").check()
    await page.get_by_role("button", name=button).click()
    row = page.locator(".answer").first
    await expect(row).to_have_attribute("data-state", re.compile("done|failed"), timeout=LIMIT * 1000)
    return " ".join((await row.inner_text()).split())


def meanwhile(row: str) -> tuple[int, int]:
    """How many requests were answered meanwhile, and the longest wait in milliseconds."""
    found = re.search(r"answered (\d+) other requests?; the longest wait was (\d+) ms", row)
    assert found, row
    return int(found[1]), int(found[2])


async def test_the_web_worker_answers_others_meanwhile(offloading: Example, browser: Browser, tmp_path: Path) -> None:
    page, frames, troubles = await opened(browser, offloading.url)
    await expect(page.locator("#pulse span").nth(2)).to_be_attached()

    url = await page.get_by_label("Address").input_value()
    await page.get_by_label("Address").fill("http://example.com/")
    assert "502: Bad Gateway" in await asked(page, "Ask the address", "HTTP")
    assert "'example.com' is not in" in await asked(page, "Ask the address", "a WebSocket")
    await page.get_by_label("Address").fill("<b>no address</b>")
    assert "502: Bad Gateway" in await asked(page, "Ask the address", "HTTP")
    await page.get_by_label("Address").fill(url)
    request = await asked(page, "Ask the address", "HTTP")
    assert "200: 2 seconds well spent After" in request
    assert meanwhile(request)[0] >= 3
    request = await asked(page, "Ask the address", "a WebSocket")
    assert "200: 2 seconds well spent After" in request
    assert "6 words" in await asked(page, "Count the words", "HTTP")
    assert "be be not or to to" in await asked(page, "Sort the words", "HTTP")
    assert "be be not or to to" in await asked(page, "Sort the words", "a WebSocket")
    assert frames, "the WebSocket was not used"
    here = await asked(page, "Count in the web worker itself", "HTTP")
    assert meanwhile(here)[1] >= 1_000  # the mistake, so that what is measured above can fail
    await expect(page.locator("#pulse [data-state=failed]").first).to_be_attached()
    await page.set_viewport_size({"width": 1400, "height": 1000})
    await page.screenshot(path=os.environ.get("OFFLOAD_SCREENSHOT", tmp_path / "page.png"))
    assert await faults(page) == []
    assert set(troubles) == {"Failed to load resource: the server responded with a status of 502 (Bad Gateway)"}


async def test_many_at_once_take_no_longer_than_one(offloading: Example, slow: str) -> None:
    """Four of two seconds, all of which the one web worker awaits: done while one of nine is still under way.

    For which nobody waits longer than five.
    """
    long = asyncio.create_task(asyncio.to_thread(proxied, offloading, f"{slow}/9/"))
    words = [asyncio.to_thread(ask, offloading, f"count/?text={n}") for n in range(2)]
    requests = [asyncio.to_thread(proxied, offloading, f"{slow}/2/") for _ in range(2)]
    answers = await asyncio.gather(*words, *requests)
    assert not long.done()
    assert [status for status, _, _ in answers] == [200] * 4
    assert (await long)[:2] == (504, "Gateway Timeout\n")


# -- what nobody should ask for ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "slow",
        "http://example.com/",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "http://127.0.0.1:{web}/ping/",
        "http://localhost:{slow}/0/",
        "http://2130706433:{slow}/0/",
        "http://127.0.0.1:{slow}@example.com/0/",
        "http://user:password@127.0.0.1:{slow}/0/",
        "http://127.0.0.1:{slow}/0/\r\nX-Injected: yes",
    ],
)
def test_only_the_slow_service_is_asked(url: str, offloading: Example, slow: str) -> None:
    url = url.format(web=urlsplit(offloading.url).port, slow=urlsplit(slow).port)
    status, body, _ = proxied(offloading, url)
    assert (status, body) == (502, "Bad Gateway\n")


def test_what_others_send_is_shown_as_no_page_of_ours(offloading: Example, slow: str) -> None:
    status, body, headers = proxied(offloading, f"{slow}/abc/")
    assert (status, body) == (404, "expected /SECONDS/, at most 30\n")
    assert "sandbox" in headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["", "sort/?text=a", "ping/"])
def test_it_has_no_other_name(path: str, offloading: Example) -> None:
    """A page elsewhere, whose name leads to this machine, is refused."""
    request = urllib.request.Request(offloading.url + path, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request, timeout=LIMIT)


async def test_whatever_else_a_browser_sends_is_answered(offloading: Example) -> None:
    async with websocket(offloading) as socket:
        for nonsense in (
            "[" * 100_000,
            "[]",
            "{}",
            '{"number": 1, "what": "shell", "text": "ls"}',
            b"\0",
            '{"what": []}',
        ):
            await socket.send(nonsense)
            assert "expected" in json.loads(await socket.recv())["error"], nonsense
        await socket.send('{"number": 7, "what": "command", "text": "b\\ud800 a"}')
        assert json.loads(await socket.recv()) == {"number": 7, "answer": "a b? "}


async def test_what_was_asked_while_there_was_no_worker_is_answered(offloading: Example) -> None:
    process = offloading.process
    worker = next(pid for pid in children_of(process.pid) if b"runtasks" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(worker, signal.SIGKILL)
    status, body, _ = await asyncio.to_thread(ask, offloading, "sort/?text=b+a")
    assert (status, json.loads(body)) == (200, {"answer": "a b "})
    process.wait_for_line("worker ended by itself, with exit code -9: starting it again")


def websocket(example: Example) -> connect:
    address = example.url.replace("http:", "ws:") + "ws/answers/"
    return connect(address, additional_headers={"Origin": "http://localhost"}, open_timeout=LIMIT)
