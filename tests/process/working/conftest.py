"""Workshops: on a Redis alone, and with a store in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker

from ...support.databases import empty_database
from ...support.process import Process, Processes
from ..conftest import Site
from .workshop import Workshop

ROOMY = {"capacity": 1_000_000}  # no channel is full


@pytest.fixture
def workshop(redis_url: str, start_process: Callable[..., Process], tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(Site("redis", redis_url, start_process, config=dict(ROOMY)), tmp_path)
    yield workshop
    workshop.client.close()


@pytest.fixture
def postgres_workshop(
    redis_url: str,
    postgres_database: str,
    start_process: Processes,
    tmp_path: Path,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Workshop]:
    """The store is PostgreSQL, the layer a Redis."""
    site = Site("database", redis_url, start_process, database=postgres_database, config=dict(ROOMY))
    with django_db_blocker.unblock():
        workshop = Workshop(site, tmp_path)
        yield workshop
        workshop.client.close()
        start_process.end()
        empty_database(postgres_database)
        connections[postgres_database].close()
