"""Schedules in real servers: on time, by every source, obeyed when they change, and policies after an outage."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from channels_redis.core import RedisChannelLayer
from pytest_django import DjangoDbBlocker

from delayserver.conf import REDIS_LAYER
from delayserver.message import Occurrence
from delayserver.models import DelayedMessage
from delayserver.occurrences import Cursor
from delayserver.stores.base import Named
from delayserver.stores.moves import Move, Step

from ..chaos.ledger import figures, percentile, sized, wait_until
from ..support.process import Process, Processes
from ..support.servers import RedisServer
from ..support.wait import wait_for
from .conftest import READY
from .scheduling.scene import (
    MESSAGE,
    Planned,
    doubled,
    early,
    emptied,
    holes,
    now_ms,
    off_grid,
    planned,
    wait_for_more,
)

TARGET: dict[str, Any] = {"channel": "sink", "message": MESSAGE}
EVERY_SECOND = "* * * * * *"
HOUR = 3_600_000
OBEYED_SECONDS = 5.0
SLACK_SECONDS = 3.0  # a busy machine's: when what was obeyed has arrived, been read and seen here
NEVER_SOON = "0 0 1 1 *"  # as far as these tests are concerned

SHIFT = """
import time

_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + {seconds}
time.time_ns = lambda: _time_ns() + {seconds} * 1_000_000_000
print("this clock is {seconds} s off", flush=True)
"""


@pytest.fixture
def site(
    redis_url: str, sqlite_database: str, start_process: Processes, django_db_blocker: DjangoDbBlocker
) -> Iterator[Planned]:
    """Messages in Redis, rows in SQLite."""
    with django_db_blocker.unblock(), emptied(planned("redis", redis_url, start_process, sqlite_database)) as site:
        yield site
        start_process.end()


@pytest.fixture
def on_database(
    request: pytest.FixtureRequest,
    redis_url: str,
    start_process: Processes,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Planned]:
    """Messages and rows in one database, the layer on Redis."""
    alias: str = request.getfixturevalue(f"{request.param}_database")
    with django_db_blocker.unblock(), emptied(planned("database", redis_url, start_process, alias)) as site:
        yield site
        start_process.end()


def lines(server: Process, words: str) -> list[str]:
    return [line.text for line in list(server.lines) if words in line.text]


# -- on time ----------------------------------------------------


def test_an_interval_of_100_ms_keeps_its_grid(site: Planned) -> None:
    seconds = sized(60, 10)
    site.code["fast"] = {"every": 0.1, **TARGET}
    with site.diary() as diary:
        server = site.serve()[0]
        fired = wait_for_more(diary, "fast", seconds * 10 + 5, seconds + 20)
    assert server.running
    instants = [one.instant for one in fired]
    first = instants[0]
    within = [instant for instant in instants if instant < first + seconds * 1_000]
    assert within == list(range(first, first + seconds * 1_000, 100))
    assert not early(fired)
    late = sorted(one.at - one.instant for one in fired)
    told = f"p50 {percentile(late, 50):.1f} p99 {percentile(late, 99):.1f} max {late[-1]:.0f} ms"
    figures.append(f"schedules, every 100 ms for {seconds} s: {len(within)} of {seconds * 10}, late {told}")


def test_servers_whose_clocks_are_an_hour_off_either_way(site: Planned, tmp_path: Path) -> None:
    """The clock of the store counts."""
    site.code["code"] = {"every": 0.2, **TARGET}
    site.named["named"] = {"cron": EVERY_SECOND, "catch_up": "all", **TARGET}
    site.add("row", cron=EVERY_SECOND)
    site.add("far", cron=NEVER_SOON)
    with site.diary() as diary:
        servers = [_launch_off(site, tmp_path / str(hours), hours * 3_600) for hours in (1, -1)]
        for server in servers:
            server.wait_for_line(READY)
        for alone in range(2):
            for name in ("row", "named", "code"):
                wait_for_more(diary, name, 2, 20)
            if not alone:
                servers[0].kill()
        fired = diary.fired()
    assert fired.keys() == {"code", "named", "row"}
    for name, period in {"code": 200, "named": 1_000, "row": 1_000}.items():
        instants = [one.instant for one in fired[name]]
        assert abs(instants[-1] - now_ms()) < 20_000
        assert not doubled(instants), name
        assert not holes(instants, period), name
        assert not off_grid(instants, period, instants[0]), name
        assert not early(fired[name]), name


def _launch_off(site: Planned, folder: Path, seconds: int) -> Process:
    """A server on a host whose clock is so far off."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SHIFT.format(seconds=seconds))
    server = site.launch(env={"PYTHONPATH": os.pathsep.join([str(folder), site.env["PYTHONPATH"]])})
    server.wait_for_line(f"this clock is {seconds} s off")
    return server


