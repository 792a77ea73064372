"""A place for each kind of store, and open stores in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import pytest
import redis
from django.apps import apps
from django.db import connections
from pytest_django import DjangoDbBlocker

from delayserver.conf import REDIS_LAYER, LayerSettings
from delayserver.stores.base import Store
from delayserver.stores.database import DatabaseStore
from delayserver.stores.memory import MemoryStore
from delayserver.stores.redis import RedisStore

from ..support.databases import close_connections_of_async_tests, empty_database
from ..support.redis_cluster import RedisCluster
from .places import Place

KINDS = ("memory", "redis", "redis-cluster", "database-sqlite", "database-postgres", "database-mariadb")
LAYER = LayerSettings("default", REDIS_LAYER, {})


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(kind: str, request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker) -> Iterator[Place]:
    match kind.split("-"):
        case ["memory"]:
            yield _in_memory()
        case ["redis"]:
            yield _in_redis(request.getfixturevalue("redis_url"))
        case ["redis", "cluster"]:
            yield from _in_cluster(request.getfixturevalue("redis_cluster"))
        case ["database", vendor]:
            alias = request.getfixturevalue(f"{vendor}_database")
            with django_db_blocker.unblock():
                yield _in_database(kind, alias)
                empty_database(alias)
                connections[alias].close()
                close_connections_of_async_tests()


def _in_memory() -> Place:
    """One process is all there is: each further store is the same one."""
    store = MemoryStore()

    def empty() -> None:
        store._messages.clear()
        store._keys.clear()
        store._dead.clear()
        store._cursors.clear()
        store._entries.clear()

    def leftovers() -> list[str]:
        return [*store._messages, *store._keys, *store._dead, *store._cursors, *store._entries]

    return Place("memory", lambda: store, empty, leftovers)


def _in_redis(url: str) -> Place:
    def empty() -> None:
        with redis.Redis.from_url(url) as client:
            client.flushdb()

    def leftovers() -> list[str]:
        with redis.Redis.from_url(url) as client:
            return [name.decode() for name in client.scan_iter()]

    return Place("redis", lambda: RedisStore(LAYER, url), empty, leftovers)


def _in_cluster(cluster: RedisCluster) -> Iterator[Place]:
    cluster.empty()
    yield Place("redis-cluster", lambda: RedisStore(LAYER, cluster.url, cluster=True), cluster.empty, cluster.all_keys)
    cluster.empty()


def _in_database(kind: str, alias: str) -> Place:
    def leftovers() -> list[str]:
        models = apps.get_app_config("delayserver").get_models()
        return [str(row) for model in models for row in model._base_manager.using(alias).all()]

    return Place(kind, lambda: DatabaseStore(LAYER, alias), lambda: empty_database(alias), leftovers)


@pytest.fixture
async def open_store(place: Place) -> AsyncIterator[Callable[[], Awaitable[Store]]]:
    """Opens another store in the place; all are closed when the test ends."""
    async with AsyncExitStack() as closing:

        async def open_one() -> Store:
            store = place.store()
            await store.open()
            closing.push_async_callback(store.aclose)
            return store

        yield open_one


@pytest.fixture
async def store(open_store: Callable[[], Awaitable[Store]]) -> Store:
    return await open_store()


@pytest.fixture
async def other(store: Store, open_store: Callable[[], Awaitable[Store]]) -> Store:
    """A second store in the same place, as a second server has it."""
    return await open_store()
