"""Chaos: real servers in real trouble, and a ledger of what was accepted and what was delivered.

``make chaos`` runs the full figures; ``make test`` the same code, scaled down. What was seen is shown after the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker

from ..process.conftest import Site
from ..process.working.workshop import Workshop
from ..support.databases import empty_database
from ..support.process import Process, Processes
from ..support.redis_keys import leaked_keys
from ..support.servers import RedisServer
from .ledger import FULL, ROOMY, SEED, figures


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis of this test's own, to be ill-treated; nothing may lie in it afterwards that stays for ever."""
    with RedisServer() as server:
        yield server
        assert_no_leak(server)


@pytest.fixture
def layer_redis() -> Iterator[RedisServer]:
    """As `own_redis`, beside it, where only the layer is on Redis."""
    with RedisServer() as server:
        yield server
        assert_no_leak(server)


def assert_no_leak(server: RedisServer) -> None:
    with server.client() as client:
        leaked = leaked_keys(client)
    assert not leaked, f"keys without a TTL that stand on no list: {leaked}"


@pytest.fixture
def redis_site(own_redis: RedisServer, start_process: Callable[..., Process]) -> Site:
    """Store and layer are one Redis."""
    return Site("redis", own_redis.url, start_process, config=dict(ROOMY))


@pytest.fixture
def workshop(redis_site: Site, tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(redis_site, tmp_path)
    yield workshop
    workshop.client.close()


@pytest.fixture
def postgres_site(
    layer_redis: RedisServer,
    postgres_database: str,
    start_process: Processes,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Site]:
    """The store is PostgreSQL, the layer a Redis."""
    with django_db_blocker.unblock():
        yield Site("database", layer_redis.url, start_process, database=postgres_database, config=dict(ROOMY))
        start_process.end()
        empty_database(postgres_database)
        connections[postgres_database].close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if figures:
        size = "full" if FULL else "default (make chaos runs the full one)"
        terminalreporter.section(f"chaos: size {size}, seed {SEED}")
        for line in figures:
            terminalreporter.line(line)