# -- after an outage --------------------------------------------


async def set_back(site: Planned, hours: int) -> None:
    """Where every schedule stands, so many hours ago, with what waits: as if no server had run since."""
    store = site.new_store()
    await store.open()
    try:
        for name, seen in (await store.cursors()).items():
            cursor = Cursor.unpack(seen)
            assert cursor is not None
            assert cursor.waiting is not None
            then = cursor._replace(at=cursor.at - hours * HOUR, waiting=cursor.waiting - hours * HOUR)
            id, occurrence = Occurrence(name, cursor.waiting).id, Occurrence(name, cursor.waiting - hours * HOUR)
            message = await store.aget(Named(id))
            assert message is not None
            message = replace(message, id=occurrence.id, due=occurrence.scheduled_for, occurrence=occurrence)
            (done,) = await store.put_occurrences([Move(name, seen, then.pack(), [message], [id], True)])
            assert done.step is Step.DONE
    finally:
        await store.aclose()


def far_minute() -> int:
    """20 minutes from now, so that no hour ends meanwhile."""
    return time.gmtime(time.time() + 1_200).tm_min


def test_down_for_three_hours_over_an_hourly_schedule(site: Planned) -> None:
    """The clock of Redis is real, so where the schedules stand is set back instead."""
    each = [(source, policy) for source in ("code", "named", "row") for policy in ("one", "all", "skip")]
    for policy in ("one", "all", "skip"):
        options = {"cron": f"{far_minute()} * * * *", "catch_up": policy, **TARGET}
        site.code[f"code-{policy}"], site.named[f"named-{policy}"] = options, options
        site.add(f"row-{policy}", **options)
    first = site.serve()[0]
    names = sorted(f"{source}-{policy}" for source, policy in each)
    wait_for(lambda: [name for name, _ in site.listed()] == names, 15, "one of each that waits")
    first.terminate()
    assert first.wait() == 0
    ahead = site.listed()
    asyncio.run(set_back(site, 3))
    with site.diary() as diary:
        site.serve(2)
        wait_for(lambda: site.listed() == ahead, 15, "the next of each, as before")
        wait_for(lambda: len(diary.of("row-all")) + len(diary.of("code-all")) == 6, 10, "three of all")
        missed = [ahead[0][1] - hours * HOUR for hours in (3, 2, 1)]
        wanted = {"all": missed, "one": missed[-1:], "skip": []}
        assert {name: diary.instants(name) for name in names} == {
            f"{source}-{policy}": wanted[policy] for source, policy in each
        }


def test_down_for_three_hours_on_sqlite_by_the_hosts_clock(
    redis_url: str,
    sqlite_database: str,
    start_process: Callable[..., Process],
    django_db_blocker: DjangoDbBlocker,
    tmp_path: Path,
) -> None:
    """SQLite has no clock of its own: the second server's host is three hours ahead."""
    minute = far_minute()
    (tmp_path / "sitecustomize.py").write_text(SHIFT.format(seconds=3 * 3_600))
    with django_db_blocker.unblock():
        site = planned("database", redis_url, start_process, sqlite_database)
        site.empty()
        for policy in ("one", "all", "skip"):
            site.code[policy] = {"cron": f"{minute} * * * *", "catch_up": policy, **TARGET}
        first = site.serve()[0]
        wait_for(lambda: len(site.listed()) == 3, 10, "three occurrences that wait")
        first.terminate()
        first.wait()
        begun = now_ms()
        site.folders.append(str(tmp_path))
        with site.diary() as diary:
            site.serve()
            wait_for(lambda: len(diary.of("all")) == 3, 10, "three of all")
            wait_for(lambda: diary.of("one"), 10, "the last")
            due = [instant for instant in range(begun, begun + 3 * HOUR + 1) if _is_minute(instant, minute)]
            assert diary.instants("all") == due
            assert diary.instants("one") == due[-1:]
            assert diary.instants("skip") == []
        site.empty()


