"""BullMQ, which runs on Node: its worker processes, and a way to add jobs; see ``bullmq/queue.mjs``."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.process import ROOT, Process
from tests.support.servers import RedisServer

from .contenders import running
from .stamps import Stamps

INSTALLED = ROOT / ".cache" / "bullmq"
SCRIPT = Path(__file__).with_name("bullmq") / "queue.mjs"
MISSING = "not measured, it needs node and npm"
CONCURRENCY = 100  # as `runtasks` has it


def is_there() -> bool:
    """Whether node is, and `make bench` has installed what the script needs."""
    return shutil.which("node") is not None and _package().exists()


def version() -> str:
    return str(json.loads(_package().read_text())["version"])


def _package() -> Path:
    return INSTALLED / "node_modules" / "bullmq" / "package.json"


@contextmanager
def worker(server: RedisServer, stamps: Stamps) -> Iterator[Process]:
    """A process that works jobs off, once it takes."""
    command = ["node", f"{SCRIPT}", "work", f"{CONCURRENCY}"]
    with running(command, {**_env(server), **stamps.env}, signal.SIGTERM) as process:
        process.wait_for_line("^ready$")
        yield process


def add(server: RedisServer, number: int) -> float:
    """So many jobs, all of them there at once; the instant, in ms."""
    with Process(["node", f"{SCRIPT}", "add", f"{number}"], env=_env(server)) as process:
        return float(process.wait_for_line(r"^\d+\.\d+$", 60)[0])


def _env(server: RedisServer) -> dict[str, str]:
    return {"BULLMQ": f"{INSTALLED}", "BENCHMARKS_BROKER": server.url}
