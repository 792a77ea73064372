"""The prog rock demo, from outside: real processes, real browsers, real WebSockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import websockets.sync.client
from playwright.async_api import Browser, ConsoleMessage, Page, WebSocket, expect
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from ..support.process import ROOT, Process
from ..support.servers import DatabaseServer, RedisServer, free_port
from ..support.wait import await_for, wait_for
from .starting import alive, children_of, faults

DEMO = ROOT / "examples" / "progrock"
START = json.dumps({"action": "start"})
FRAMES = [{"progress": n} for n in range(0, 100, 3)] + [{"progress": 100, "complete": True}]
THEORY = 6.8  # seconds: 34 steps of 200 ms
SOON = 10.0  # seconds for any run on a machine that is not busy otherwise, connecting included
LIMIT = 40.0  # seconds after which nothing more will come
IDLE = 65.0  # seconds: longer than any time-out of the layer, of redis-py, or of a keep-alive

Environ = dict[str, str]


# -- the demo's processes --------------------------------------------------------------------------------------


def demo(*args: object, **environ: str) -> Process:
    """A process of the demo, as someone starts it who has installed delayserver."""
    fixed = {"PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "progrock.settings"}
    return Process([sys.executable, *map(str, args)], cwd=DEMO, env=fixed | environ)


def uvicorn(port: int, *options: object, **environ: str) -> Process:
    fixed = ("-m", "uvicorn", "progrock.asgi:application", "--port", port, "--timeout-graceful-shutdown", 3)
    return demo(*fixed, *options, **environ)


def migrate(**environ: str) -> None:
    with demo("manage.py", "migrate", "--verbosity", 0, **environ) as process:
        assert process.wait(60) == 0, process


@contextlib.contextmanager
def served(*options: str, **environ: str) -> Iterator[tuple[Process, int]]:
    """``serve.py``, once it has said where to look."""
    port = free_port()
    with demo("serve.py", "--port", port, *options, **environ) as process:
        process.wait_for_line(rf"http://127\.0\.0\.1:{port}/")
        yield process, port


@contextlib.contextmanager
def three_processes(**environ: str) -> Iterator[str]:
    """Web, delay server and worker on a Redis of their own; the WebSockets' address."""
    port = free_port()
    with RedisServer() as redis, contextlib.ExitStack() as stack:
        environ["PROGROCK_REDIS"] = redis.url
        migrate(**environ)
        web = stack.enter_context(uvicorn(port, "--lifespan", "off", **environ))
        delay = stack.enter_context(demo("manage.py", "rundelay", **environ))
        stack.enter_context(demo("manage.py", "runworker", "prog-rocker", **environ))
        delay.wait_for_line("delay server ready")
        web.wait_for_line("Uvicorn running")
        yield f"ws://127.0.0.1:{port}/prog/"


def sqlite(folder: Path) -> Environ:
    """As the demo's own, in a folder of the test's."""
    options = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"}
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "db.sqlite3"), "OPTIONS": options}
    return {"PROGROCK_DATABASE": json.dumps(database)}


# -- clients ---------------------------------------------------------------------------------------------------


async def play(address: str) -> list[object]:
    """The frames of one run, from its start to its last; where that does not come, what came instead."""
    frames: list[object] = []
    try:
        async with asyncio.timeout(LIMIT), connect(address) as socket:
            await socket.send(START)
            while not frames or "complete" not in frames[-1]:  # type: ignore[operator]
                frames.append(json.loads(await socket.recv()))
    except (TimeoutError, ConnectionClosed) as trouble:
        frames.append(repr(trouble))
    return frames


async def each_gets_its_own(address: str, browsers: int) -> None:
    started = time.monotonic()
    runs = await asyncio.gather(*(play(address) for _ in range(browsers)))
    took = time.monotonic() - started
    wrong = [frames for frames in runs if frames != FRAMES]
    assert not wrong, f"{len(wrong)} of {browsers} runs, such as {wrong[0]}"
    assert THEORY <= took <= SOON