def _is_minute(instant: int, minute: int) -> bool:
    return instant % HOUR == minute * 60_000


# -- rows that change -------------------------------------------


def obeyed(what: str, look: Callable[[], Any]) -> float:
    """In how many seconds."""
    start = time.monotonic()
    wait_for(look, OBEYED_SECONDS + SLACK_SECONDS, what)
    return time.monotonic() - start


@pytest.mark.parametrize("on_database", sized(["sqlite", "postgres"], ["postgres"]), indirect=True)
def test_rows_are_obeyed_however_they_are_written(on_database: Planned) -> None:
    site = on_database
    table = "delayserver_schedule"
    names = ["by update", "by sql", "slower", "far", "off", "gone"]
    with site.diary() as diary:
        server = site.serve()[0]
        for name in names:
            site.sql(
                f"INSERT INTO {table} (name, cron, channel, message) VALUES (%s, %s, %s, %s)",
                *(name, EVERY_SECOND, "sink", '{"type": "x"}'),
            )
        took = [obeyed("each new row", lambda: len(diary.fired()) == len(names))]

        site.rows().filter(name="by update").update(message={"type": "probe", "n": 1})
        site.sql(f"UPDATE {table} SET message = %s WHERE name = %s", '{"type": "probe", "n": 2}', "by sql")
        site.rows().filter(name="slower").update(cron="* * * * * */2")
        site.sql(f"UPDATE {table} SET cron = %s WHERE name = %s", NEVER_SOON, "far")
        site.rows().filter(name="off").update(enabled=False)
        site.sql(f"DELETE FROM {table} WHERE name = %s", "gone")
        took += [
            obeyed("a message by update()", lambda: diary.of("by update")[-1].content.get("n") == 1),
            obeyed("a message by SQL", lambda: diary.of("by sql")[-1].content.get("n") == 2),
            obeyed("a cron by update()", lambda: holes(diary.instants("slower")[-2:], 1_000)),
            obeyed("a cron by SQL", lambda: len(_waits(site, "far")) == 1 and _is_far(_waits(site, "far")[0])),
            obeyed("disabled by update()", lambda: not _waits(site, "off")),
            obeyed("deleted by SQL", lambda: not _waits(site, "gone")),
        ]
        calm = {name: len(diary.of(name)) for name in ("far", "off", "gone")}

        begun = now_ms()
        site.sql(f"UPDATE {table} SET enabled = %s WHERE name = %s", True, "off")
        site.rows().filter(name="far").delete()
        took += [
            obeyed("enabled by SQL", lambda: len(diary.of("off")) > calm["off"]),
            obeyed("deleted by delete()", lambda: not _waits(site, "far")),
        ]
        fired = diary.fired()
        assert fired["off"][calm["off"]].instant > begun, "nothing that was due while it was disabled"
        assert {name: len(fired[name]) for name in ("far", "gone")} == {name: calm[name] for name in ("far", "gone")}
        for name in names:
            instants = [one.instant for one in fired[name]]
            assert not doubled(instants), name
            assert not early(fired[name]), name
        for name in ("by update", "by sql"):
            assert not holes([one.instant for one in fired[name]], 1_000), name
        assert server.running
    figures.append(f"schedules, rows on {site.database}: changes obeyed within {max(took):.1f} s")


def _waits(site: Planned, name: str) -> list[str]:
    """As ``manage.py delays list`` shows, and quicker."""
    ids = DelayedMessage.objects.using(site.database).values_list("id", flat=True)
    return [id for id in ids if id.startswith(f"schedule:{name}:")]


def _is_far(id: str) -> bool:
    return int(id.rpartition(":")[2]) > now_ms() + HOUR


