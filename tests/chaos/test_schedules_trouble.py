"""Servers with schedules that are stopped, a Redis that is away, rows that cannot be read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from signal import SIGCONT, SIGSTOP

import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker

from delayserver.loops.tick import GAP_MS

from ..process.scheduling.scene import (
    MESSAGE,
    Diary,
    Planned,
    doubled,
    early,
    emptied,
    holes,
    now_ms,
    planned,
    wait_for_more,
    wait_past,
)
from ..support.databases import add_database, remove_database
from ..support.process import Process
from ..support.servers import PostgresServer, RedisServer
from ..support.wait import wait_for
from .conftest import assert_no_leak
from .ledger import figures, sized, wait_until

AWAY_SECONDS = sized(12.0, GAP_MS / 1000 + 1.5)
HANG_SECONDS = sized(12.0, 4.0)
POLICIES = ("one", "skip", "all")
GRACE_MS = 500
BACK_MS = 3_000  # until a busy server that goes on has looked

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def lasting_redis() -> Iterator[RedisServer]:
    with RedisServer("--appendfsync", "always", aof=True) as server:
        yield server
        assert_no_leak(server)


@pytest.fixture
def site(
    lasting_redis: RedisServer,
    sqlite_database: str,
    start_process: Callable[..., Process],
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Planned]:
    site = planned("redis", lasting_redis.url, start_process, sqlite_database)
    with django_db_blocker.unblock(), emptied(site):
        for policy in POLICIES:
            site.named[policy] = {"cron": "* * * * * *", "catch_up": policy, "channel": "sink", "message": MESSAGE}
        yield site


def pause(seconds: float) -> None:
    wait_until(time.monotonic() + seconds)


def assert_missed(diary: Diary, start: int, end: int, left_out: dict[str, int], cause: str) -> None:
    """There was no server from `start` to `end`: what each policy has made of it."""
    for policy in POLICIES:
        fired = [one for one in diary.of(policy) if one.instant > start - 5_000]
        instants = [one.instant for one in fired]
        assert not doubled(instants), (cause, policy)
        assert not early(fired), (cause, policy)
        gaps = holes(instants, 1_000)
        told = f"{cause}, {policy}: {gaps} between {start} and {end}"
        if policy == "all":
            assert not gaps, told
            continue
        ((last, first),) = gaps
        assert start - 1_100 <= last <= start + 1_100, told
        shift = 1_000 if policy == "one" else 0
        assert end - GRACE_MS - 100 < first + shift <= end + BACK_MS + 1_000, told
        left_out[f"{cause}, {policy}"] = (first - last) // 1_000 - 1


def test_servers_are_stopped_and_go_on_and_redis_is_away(site: Planned, lasting_redis: RedisServer) -> None:
    left_out: dict[str, int] = {}
    with site.diary() as diary:
        servers = site.serve(2)
        wait_past(diary, POLICIES, 1, 30)

        servers[0].signal(SIGSTOP)
        pause(AWAY_SECONDS)
        servers[0].signal(SIGCONT)
        wait_past(diary, POLICIES, 2, 30)
        for policy in POLICIES:
            assert not holes(diary.instants(policy), 1_000), f"{policy}: there was another server"

        start = now_ms()
        for server in servers:
            server.signal(SIGSTOP)
        pause(AWAY_SECONDS)
        end = now_ms()
        for server in servers:
            server.signal(SIGCONT)
        wait_past(diary, POLICIES, 3, 30)
        assert_missed(diary, start, end, left_out, "both stopped")

        start = now_ms()
        lasting_redis.kill()
        pause(AWAY_SECONDS)
        lasting_redis.start()
        end = now_ms()
        wait_past(diary, POLICIES, 4, 30)
        assert_missed(diary, start, end, left_out, "Redis away")
        assert all(server.running for server in servers)
    figures.append(f"schedules, {AWAY_SECONDS:.1f} s each: left out {left_out}")


@pytest.fixture
def rows_on_postgres(
    own_redis: RedisServer,
    start_process: Callable[..., Process],
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[tuple[Planned, PostgresServer]]:
    """Messages in Redis, rows in a PostgreSQL of this test's own."""
    with PostgresServer() as postgres, django_db_blocker.unblock():
        add_database("rows", postgres.settings)
        yield planned("redis", own_redis.url, start_process, "rows"), postgres
        remove_database("rows")


def test_the_rows_cannot_be_read_for_a_while(rows_on_postgres: tuple[Planned, PostgresServer]) -> None:
    """First the database hangs, then it is gone: what is known goes on, and what is new comes when it is back."""
    site, postgres = rows_on_postgres
    site.named["named"] = {"cron": "* * * * * *", "channel": "sink", "message": MESSAGE}
    site.add("row", cron="* * * * * *")
    with site.diary() as diary:
        server = site.serve()[0]
        wait_for_more(diary, "row", 2, 20)

        with connections["rows"].cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("LOCK TABLE delayserver_schedule IN ACCESS EXCLUSIVE MODE")
            server.wait_for_line("the rows of schedules cannot be read .*no answer within")
            wait_past(diary, ("row", "named"), HANG_SECONDS, HANG_SECONDS + 10)
            cursor.execute("COMMIT")
        site.add("new", cron="* * * * * *")
        wait_for_more(diary, "new", 1, 10)

        connections["rows"].close()
        postgres.stop()
        wait_past(diary, ("row", "new", "named"), HANG_SECONDS, HANG_SECONDS + 10)
        postgres.start()
        site.rows().filter(name="new").update(message={"type": "probe", "n": 2})
        wait_for(lambda: diary.of("new")[-1].content.get("n"), 10, "what was changed")

        for name in ("row", "new", "named"):
            assert not holes(diary.instants(name), 1_000), name
            assert not doubled(diary.instants(name)), name
        assert server.running
        late = sorted(one.at - one.instant for one in diary.of("row"))
        figures.append(f"schedules, rows hang and are away, {HANG_SECONDS:.1f} s each: late at worst {late[-1]:.0f} ms")