# -- in a browser ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--redis",)], ids=["one process", "three processes"])
async def test_the_page_plays_two_runs_side_by_side(options: tuple[str, ...], browser: Browser, tmp_path: Path) -> None:
    with served(*options) as (process, port):
        children = children_of(process.pid)
        page, sockets, troubles = await opened(browser, f"http://127.0.0.1:{port}/")
        button = page.get_by_role("button", name="Start", exact=True)
        await button.click()
        await button.press("Enter")
        await expect(page.locator("[data-state=playing]")).to_have_count(2)
        await expect(page.locator("[data-state=done]")).to_have_count(2, timeout=LIMIT * 1000)

        assert sockets == [FRAMES, FRAMES]
        for seconds in await page.locator(".seconds").all_inner_texts():
            assert THEORY <= float(seconds.removesuffix(" s")) <= 8.5
        assert await page.locator(".frames").all_inner_texts() == ["35 of 35", "35 of 35"]
        bar = page.get_by_role("progressbar", name="Close to the Due")
        await expect(bar).to_have_attribute("aria-valuenow", "100")
        await expect(page.get_by_role("status")).to_contain_text("Done")
        await page.screenshot(path=os.environ.get("PROGROCK_SCREENSHOT", tmp_path / "page.png"), full_page=True)
        assert await faults(page) == []
        assert not troubles

        await button.click()
        await expect(page.locator("[data-state=playing]")).to_have_count(1)
        process.signal(signal.SIGINT)
        assert process.wait(5) == 0
        await expect(page.locator("[data-state=broken]")).to_contain_text("closed before the end")
        assert "Traceback" not in process.output
        wait_for(lambda: not any(map(alive, children)), 1, f"{children} to be gone")


async def opened(browser: Browser, url: str) -> tuple[Page, list[list[Any]], list[str]]:
    """The page, the frames of each of its WebSockets as they come, and whatever its console complains of."""
    page = await browser.new_page()
    sockets: list[list[Any]] = []
    troubles: list[str] = []

    def note_socket(socket: WebSocket) -> None:
        frames: list[Any] = []
        sockets.append(frames)
        socket.on("framereceived", lambda text: frames.append(json.loads(text)))

    def note_message(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            troubles.append(message.text)

    page.on("websocket", note_socket)
    page.on("console", note_message)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    await page.goto(url)
    return page, sockets, troubles


# -- many WebSockets -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_redis() -> Iterator[tuple[str, Future[str]]]:
    """Three processes with the store on Redis, and what becomes of a WebSocket that idles on them from the start."""
    with ThreadPoolExecutor(1) as threads, three_processes() as address:
        yield address, threads.submit(idle_then_play, address)


def idle_then_play(address: str) -> str:
    with websockets.sync.client.connect(address) as socket:
        try:
            return f"received {socket.recv(timeout=IDLE)!r} while idle"
        except TimeoutError:
            socket.send(START)
            return f"then {socket.recv(timeout=LIMIT)!r}"
        except ConnectionClosed as closed:
            return f"closed: {closed}"


async def test_fifty_browsers_at_once_on_redis(on_redis: tuple[str, Future[str]]) -> None:
    await each_gets_its_own(on_redis[0], 50)


def test_an_idle_websocket_stays_open(on_redis: tuple[str, Future[str]]) -> None:
    """redis-py 8 closed it after 5 s, but for the `socket_timeout` in the demo's settings."""
    assert on_redis[1].result(IDLE + LIMIT) == """then '{"progress": 0}'"""


async def test_fifty_browsers_at_once_on_postgresql(postgres_server: DatabaseServer) -> None:
    database = json.dumps(postgres_server.settings)
    with three_processes(PROGROCK_STORE="database", PROGROCK_DATABASE=database) as address:
        await each_gets_its_own(address, 50)


async def test_fifty_browsers_at_once_on_sqlite(tmp_path: Path) -> None:
    with three_processes(PROGROCK_STORE="database", **sqlite(tmp_path)) as address:
        await each_gets_its_own(address, 50)


async def test_two_asgi_workers_share_one_sqlite_database(tmp_path: Path) -> None:
    environ = sqlite(tmp_path)
    migrate(**environ)
    port = free_port()
    with uvicorn(port, "--workers", 2, **environ) as process:
        wait_for(lambda: process.output.count("startup complete") == 2, 20, f"two workers of {process}")
        await each_gets_its_own(f"ws://127.0.0.1:{port}/prog/", 10)


# -- trouble ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        ("no JSON", "got 'no JSON'"),
        ('{"action": "stop"}', """got '{"action": "stop"}'"""),
        ("[]", "got '[]'"),
        ("[" * 100_000, "got '[[[["),
        (b"\0", "got a binary frame"),
    ],
)
async def test_whatever_else_a_browser_sends_is_answered(
    sent: str | bytes, got: str, on_redis: tuple[str, Future[str]]
) -> None:
    async with asyncio.timeout(LIMIT), connect(on_redis[0]) as socket:
        await socket.send(sent)
        answer = json.loads(await socket.recv())
        assert answer.keys() == {"error"}
        assert answer["error"].startswith(f'expected {{"action": "start"}}, {got}')
        await socket.send(START)
        assert json.loads(await socket.recv()) == FRAMES[0]


