"""What `manage.py check` and `rundelay` say of a real project, and of the server under its store."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from delayserver.conf import LayerSettings
from delayserver.stores.redis import RedisStore

from ..support.process import ROOT, Process
from ..support.redis_cluster import RedisCluster
from ..support.servers import RedisServer, free_port

CORE = "channels_redis.core.RedisChannelLayer"
BAD = ("--maxmemory-policy", "allkeys-lru")
NO_ISSUES = "System check identified no issues (0 silenced)."


class Project:
    """The tests' own project, on the Redis servers at `urls`; `run` gives a command's exit code, ids and output."""

    def __init__(self, start_process: Callable[..., Process], folder: Path) -> None:
        self._start_process = start_process
        sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "project.sqlite3")}
        self.env = {"DJANGO_SETTINGS_MODULE": "tests.settings", "DELAYSERVER_TEST_DB": json.dumps({"default": sqlite})}

    def use(self, *urls: str, **delayserver: Any) -> None:
        hosts = [{"address": url, "socket_timeout": None} for url in urls]
        layers = {"default": {"BACKEND": CORE, "CONFIG": {"hosts": hosts}}}
        self.env["DELAYSERVER_TEST_LAYERS"] = json.dumps(layers)
        self.env["DELAYSERVER_TEST_SETTINGS"] = json.dumps(delayserver)

    def start(self, *command: str) -> Process:
        return self._start_process([sys.executable, "-m", "django", *command], env=self.env)

    def run(self, *command: str) -> tuple[int, list[str], str]:
        process = self.start(*command)
        code = process.wait()
        return code, ids_in(process.output), process.output


def ids_in(text: str) -> list[str]:
    return re.findall(r"delayserver\.([EW]\d{3})", text)


CHECK = ("check", "--database", "default", "--fail-level", "WARNING")


@pytest.fixture
def project(start_process: Callable[..., Process], tmp_path: Path) -> Project:
    return Project(start_process, tmp_path)


@pytest.fixture(scope="module")
def bad_redis() -> Iterator[RedisServer]:
    """It evicts, and keeps nothing on disk."""
    with RedisServer(*BAD) as server:
        yield server


@pytest.fixture(scope="module")
def good_redis() -> Iterator[RedisServer]:
    with RedisServer("--maxmemory-policy", "volatile-lru", aof=True) as server:
        yield server


# -- projects that are right ---------------------------------------------------------------------------------


def test_a_good_project_has_no_issues(project: Project, good_redis: RedisServer) -> None:
    project.use(good_redis.url)
    assert project.run("check", "--fail-level", "WARNING") == (0, [], NO_ISSUES)
    assert project.run(*CHECK) == (0, [], NO_ISSUES)


@pytest.mark.parametrize("environ", [{}, {"PROGROCK_REDIS": "redis://127.0.0.1:1"}])
def test_the_demo_has_no_issues(start_process: Callable[..., Process], environ: Mapping[str, str]) -> None:
    demo = ROOT / "examples/progrock"
    args = [sys.executable, "manage.py", "check", "--fail-level", "WARNING"]
    process = start_process(
        args, cwd=demo, env={"PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "progrock.settings", **environ}
    )
    assert process.wait() == 0
    assert process.output == NO_ISSUES


def test_snapshots_are_persistence_too(project: Project) -> None:
    with RedisServer("--save", "3600 1") as server:
        project.use(server.url)
        assert project.run(*CHECK) == (0, [], NO_ISSUES)


@pytest.mark.parametrize("command", ["CONFIG", "INFO"])
def test_a_redis_that_does_not_tell_is_not_blamed(project: Project, command: str) -> None:
    with RedisServer("--rename-command", command, "") as server:
        project.use(server.url)
        assert project.run(*CHECK) == (0, [], NO_ISSUES)


# -- and those that are not ----------------------------------------------------------------------------------


def test_a_redis_that_evicts_and_forgets_is_told_where_databases_are_checked(
    project: Project, bad_redis: RedisServer
) -> None:
    project.use(bad_redis.url)
    code, ids, output = project.run(*CHECK)
    assert (code, ids) == (1, ["W007", "W008"])
    assert f"{bad_redis.url} has the maxmemory-policy allkeys-lru" in output
    assert f"{bad_redis.url} keeps nothing on disk" in output
    assert "config set maxmemory-policy noeviction" in output
    assert project.run("check", "--fail-level", "WARNING") == (0, [], NO_ISSUES)


def test_the_cure_that_is_told_is_one(project: Project) -> None:
    with RedisServer(*BAD) as server, server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("appendonly", "yes")
        project.use(server.url)
        assert project.run(*CHECK) == (0, [], NO_ISSUES)


def test_each_of_several_hosts_is_asked_and_named(
    project: Project, bad_redis: RedisServer, good_redis: RedisServer
) -> None:
    nowhere = f"redis://:secret@127.0.0.1:{free_port()}/0"
    project.use(good_redis.url, bad_redis.url, nowhere)
    code, ids, output = project.run(*CHECK)
    assert (code, sorted(ids)) == (1, ["W003", "W007", "W008", "W010"])
    assert "has 3 hosts" in output
    assert f"{bad_redis.url} keeps nothing" in output
    assert f"{nowhere.replace(':secret@', '')} does not answer (ConnectionError: " in output
    assert "secret" not in output


def test_a_redis_that_hangs_holds_a_check_up_for_seconds_only(project: Project) -> None:
    with RedisServer(aof=True) as server, server.client() as client:
        project.use(server.url)
        client.execute_command("CLIENT", "PAUSE", 30_000, "ALL")
        start = time.monotonic()
        assert project.run(*CHECK)[:2] == (1, ["W010"])
        assert time.monotonic() - start < 12


async def test_a_cluster_is_asked(redis_cluster: RedisCluster) -> None:
    layer = LayerSettings("default", CORE, {})
    store = RedisStore(layer, redis_cluster.url, cluster=True)
    assert [doubt.id for doubt in await store.doubts()] == ["delayserver.W008"]
    await store.aclose()


async def test_a_cluster_that_is_away_is_told() -> None:
    store = RedisStore(LayerSettings("default", CORE, {}), f"redis://127.0.0.1:{free_port()}", cluster=True)
    assert [doubt.id for doubt in await store.doubts()] == ["delayserver.W010"]
    await store.aclose()


def test_missing_tables_are_told_but_not_by_migrate_which_makes_them(project: Project, good_redis: RedisServer) -> None:
    project.use(good_redis.url, STORE="database")
    code, ids, output = project.run(*CHECK)
    assert (code, ids) == (1, ["W011"])
    assert "does not have the store's tables: delayserver_deadmessage, delayserver_delayedmessage." in output
    assert "manage.py migrate --database default" in output
    assert project.run("migrate")[:2] == (0, [])
    assert project.run(*CHECK) == (0, [], NO_ISSUES)


def test_a_database_that_does_not_answer_is_told(project: Project, good_redis: RedisServer) -> None:
    away = {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": str(free_port()), "NAME": "x"}
    project.env["DELAYSERVER_TEST_DB"] = json.dumps({"default": away})
    project.use(good_redis.url, STORE="database")
    code, ids, output = project.run("check", "--tag", "delayserver_server", "--database", "default")
    assert (code, ids) == (0, ["W010"])
    assert "database default (postgresql) does not answer (OperationalError: " in output


# -- rundelay ------------------------------------------------------------------------------------------------


def test_rundelay_writes_doubts_to_its_log_and_serves(project: Project, bad_redis: RedisServer) -> None:
    project.use(bad_redis.url)
    server = project.start("rundelay")
    server.wait_for_line("^delay server ready")
    server.wait_for_line(rf"^{bad_redis.url} has the maxmemory-policy allkeys-lru: .*\(delayserver\.W007\)$")
    server.wait_for_line(
        rf"^{bad_redis.url} keeps nothing on disk .* config set appendonly yes.*\(delayserver\.W008\)$"
    )
    server.terminate()
    assert server.wait() == 0
    assert sorted(ids_in(server.output)) == ["W007", "W008"]
    assert "Traceback" not in server.output


def test_rundelay_writes_the_doubts_of_each_host(project: Project) -> None:
    with RedisServer(*BAD, aof=True) as one, RedisServer(*BAD, aof=True) as other:
        project.use(one.url, other.url)
        server = project.start("rundelay")
        for redis in (one, other):
            server.wait_for_line(rf"^{redis.url} has the maxmemory-policy allkeys-lru")


def test_rundelay_has_no_doubts_about_a_good_redis(project: Project, good_redis: RedisServer) -> None:
    project.use(good_redis.url)
    server = project.start("rundelay")
    server.wait_for_line("^delay server ready")
    sent = project.start("shell", "-c", "from delayserver import send_later; send_later('x', {'type': 'y'}, delay=0)")
    assert sent.wait() == 0
    server.terminate()
    assert server.wait() == 0
    assert server.output.splitlines()[0].startswith("delay server ready")
    assert ids_in(server.output) == []


def test_rundelay_ends_on_what_is_wrong_and_tells_warnings(project: Project, good_redis: RedisServer) -> None:
    project.use(good_redis.url, CHANNEL="not a name")
    code, ids, output = project.run("rundelay")
    assert (code, ids) == (1, ["E006"])
    assert output.startswith("SystemCheckError")
    project.use(good_redis.url, good_redis.url)
    server = project.start("rundelay")
    server.wait_for_line(r"\(delayserver\.W003\) The layer 'default' has 2 hosts")
    server.wait_for_line("^delay server ready")
