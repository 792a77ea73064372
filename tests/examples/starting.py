"""Examples as someone starts them, and pages of theirs that keep what they hear."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from playwright.async_api import Browser, ConsoleMessage, Page, WebSocket

from ..support.browser import serious_faults
from ..support.process import ROOT, Process
from ..support.servers import free_port

SCHEMES: tuple[Literal["dark", "light"], ...] = ("dark", "light")


class Example(NamedTuple):
    """One that runs: its process, and the address of its page."""

    process: Process
    url: str


class Opened(NamedTuple):
    """A page, the frames that its WebSockets received, and whatever its console complained of."""

    page: Page
    frames: list[Any]
    troubles: list[str]


def examples(*args: object, **environ: str) -> Process:
    """``python -m examples``, as in a checkout."""
    return Process([sys.executable, "-m", "examples", *map(str, args)], env={"PYTHONPATH": str(ROOT), **environ})


@contextlib.contextmanager
def started(name: str, *options: object, **environ: str) -> Iterator[Example]:
    """An example, once it has said where to look; SIGTERM ends it, and with it all that it started."""
    url = f"http://127.0.0.1:{(port := free_port())}/"
    with examples(name, "--port", port, *options, **environ) as process:
        process.wait_for_line(rf"{url} \(Ctrl-C ends it\)", 30)
        yield Example(process, url)


async def opened(browser: Browser, url: str) -> Opened:
    page = await browser.new_page()
    opened = Opened(page, [], [])

    def note_socket(socket: WebSocket) -> None:
        socket.on("framereceived", lambda text: opened.frames.append(json.loads(text)))

    def note_message(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            opened.troubles.append(message.text)

    page.on("websocket", note_socket)
    page.on("console", note_message)
    page.on("pageerror", lambda error: opened.troubles.append(str(error)))
    await page.goto(url)
    return opened


async def faults(page: Page) -> list[str]:
    """What axe-core finds serious in a page, be it light or dark."""
    found = []
    for scheme in SCHEMES:
        await page.emulate_media(color_scheme=scheme)
        found += [f"{scheme}: {fault}" for fault in await serious_faults(page)]
    return found


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    """A zombie is not: nobody has asked yet how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
