"""The servers that tests stand on, started when first asked for and ended with the run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import redis
from asgiref.sync import SyncToAsync
from django.db import connections
from pytest_django import DjangoDbBlocker

from delayserver.events import _allowances

from .support.clock import FakeClock
from .support.databases import add_database, remove_database
from .support.process import ROOT, Processes
from .support.redis_cluster import RedisCluster
from .support.redis_keys import leaked_keys
from .support.servers import MariaDBServer, PostgresServer, RedisServer

# A slow machine is not a failure; `HYPOTHESIS_PROFILE=thorough` looks thirty times as long.
_CALM = hypothesis.settings(
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    phases=set(hypothesis.Phase) - {hypothesis.Phase.explain},  # takes minutes where an example takes long
)
hypothesis.settings.register_profile("default", _CALM, max_examples=30)
hypothesis.settings.register_profile("thorough", _CALM, max_examples=1_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


# Files whose tests start processes take the longest. They come first, so that a run with several workers does not end
# with one of them, and an idle worker beside it.
LONGEST = ("chaos", "process", "docs", "sending", "admin", "delays")


@pytest.hookimpl(trylast=True)  # after pytest-randomly, whose order of the others stays
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not {*LONGEST} & {*item.path.relative_to(ROOT).parts})


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def start_process() -> Iterator[Processes]:
    """`Process`, whose subprocesses end with the test; what they printed stands beside a failure.

    Who empties a database ends them before, for they may still write.
    """
    processes = Processes()
    yield processes
    processes.end()


# -- Redis ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(request: pytest.FixtureRequest, redis_server: RedisServer) -> Iterator[str]:
    """An empty Redis database. Afterwards every key in it must have a TTL, or stand on a list:
    the store's own keys, and the patterns of ``@pytest.mark.redis_keys("pattern", ...)``.
    """
    marker = request.node.get_closest_marker("redis_keys")
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushdb()
        yield redis_server.url
        leaked = leaked_keys(client, marker.args if marker else ())
        client.flushdb()
    assert not leaked, f"keys without a TTL that stand on no list: {leaked}"


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as cluster:
        yield cluster


# -- databases -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDBServer]:
    with MariaDBServer() as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_database(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The alias of a migrated SQLite database in a file, so that threads share it."""
    file = tmp_path_factory.mktemp("sqlite") / "delayserver.sqlite3"
    # Nobody cuts the power: what was committed outlives a killed process without waiting for the disk.
    options = {"timeout": 20, "init_command": "PRAGMA synchronous=OFF"}
    settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file), "OPTIONS": options}
    yield from _known("sqlite", settings, django_db_blocker)


@pytest.fixture(scope="session")
def postgres_database(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, postgres_server: PostgresServer
) -> Iterator[str]:
    """The alias of a migrated PostgreSQL database."""
    yield from _known("postgres", postgres_server.settings, django_db_blocker)


@pytest.fixture(scope="session")
def mariadb_database(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, mariadb_server: MariaDBServer
) -> Iterator[str]:
    """The alias of a migrated MariaDB database."""
    yield from _known("mariadb", mariadb_server.settings, django_db_blocker)


def _known(alias: str, settings: dict[str, Any], blocker: DjangoDbBlocker) -> Iterator[str]:
    with blocker.unblock():
        add_database(alias, settings)
    yield alias
    with blocker.unblock():
        remove_database(alias)


@pytest.fixture(autouse=True)
def no_line_was_written_yet() -> None:
    """What an event may write is limited for a whole process: an earlier test must not have used it up."""
    _allowances.clear()


@pytest.fixture(autouse=True)
def no_connection_is_left_behind() -> Iterator[None]:
    """The thread in which async tests reach databases outlives them: the next test may have no right to theirs."""
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()
