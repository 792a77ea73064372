"""A project whose messages workers handle: what sends them, what became of them, and what is left anywhere."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from delayserver.backoff import Retry
from delayserver.message import DeadLetter, Message, Waiting
from delayserver.models import DeadMessage, DelayedMessage

from ...support.process import Process
from ...support.wait import wait_for
from ..conftest import Site
from .journal import FILE, Journal

MAX_BYTES = 10_000
PUT = 500  # messages in one put
READY = "^worker ready: "
SOON_SECONDS = 6.0  # on a busy machine; a third of a lease, so that what runs so soon did not wait for its end
LATE_SECONDS = 30.0  # in which all is well again after a death: a lease, and its discovery
HAND, CHARGES = "{delayserver}:in hand:", "{delayserver}:charges:"


class Workshop:
    """`site` with workers; `journal` is what their handlers write."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site, self.journal = site, Journal(folder / "journal")
        self.store = site.new_store()
        self.client: Any = site.redis()
        self.env: dict[str, str] = {}  # more of it for every process that is started

    def start(self, *args: str, lease: float | None = None) -> Process:
        """``manage.py`` of the project."""
        env = {**self.env, "DJANGO_SETTINGS_MODULE": f"{__package__}.settings", FILE: str(self.journal.path)}
        if lease is not None:
            env["DELAYSERVER_TEST_LEASE"] = f"{lease}"
        return self.site.start_process([sys.executable, "-m", __package__, *args], env={**self.site.env, **env})

    def workers(self, number: int, *args: str, lease: float | None = None) -> list[Process]:
        """So many ``runtasks``, ready."""
        found = [self.start("runtasks", *args, lease=lease) for _ in range(number)]
        for worker in found:
            worker.wait_for_line(READY)
        return found

    def worker(self, *args: str, lease: float | None = None) -> Process:
        return self.workers(1, *args, lease=lease)[0]

    # -- sending ------------------------------------------------------------------------------------------

    def send(self, channel: str, contents: Iterable[dict[str, Any]]) -> None:
        """As ``channel_layer.send`` does."""
        asyncio.run(self._send(channel, contents))

    async def _send(self, channel: str, contents: Iterable[dict[str, Any]]) -> None:
        layer = self.site.layer()
        for content in contents:
            await layer.send(channel, content)
        await layer.close_pools()

    def send_later(self, channel: str, contents: Iterable[dict[str, Any]], retry: Retry | None = None) -> None:
        """As `send_many_later` does, with `retry`, and due now."""
        clock = self.store.read_clock()
        messages: list[Waiting] = [
            Message(channel=channel, content=one, delay=0, retry=retry or Retry()).waiting(clock, MAX_BYTES)
            for one in contents
        ]
        for start in range(0, len(messages), PUT):
            self.store.put(messages[start : start + PUT])

    # -- what became of them ------------------------------------------------------------------------------

    def wait_for(self, what: str, numbers: Iterable[int], seconds: float = 20.0) -> None:
        """Until it has happened to each of these messages."""
        wanted = set(numbers)
        try:
            wait_for(lambda: wanted <= self.journal.times(what).keys(), seconds, f"{len(wanted)} that {what}")
        except AssertionError as error:
            missing = sorted(wanted - self.journal.times(what).keys())
            raise AssertionError(f"{error}; missing {len(missing)}: {missing[:20]}; left: {self.left()}") from None

    def left(self) -> dict[str, int]:
        """How many messages there are still: in the store, on channels, in hands; and what is held against any."""
        found = {"store": self._waiting()}
        names = [name.decode() for name in self.client.scan_iter(count=1_000)]
        for name in names:
            if name.startswith((HAND, "asgi")):
                found[name] = self._size(self.client.zcard, name)
            elif name.startswith(CHARGES):
                found[name] = self._size(self.client.hlen, name)
        return {name: number for name, number in found.items() if number}

    def _size(self, count: Any, name: str) -> int:
        return int(count(name))

    def _waiting(self) -> int:
        if self.site.database:
            return DelayedMessage.objects.using(self.site.database).count()
        return asyncio.run(self.site.new_store().count())

    def wait_until_nothing_is_left(self, seconds: float = SOON_SECONDS) -> None:
        try:
            wait_for(lambda: not self.left(), seconds, "nothing to be left")
        except AssertionError as error:
            raise AssertionError(f"{error}; left: {self.left()}") from None

    def dead_letters(self) -> list[DeadLetter]:
        return list(asyncio.run(self.site.new_store().dead_letters(1_000)))

    def dead(self) -> int:
        if self.site.database:
            return DeadMessage.objects.using(self.site.database).count()
        return len(self.dead_letters())

    def wait_for_dead_letter(self, seconds: float = SOON_SECONDS) -> DeadLetter:
        """The only one."""
        wait_for(lambda: self.dead_letters(), seconds, "a dead letter")
        [letter] = self.dead_letters()
        return letter


def probes(numbers: Iterable[int], **more: Any) -> list[dict[str, Any]]:
    return [{"type": "probe", "n": n, **more} for n in numbers]


def press_ctrl_c(process: Process) -> None:
    """In a terminal every process of the group in the foreground gets the signal."""
    os.killpg(process.pid, signal.SIGINT)