def test_what_waits_is_listed_until_its_row_is_gone(site: Planned) -> None:
    site.add("deleted", cron=NEVER_SOON)
    site.add("disabled", cron=NEVER_SOON)
    site.serve()

    wait_for(lambda: [name for name, _ in site.listed()] == ["deleted", "disabled"], 15, "what waits")
    site.rows().filter(name="deleted").delete()
    site.rows().filter(name="disabled").update(enabled=False)
    wait_for(lambda: not site.listed(), 15, "nothing")


@pytest.mark.parametrize("on_database", sized(["sqlite", "postgres"], ["sqlite"]), indirect=True)
def test_a_broken_row_is_named_and_no_other_suffers(on_database: Planned) -> None:
    site = on_database
    for name in ("broken", "well"):
        site.add(name, cron=EVERY_SECOND)
    with site.diary() as diary:
        server = site.serve()[0]
        wait_for_more(diary, "broken", 1, 15)
        site.sql("UPDATE delayserver_schedule SET cron = %s WHERE name = %s", "61 * * * *", "broken")
        server.wait_for_line("schedule broken does not run: .*61")
        wait_for(lambda: not _waits(site, "broken"), 10, "nothing of it that waits")
        before = len(diary.of("broken"))
        wait_for_more(diary, "well", 4, 15)
        assert len(diary.of("broken")) == before
        assert len(lines(server, "schedule broken does not run")) == 1
        begun = now_ms()
        site.sql("UPDATE delayserver_schedule SET cron = %s WHERE name = %s", "* * * * * */3", "broken")
        took = obeyed("the mended row", lambda: len(diary.of("broken")) > before)
        assert took < OBEYED_SECONDS + SLACK_SECONDS
        again = diary.of("broken")[before:]
        assert all(one.instant > begun and one.instant % 3_000 == 0 for one in again), again
        assert not holes(diary.instants("well"), 1_000)
        assert not lines(server, "well does not run")


# -- one after the other ----------------------------------------


@pytest.mark.parametrize("overlap", ["skip", "queue_one"])
def test_what_must_not_overlap_waits_for_the_one_before(site: Planned, overlap: str) -> None:
    """A channel that takes no more keeps the occurrence before in the store."""
    site.config["capacity"] = 1
    site.named["alone"] = {"cron": EVERY_SECOND, "overlap": overlap, **TARGET}
    servers = site.serve(2)
    key = "asgi" + TARGET["channel"]
    with site.redis() as client:
        wait_for(lambda: client.zcard(key), 15, "the first, which nobody takes")
        wait_for(lambda: len(site.listed()) == 1, 15, "the second, which has no room")
        waiting = site.listed()
        skipped = "not sent, for the one before was not done"
        wait_until(time.monotonic() + 3)
        assert site.listed() == waiting
        if overlap == "skip":
            wait_for(lambda: any(lines(server, skipped) for server in servers), 5, "that it is told")
        client.delete(key)
        released = now_ms()
        wait_for(lambda: client.zcard(key), 15, "the second")
        client.delete(key)
        wait_for(lambda: client.zcard(key), 15, "the one after it")
        (member,) = client.zrange(key, 0, -1)
        third = RedisChannelLayer().deserialize(member)["__delay__"]["scheduled_for"]
        second = waiting[0][1]
        assert third > second + 1_000
        if overlap == "skip":
            assert third > released - 1_000
        else:
            assert third > second
            wait_for(lambda: any(lines(server, skipped) for server in servers), 5, "that it is told")


# -- which server, which layer ----------------------------------


def test_only_the_servers_of_the_projects_own_layer_run_schedules(site: Planned) -> None:
    host = {"address": site.url, "socket_timeout": None}
    site.layers = {
        "default": {"BACKEND": REDIS_LAYER, "CONFIG": {"hosts": [host]}},
        "other": {"BACKEND": REDIS_LAYER, "CONFIG": {"hosts": [host], "prefix": "other"}},
    }
    site.named["s"] = {"cron": EVERY_SECOND, **TARGET}
    with site.diary() as diary:
        other = site.launch("--layer", "other")
        other.wait_for_line("layer other")
        site.launch().wait_for_line(READY)
        wait_for_more(diary, "s", 3, 15)
    with site.redis() as client:
        assert client.zcard("othersink") == 0
        assert client.exists("{delayserver:other}:schedules") == 0
        assert client.exists("{delayserver:asgi}:schedules") == 1
    assert not lines(other, "schedule s")


