"""A system behind one face: processes that call a handler, and a way to schedule for it. Here is ours; see `peers`."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from delayserver import Retry, send_later
from tests.support.process import Process
from tests.support.servers import RedisServer
from tests.support.wait import wait_for

from .parts import CAPACITY, CHANNEL, payload, tree
from .stamps import Stamps

PYTHON = sys.executable


class Contender(ABC):
    """One system on a Redis of the benchmark's own."""

    name: str
    title: str
    schedule_floor: int  # messages a second that it surely schedules one by one, on a slow machine
    ends_by = signal.SIGTERM

    def __init__(self, server: RedisServer) -> None:
        self.server = server

    @abstractmethod
    def commands(self) -> list[list[str]]:
        """The processes that wait and handle."""

    @abstractmethod
    def env(self) -> Mapping[str, str]:
        """What they know from the environment."""

    @abstractmethod
    def schedule(self, due: float) -> None:
        """One message for the handler, due at an instant in ms, as a project would do it."""

    @contextmanager
    def running(self, stamps: Stamps) -> Iterator[list[Process]]:
        """Its processes, warm: each handler process has been called."""
        with ExitStack() as ending:
            processes = [
                ending.enter_context(running(command, {**self.env(), **stamps.env}, self.ends_by))
                for command in self.commands()
            ]
            stamps.clear()
            for _ in range(20):
                self.schedule(now_ms())
            stamps.wait(20, 30)
            stamps.clear()
            yield processes


@contextmanager
def running(command: Sequence[str], env: Mapping[str, str], ends_by: signal.Signals) -> Iterator[Process]:
    """A process, and what it started, until the end of the block."""
    with Process(command, env=env) as process:
        try:
            yield process
        finally:
            started = tree(process.pid)[1:] if process.running else []
            process.end(ends_by)
            for pid in started:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


class Ours(Contender):
    """`rundelay` and `runtasks`, one process each."""

    name, title = "ours", "delayserver"
    schedule_floor = 1_000

    def commands(self) -> list[list[str]]:
        return [rundelay_command(), runtasks_command()]

    def env(self) -> Mapping[str, str]:
        return project(self.server)

    def schedule(self, due: float) -> None:
        send_later(CHANNEL, payload(due), eta=instant(due))


class Retrying(Ours):
    """The same, of messages that are kept until they are acked; the worker acks."""

    name = "retry"

    def schedule(self, due: float) -> None:
        send_later(CHANNEL, payload(due), eta=instant(due), retry=Retry())


class Stock(Ours):
    """`rundelay` and the `runworker` of Channels."""

    name = "stock"

    def commands(self) -> list[list[str]]:
        return [rundelay_command(), runworker_command()]


# -- our processes ---------------------------------------------------------------------------------------------


def rundelay_command() -> list[str]:
    return [PYTHON, "-m", "django", "rundelay"]


def runtasks_command(*options: str) -> list[str]:
    return [PYTHON, "-m", "django", "runtasks", CHANNEL, *options]


def runworker_command() -> list[str]:
    return [PYTHON, "-m", "django", "runworker", CHANNEL]


def project(server: RedisServer, database: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The project on this Redis, with the messages in `database` if one is given."""
    return {
        "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        "DELAYSERVER_TEST_REDIS": server.url,
        "DELAYSERVER_TEST_CONFIG": json.dumps({"capacity": CAPACITY}),
        "DELAYSERVER_TEST_SETTINGS": json.dumps({"STORE": "database" if database else "redis"}),
        "DELAYSERVER_TEST_DB": json.dumps({"default": database} if database else None),
    }


@contextmanager
def rundelay(server: RedisServer, database: Mapping[str, Any] | None = None) -> Iterator[Process]:
    """A delay server that is ready."""
    with Process(rundelay_command(), env=project(server, database)) as process:
        process.wait_for_line("^delay server ready")
        yield process


@contextmanager
def runworker(server: RedisServer, stamps: Stamps) -> Iterator[Process]:
    """A stock worker of channels alone."""
    with Process(runworker_command(), env={**project(server), **stamps.env}) as process:
        yield process


@contextmanager
def runtasks(server: RedisServer, stamps: Stamps, *options: str, processes: int = 1) -> Iterator[Process]:
    """Our worker alone, once all its processes take."""
    command = runtasks_command(*options, "--processes", f"{processes}")
    with Process(command, env={**project(server), **stamps.env}) as process:
        wait_for(lambda: process.output.count("worker ready") >= processes, 30, f"{processes} workers")
        yield process


# -- instants --------------------------------------------------------------------------------------------------


def now_ms() -> float:
    return time.time() * 1_000


def instant(due: float) -> datetime:
    return datetime.fromtimestamp(due / 1_000, tz=UTC)
