"""Ours and the peers behind one face: processes that call a handler, and a way to schedule for it."""

from __future__ import annotations

import importlib.util
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

from delayserver import send_later
from tests.support.process import Process
from tests.support.servers import RedisServer

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
    """`rundelay` and a stock `runworker`."""

    name, title = "ours", "delayserver"
    schedule_floor = 1_000

    def commands(self) -> list[list[str]]:
        return [rundelay_command(), [PYTHON, "-m", "django", "runworker", CHANNEL]]

    def env(self) -> Mapping[str, str]:
        return project(self.server)

    def schedule(self, due: float) -> None:
        send_later(CHANNEL, payload(due), eta=instant(due))


class Celery(Contender):
    """A worker of two processes, without what a lone worker does not need, that takes all there is in advance."""

    name, title = "celery", "Celery"
    schedule_floor = 400
    ends_by = signal.SIGQUIT  # on SIGTERM it first gives back, one by one, what waits in it

    def commands(self) -> list[list[str]]:
        what = ["-m", "celery", "-A", "benchmarks.celery_app", "worker"]
        lone = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        return [[PYTHON, *what, "-P", "prefork", "-c", "2", "-l", "warning", *lone]]

    def env(self) -> Mapping[str, str]:
        return {"BENCHMARKS_BROKER": self.server.url}

    def schedule(self, due: float) -> None:
        from .celery_app import handle

        handle.apply_async((payload(due),), eta=instant(due))


class Huey(Contender):
    """A consumer of two threads; its scheduler looks once a second, and no more often."""

    name, title = "huey", "huey"
    schedule_floor = 800

    def commands(self) -> list[list[str]]:
        what = ["-m", "huey.bin.huey_consumer", "benchmarks.huey_app.huey"]
        return [[PYTHON, *what, "-k", "thread", "-w", "2", "-s", "1", "-n", "-q"]]

    def env(self) -> Mapping[str, str]:
        return {"BENCHMARKS_BROKER": self.server.url}

    def schedule(self, due: float) -> None:
        from .huey_app import handle

        handle.schedule((payload(due),), eta=instant(due))


PEERS: dict[str, type[Contender]] = {"celery": Celery, "huey": Huey}


def installed_peers() -> tuple[str, ...]:
    return tuple(name for name in PEERS if importlib.util.find_spec(name) is not None)


def contenders(server: RedisServer, peers: Sequence[str]) -> list[Contender]:
    return [Ours(server), *(PEERS[name](server) for name in peers)]


# -- our processes ---------------------------------------------------------------------------------------------


def rundelay_command() -> list[str]:
    return [PYTHON, "-m", "django", "rundelay"]


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
    command = [PYTHON, "-m", "django", "runworker", CHANNEL]
    with Process(command, env={**project(server), **stamps.env}) as process:
        yield process


# -- instants --------------------------------------------------------------------------------------------------


def now_ms() -> float:
    return time.time() * 1_000


def instant(due: float) -> datetime:
    return datetime.fromtimestamp(due / 1_000, tz=UTC)