def test_code_runs_where_nothing_was_migrated(
    redis_url: str, start_process: Callable[..., Process], tmp_path: Path
) -> None:
    class Bare(Planned):
        @property
        def env(self) -> dict[str, str]:
            empty = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "empty.sqlite3")}
            return {**super().env, "DELAYSERVER_TEST_DB": json.dumps({"default": empty})}

    site = Bare("redis", redis_url, start_process, config={"capacity": 1_000})
    site.code["s"] = {"cron": EVERY_SECOND, **TARGET}
    with site.diary() as diary:
        server = site.serve()[0]
        wait_for_more(diary, "s", 6, 20)
        assert not holes(diary.instants("s"), 1_000)
    assert len(lines(server, "the rows of schedules cannot be read")) == 1


def test_each_schedule_once_on_a_layer_of_two_hosts(site: Planned, redis_server: RedisServer) -> None:
    """Each name has a host of its own on which it stands."""
    with RedisServer() as second:
        hosts = [{"address": url, "socket_timeout": None} for url in (redis_server.url, second.url)]
        site.layers = {"default": {"BACKEND": REDIS_LAYER, "CONFIG": {"hosts": hosts, **site.config}}}
        names = [f"s{n}" for n in range(6)]
        for name in names[:3]:
            site.named[name] = {"cron": EVERY_SECOND, **TARGET}
        for name in names[3:]:
            site.add(name, every=timedelta(milliseconds=500))
        with site.diary() as one, site.diary(client=second.client()) as other:
            site.serve(2)
            for name in names:
                wait_for(lambda name=name: len(one.of(name) + other.of(name)) >= 5, 15, f"five of {name}")  # type: ignore[misc]
            found = one.fired(), other.fired()
        for name in names:
            each = sorted(fired.instant for side in found for fired in side.get(name, []))
            assert not doubled(each), name
            assert not holes(each, 1_000 if name < "s3" else 500), name
        stand = [client_keys(url) for url in (redis_server.url, second.url)]
        assert sorted(stand[0] + stand[1]) == names
        assert all(stand)


def client_keys(url: str) -> list[str]:
    """Whose cursors are on this host."""
    with redis.Redis.from_url(url) as client:
        return [name.decode() for name in client.hkeys("{delayserver:asgi}:schedules")]


EMBEDDED = """
import asyncio
from channels.consumer import AsyncConsumer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from delayserver.embedded import embedded

class Recorder(AsyncConsumer):
    async def probe(self, message):
        print(message["__delay__"]["schedule"], message["__delay__"]["scheduled_for"], flush=True)

async def main():
    app = embedded(ProtocolTypeRouter({"channel": ChannelNameRouter({"sink": Recorder.as_asgi()})}), workers=["sink"])
    events = asyncio.Queue()
    await events.put({"type": "lifespan.startup"})
    async def send(event): pass
    task = asyncio.create_task(app({"type": "lifespan"}, events.get, send))
    await asyncio.sleep(6)
    await events.put({"type": "lifespan.shutdown"})
    await task

asyncio.run(main())
"""


def test_schedules_run_inside_one_process(
    sqlite_database: str, start_process: Callable[..., Process], django_db_blocker: DjangoDbBlocker
) -> None:
    """SQLite, the in-memory layer, and no server at all."""
    with django_db_blocker.unblock():
        site = planned("database", "redis://127.0.0.1:1", start_process, sqlite_database)
        site.empty()
        site.layers = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
        site.code["code"] = {"every": 0.2, **TARGET}
        site.add("row", cron=EVERY_SECOND)
        process = site.run(EMBEDDED)
        assert process.wait(30) == 0, str(process)
        site.empty()
    for name, period in {"code": 200, "row": 1_000}.items():
        instants = [int(line.text.split()[1]) for line in process.lines if line.text.startswith(f"{name} ")]
        assert len(instants) >= 3_000 // period, str(process)
        assert instants == list(range(instants[0], instants[-1] + 1, period))
