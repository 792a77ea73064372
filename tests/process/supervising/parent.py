"""``python -m tests.process.supervising.parent NUMBER WORK``: `supervise` with a `serve` that says what happens to it.

``DELAYSERVER_TEST_PAUSE`` (seconds) stands for all pauses, and with ``DELAYSERVER_TEST_HANGUP=ignored`` it is as if it
was started by nohup. What it says at the end of a process is not flushed by itself.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from logging.handlers import MemoryHandler
from pathlib import Path

import django
from django.db import connections

from delayserver import supervising
from delayserver.supervising import Parent, supervise

TICK_SECONDS = 0.25


def say(line: str, *, flush: bool = True) -> None:
    sys.stdout.write(f"{line}\n")
    if flush:
        sys.stdout.flush()


def open_files() -> dict[str, str]:
    """What this process has open, by descriptor."""
    found = {}
    for link in Path("/proc/self/fd").iterdir():
        try:
            found[link.name] = str(link.readlink())
        except FileNotFoundError:
            continue  # the one that listed them
    return found


class Child:
    """Runs until SIGTERM or the end of the parent; SIGUSR1 ends it by itself, SIGUSR2 breaks it."""

    def __init__(self, parent: Parent, *, stubborn: bool) -> None:
        self._parent, self._stubborn, self._asked = parent, stubborn, 0
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._parent, self._end, "parent gone")
        loop.add_signal_handler(signal.SIGTERM, self._ask)
        loop.add_signal_handler(signal.SIGUSR1, self._end, "by itself")
        loop.add_signal_handler(signal.SIGUSR2, self._ended.set_exception, RuntimeError("broken on purpose"))
        ticking = asyncio.create_task(self._tick())
        say(f"child {self._parent.number} pid {os.getpid()} runs")
        why = await self._ended
        ticking.cancel()
        say(f"child {self._parent.number} ends: {why}, asked {self._asked}", flush=False)
        return 0

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            say(f"child {self._parent.number} ticks")

    def _ask(self) -> None:
        self._asked += 1
        say(f"child {self._parent.number} is asked")
        if not self._stubborn:
            self._end("stopped")

    def _end(self, why: str) -> None:
        asyncio.get_running_loop().remove_reader(self._parent)
        if not self._ended.done():
            self._ended.set_result(why)


async def wait(parent: Parent, *, stubborn: bool = False) -> int:
    return await Child(parent, stubborn=stubborn).run()


def waits(parent: Parent) -> int:
    """Says what it has open, and its last words to a log that keeps them."""
    say(f"child files {json.dumps(open_files())}")
    say(f"child connection {connections['default'].connection}, wake-up {signal.set_wakeup_fd(-1)}")
    code = asyncio.run(wait(parent))
    keeping = logging.getLogger("kept")
    keeping.addHandler(MemoryHandler(100, target=logging.getLogger().handlers[0]))
    keeping.propagate = False
    keeping.warning("last words of %s", parent.number)
    return code


def is_stubborn(parent: Parent) -> int:
    return asyncio.run(wait(parent, stubborn=True))


def is_deaf(parent: Parent) -> int:
    """Has not come to handle signals yet."""
    say(f"child {parent.number} pid {os.getpid()} runs")
    while not os.read(parent.fileno(), 1):
        return 0
    return 1


def breaks(parent: Parent) -> int:
    say(f"child {parent.number} broke at {time.monotonic()}")
    return 3


def breaks_beside_another(parent: Parent) -> int:
    return breaks(parent) if parent.number == 2 else asyncio.run(wait(parent))


def breaks_beside_a_stubborn_one(parent: Parent) -> int:
    return breaks(parent) if parent.number == 2 else is_stubborn(parent)


WORK: dict[str, Callable[[Parent], int]] = {
    work.__name__: work
    for work in (waits, is_stubborn, is_deaf, breaks, breaks_beside_another, breaks_beside_a_stubborn_one)
}


def main() -> None:
    os.setpgrp()  # as a shell does with what it starts in the foreground
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    django.setup()
    if pause := os.environ.get("DELAYSERVER_TEST_PAUSE"):
        supervising.PAUSES = (float(pause),)  # type: ignore[assignment]
    if os.environ.get("DELAYSERVER_TEST_HANGUP") == "ignored":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    atexit.register(say, "the parent's atexit")
    before = open_files()
    say(f"parent files {json.dumps(before)}", flush=False)
    connections["default"].ensure_connection()
    code = supervise(int(sys.argv[1]), WORK[sys.argv[2]])
    say(f"supervise returned {code}, files {'as before' if open_files() == before else open_files()}")
    sys.exit(code)


if __name__ == "__main__":
    main()
