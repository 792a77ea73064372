"""A site with pollers as processes of its own, and browsers that watch."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from ...support.process import Process
from ...support.servers import free_port
from ..conftest import Site
from .consumers import FILE

Frame = dict[str, Any]
LIMIT = 40.0  # seconds after which nothing more will come
OVER = ("succeeded", "failed", "timed_out", "cancelled")


class Started(NamedTuple):
    id: str
    token: str


class Watched(NamedTuple):
    """What a browser saw: the frames, and the code that it was closed with."""

    frames: list[Frame]
    code: int | None

    @property
    def steps(self) -> list[Any]:
        return [frame["current"] for frame in self.frames if frame["current"] is not None]

    @property
    def last(self) -> Frame:
        return self.frames[-1]


class Step(NamedTuple):
    """A step that a worker was given: of which progress, which one, and how late in ms."""

    id: str
    step: int
    late: float


class Stage:
    """`site` with a web server; a delay server and workers as they are asked for."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site, self._file, self.port = site, folder / "steps", free_port()
        self._file.touch()
        self.web: Process
        self.worker: Process

    def start(self, *args: str) -> Process:
        """A process of the project."""
        env = {"DJANGO_SETTINGS_MODULE": f"{__package__}.settings", FILE: str(self._file)}
        return self.site.start_process([sys.executable, "-m", *args], env={**self.site.env, **env})

    def start_web(self) -> Process:
        options = ("--port", str(self.port), "--lifespan", "off", "--no-access-log")
        web = self.start("uvicorn", f"{__package__}.asgi:application", *options)
        web.wait_for_line("Uvicorn running")
        self.web = web
        return web

    def memory(self) -> int:
        """Resident bytes of the web server."""
        pages = Path(f"/proc/{self.web.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def start_delay_server(self) -> Process:
        server = self.start("django", "rundelay")
        server.wait_for_line("^delay server ready")
        return server

    def start_worker(self) -> Process:
        self.worker = worker = self.start("django", "runtasks", "export", "frail")
        worker.wait_for_line("^worker ready")
        return worker

    def steps(self) -> Iterator[Step]:
        for line in self._file.read_text().splitlines():
            id, step, late = line.split()
            yield Step(id, int(step), float(late))

    # -- a browser's part ----------------------------------------------------------------------------------------

    def ask(self, path: str, **query: Any) -> Any:
        url = f"http://127.0.0.1:{self.port}/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=LIMIT) as answer:
            return json.load(answer)

    async def start_export(self, **job: Any) -> Started:
        return Started(**await asyncio.to_thread(self.ask, "start/", **job))

    def address(self, token: str) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/progress/{token}/"

    async def watch(self, token: str, *, until: int | None = None) -> Watched:
        """Until the socket is closed, or so many steps are done."""
        frames: list[Frame] = []
        async with asyncio.timeout(LIMIT), connect(self.address(token), max_queue=None) as socket:
            try:
                async for text in socket:
                    frames.append(json.loads(text))
                    if until is not None and (frames[-1]["current"] or 0) >= until:
                        return Watched(frames, None)
            except ConnectionClosed:
                pass
        return Watched(frames, socket.close_code)
