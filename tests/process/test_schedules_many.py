"""Ten thousand schedules, all due at one instant, and everything else that goes on meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pytest_django import DjangoDbBlocker

from delayserver.models import Schedule

from ..chaos.ledger import Scene, Sender, figures, percentile, wait_until
from ..support.process import Process, Processes
from ..support.wait import wait_for
from .conftest import cpu_seconds
from .scheduling.scene import MESSAGE, Planned, emptied, now_ms, planned

NUMBER = 10_000
WITHIN_MS = 10_000
PUT_SECONDS = 14.0  # until all of them wait, on a busy machine
RATE = 100
LATE_MS = 3_000  # of other messages, meanwhile, on a machine as busy as can be; the figures say what it was


@pytest.fixture
def site(
    redis_url: str, sqlite_database: str, start_process: Processes, django_db_blocker: DjangoDbBlocker
) -> Iterator[Planned]:
    with (
        django_db_blocker.unblock(),
        emptied(planned("redis", redis_url, start_process, sqlite_database)) as site,
    ):
        yield site
        start_process.end()


def at(instant: int) -> str:
    """Once a day, at this second."""
    when = datetime.fromtimestamp(instant / 1000, UTC)
    return f"{when.minute} {when.hour} * * * {when.second}"


def soon(seconds: float) -> int:
    return round(now_ms() + seconds * 1000) // 1000 * 1000


def declare(site: Planned, instant: int) -> set[str]:
    names = {f"s{n:05}" for n in range(NUMBER)}
    options: dict[str, Any] = {"cron": at(instant), "channel": "sink", "message": MESSAGE}
    site.rows().bulk_create([Schedule(name=name, **options) for name in sorted(names)])
    return names


def waiting(site: Planned) -> int:
    with site.redis() as client:
        return int(client.zcard("{delayserver:asgi}:waiting"))


def test_ten_thousand_at_one_instant(site: Planned) -> None:
    """Rows that are made while two servers run: the figures say how long that and the instant itself took."""
    with site.diary() as diary, Scene(site, channel="probes") as scene, Scene(site, channel="plain") as plain:
        servers = site.serve(2)
        quiet = _lateness(scene, 2)
        instant = plain.load(NUMBER, 5)
        wait_until(time.monotonic() + (instant - now_ms()) / 1000 - 1)
        burst = _lateness(scene, 4)
        wait_for(lambda: plain.reader.count() >= NUMBER, 20, "as many messages")
        plain_late = plain.ledger.lateness(plain.reader.arrivals())

        instant = soon(PUT_SECONDS)
        began = time.monotonic()
        names = declare(site, instant)
        written = time.monotonic() - began
        wait_for(lambda: waiting(site) >= NUMBER, PUT_SECONDS + 10, "all of them, waiting")
        put = time.monotonic() - began - written
        assert now_ms() < instant, "expected all of them to wait before they are due"
        wait_until(time.monotonic() + (instant - now_ms()) / 1000 - 5.5)  # when both have seen all
        idle = _idle_cpu(servers, 4.0)
        wait_until(time.monotonic() + (instant - now_ms()) / 1000 - 1)
        busy = _lateness(scene, 4)
        wait_for(lambda: diary.count() >= NUMBER, 30, "all of them")
        wait_for(lambda: waiting(site) >= NUMBER, 2 * PUT_SECONDS, "the next of each")
        ahead = (now_ms() - instant) / 1000
        fired = diary.fired()
    late = sorted(one.at - one.instant for each in fired.values() for one in each)
    figures.append(
        f"schedules, {NUMBER} rows at one instant: all waiting {put:.1f} s after they were written, handed over in"
        f" {late[-1]:.0f} ms (as plain messages {plain_late[-1]:.0f} ms), the next of each put within {ahead:.1f} s;"
        f" other messages late p50/p99/max {_told(quiet)} before, {_told(burst)} beside as many plain messages,"
        f" {_told(busy)} beside schedules; idle servers {idle} of a core"
    )
    assert fired.keys() == names
    assert {one.instant for each in fired.values() for one in each} == {instant}
    assert all(len(each) == 1 for each in fired.values())
    assert late[0] >= 0
    assert late[-1] <= WITHIN_MS
    assert busy[-1] <= LATE_MS, figures[-1]


def _lateness(scene: Scene, seconds: float) -> list[float]:
    """Of messages that are sent for so long."""
    before = set(scene.ledger.accepted)
    with Sender(scene, RATE, seconds, delays=(0, 1_000)) as sender:
        sender.join(60)
    number = len(scene.ledger.accepted)
    wait_for(lambda: scene.reader.count() >= number, 20, f"{number} messages")
    return scene.ledger.lateness([one for one in scene.reader.arrivals() if one.number not in before])


def _told(late: list[float]) -> str:
    return "/".join(f"{percentile(late, share):.0f}" for share in (50, 99, 100)) + " ms"


def _idle_cpu(servers: list[Process], seconds: float) -> str:
    before = [cpu_seconds(server.pid) for server in servers]
    time.sleep(seconds)
    used = [cpu_seconds(server.pid) - start for server, start in zip(servers, before, strict=True)]
    return " and ".join(f"{share / seconds:.1%}" for share in used)
