"""The parts every benchmark stands on: a private Redis, a running `rundelay`, messages, and the kernel's accounts."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import redis

from delayserver.clock import Clock
from delayserver.conf import LayerSettings
from delayserver.message import Message, Waiting
from delayserver.stores.redis import RedisStore
from tests.support.process import Process
from tests.support.servers import RedisServer

PAYLOAD = {"type": "probe", "text": "x" * 70}  # 97 bytes with its keys
CAPACITY = 10_000_000
YEAR_MS = 365 * 24 * 3_600_000


class Row(NamedTuple):
    """One line of the table: a figure, the bare limit beside it, and their ratio, as text."""

    work: str
    figure: str
    bare: str = ""
    ratio: str = ""


def new_store(server: RedisServer) -> RedisStore:
    return RedisStore(LayerSettings("default", "channels_redis.core.RedisChannelLayer", {"hosts": [server.url]}))


def client_of(server: RedisServer) -> redis.Redis:
    """A client of an empty database."""
    client = redis.Redis.from_url(server.url)
    client.flushdb()
    return client


def messages(number: int, clock: Clock, *, delay: int, channel: str = "sink") -> Iterator[list[Waiting]]:
    """`number` messages in batches of 500."""
    for start in range(0, number, 500):
        yield [
            Message(channel=channel, content={**PAYLOAD, "n": n}, delay=delay).waiting(clock, 10_000)
            for n in range(start, min(start + 500, number))
        ]


@contextmanager
def rundelay(server: RedisServer, database: dict[str, Any] | None = None) -> Iterator[Process]:
    """A running `rundelay` on this Redis, with the messages in `database` if one is given."""
    env = {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DELAYSERVER_TEST_REDIS": server.url,
        "DELAYSERVER_TEST_CONFIG": json.dumps({"capacity": CAPACITY}),
        "DELAYSERVER_TEST_SETTINGS": json.dumps({"STORE": "database" if database else "redis"}),
        "DELAYSERVER_TEST_DB": json.dumps({"default": database} if database else None),
    }
    with Process([sys.executable, "-m", "django", "rundelay"], env=env) as process:
        process.wait_for_line("^delay server ready")
        yield process


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def quantile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]
