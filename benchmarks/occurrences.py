"""What schedules cost: how late their occurrences are, many at one instant, and a server that has nothing to do.

The bare limit of a rhythm is a task that sleeps until each instant and then sends, in one command; that of many at one
instant is as many plain messages, which the same server hands over.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redis

from delayserver.models import Schedule
from tests.support.databases import add_database, remove_database
from tests.support.process import Process
from tests.support.servers import RedisServer
from tests.support.wait import wait_for

from .contenders import now_ms, project, rundelay_command
from .lateness import instants, late_on_channel, put, send_when_due
from .parts import (
    CHANNEL,
    CHANNEL_KEY,
    Goal,
    Row,
    Run,
    client_of,
    cpu_seconds,
    distribution,
    new_layer,
    new_store,
    settle,
)

MESSAGE = {"type": "probe", "text": "x" * 65}
PERIOD_MS = 20_000


def rows(run: Run) -> Iterator[Row]:
    yield _rhythm_row(run)
    with TemporaryDirectory() as folder:
        number = run.size(10_000, 500)
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(Path(folder) / "schedules.sqlite3")}
        add_database("schedules", database)
        try:
            yield _burst_row(run, database, number)
            yield _idle_row(run, database, number)
        finally:
            remove_database("schedules")


@contextmanager
def _server(server: RedisServer, database: Mapping[str, Any] | None, **settings: Any) -> Iterator[Process]:
    env = project(server) | {"DELAYSERVER_TEST_SETTINGS": json.dumps({"STORE": "redis", **settings})}
    if database is not None:
        env["DELAYSERVER_TEST_DB"] = json.dumps({"default": database})
    with Process(rundelay_command(), env=env) as process:
        process.wait_for_line("^delay server ready")
        yield process


def _rhythm_row(run: Run) -> Row:
    """Every 100 ms, by a schedule and by a bare loop."""
    number = run.size(200, 30)
    tick = {"every": 0.1, "channel": CHANNEL, "message": MESSAGE}
    with client_of(run.redis) as client:
        due = instants(10, number / 10, 500)
        send_when_due(client, new_layer(run.redis), due)
        bare = late_on_channel(client, new_layer(run.redis), len(due))
        client.flushall()
        with _server(run.redis, None, SCHEDULES={"tick": tick}):
            wait_for(lambda: client.zcard(CHANNEL_KEY) >= number, number / 10 + 20, f"{number} occurrences")
            arrived = _arrived(run, client)
    grid = sorted(instant for instant, _ in arrived)
    steps = {two - one for one, two in itertools.pairwise(grid)}
    assert steps == {100}, f"expected every 100 ms, got steps of {steps}"
    late = [at - instant for instant, at in arrived]
    return Row(
        "lateness of a schedule, every 100 ms", distribution(late), f"sleep, then `ZADD`: {distribution(bare)}", ""
    )


def _arrived(run: Run, client: redis.Redis) -> list[tuple[int, float]]:
    """The instant of each occurrence on the channel, and when it came there, in ms."""
    layer = new_layer(run.redis)
    found: Any = client.zrange(CHANNEL_KEY, 0, -1, withscores=True)
    return [(layer.deserialize(member)["__delay__"]["scheduled_for"], score * 1_000) for member, score in found]


# -- many ------------------------------------------------------------------------------------------------------


def _fill(number: int, cron: str) -> None:
    Schedule.objects.using("schedules").all().delete()
    made = [Schedule(name=f"s{n}", cron=cron, channel=CHANNEL, message=MESSAGE) for n in range(number)]
    Schedule.objects.using("schedules").bulk_create(made, batch_size=500)


def _burst_row(run: Run, database: Mapping[str, Any], number: int) -> Row:
    """All due at one instant; the second such instant, when the first one's successors are being put, counts."""
    _fill(number, f"* * * * * */{PERIOD_MS // 1_000}")
    with client_of(run.redis) as client, _server(run.redis, database):
        wait_for(lambda: client.zcard(CHANNEL_KEY) >= 2 * number, 3 * PERIOD_MS / 1_000 + 30, "two instants")
        arrived = _arrived(run, client)
    last = max(instant for instant, _ in arrived)
    late = [at - instant for instant, at in arrived if instant == last]
    assert len(late) == number
    with client_of(run.redis) as client, _server(run.redis, None):
        due = round(now_ms()) + 3_000 + number // 5
        put(new_store(run.redis), [due] * number)
        bare = late_on_channel(client, new_layer(run.redis), number, timeout=60)
    return Row(
        f"{number:,} schedules due at one instant, until the last is on the channel",
        f"{max(late):,.0f} ms ({distribution(late)})",
        f"as many plain messages: {max(bare):,.0f} ms",
        f"{max(late) / max(bare):.1f}x",
        goal=Goal("≤ 10 s", max(late) <= 10_000),
    )


def _idle_row(run: Run, database: Mapping[str, Any], number: int) -> Row:
    _fill(number, "0 0 1 1 *")
    with client_of(run.redis) as client, _server(run.redis, database) as process:
        waiting = "{delayserver:asgi}:waiting"
        wait_for(lambda: client.zcard(waiting) >= number, 60, "all to have their next occurrence")
        settle([process.pid], 60)
        start, before = time.monotonic(), cpu_seconds([process.pid])
        time.sleep(run.size(30, 3))
        used = (cpu_seconds([process.pid]) - before) / (time.monotonic() - start)
    return Row(f"idle, {number:,} schedules as rows", f"{used * 60:.2f} CPU s/min ({used:.1%} of a core)")