async def test_a_second_start_does_not_disturb_the_run(on_redis: tuple[str, Future[str]]) -> None:
    async with asyncio.timeout(LIMIT), connect(on_redis[0]) as socket:
        await socket.send(START)
        await socket.send(START)
        frames = [json.loads(await socket.recv()) for _ in range(4)]
    errors = [frame for frame in frames if "error" in frame]
    assert len(errors) == 1
    assert [frame for frame in frames if frame not in errors] == FRAMES[:3]


async def test_killed_in_the_middle_and_started_again(tmp_path: Path) -> None:
    """What the killed process left goes out to browsers that are gone, and that harms nobody."""
    environ = sqlite(tmp_path)
    with served(**environ) as (process, port):
        address = f"ws://127.0.0.1:{port}/prog/"
        others = [asyncio.create_task(play(address)) for _ in range(3)]
        async with asyncio.timeout(LIMIT), connect(address) as socket:
            await socket.send(START)
            for _ in range(10):
                await socket.recv()
            # Between two steps of all four: within a step a run is in the memory of the process alone.
            await await_for(lambda: waiting(tmp_path) >= 4, 5, "a waiting message of each run")
            process.kill()
            process.wait()
    for frames in await asyncio.gather(*others):
        assert frames[:9] == FRAMES[:9]
        assert frames[-1] != FRAMES[-1]
    assert waiting(tmp_path) > 0

    with served(**environ) as (process, port):
        assert await play(f"ws://127.0.0.1:{port}/prog/") == FRAMES
        await await_for(lambda: waiting(tmp_path) == 0, LIMIT, "nothing to wait any more")
        assert "Traceback" not in process.output


def waiting(folder: Path) -> int:
    with contextlib.closing(sqlite3.connect(folder / "db.sqlite3")) as database:
        return int(database.execute("SELECT count(*) FROM delayserver_delayedmessage").fetchone()[0])


def test_a_process_that_dies_ends_the_others() -> None:
    with served("--redis") as (process, _):
        children = children_of(process.pid)
        worker = next(pid for pid in children if b"runworker" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(worker, signal.SIGKILL)
        assert process.wait(10) == 1
        assert "worker ended by itself, with exit code -9" in process.output
        assert "Traceback" not in process.output
        assert not any(map(alive, children))


def test_without_redis_server_it_says_what_to_do() -> None:
    with demo("serve.py", "--redis", PATH="") as process:
        assert process.wait() == 1
        assert "apt install redis-server" in process.output
        assert "without --redis" in process.output
