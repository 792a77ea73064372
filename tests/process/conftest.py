"""A delay server as users run it: processes of its own, a real Redis, real databases."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from channels_redis.core import RedisChannelLayer
from django.db import connections
from pytest_django import DjangoDbBlocker

from delayserver.conf import LayerSettings
from delayserver.stores.base import Store
from delayserver.stores.database import DatabaseStore
from delayserver.stores.redis import RedisStore

from ..support.databases import empty_database
from ..support.process import Process, Processes

READY = r"^delay server ready: store (\S.*), layer default, listening on asgi\.delay$"


@dataclass
class Site:
    """A project on one Redis layer and one store, and its `rundelay` processes."""

    store_name: str
    url: str
    start_process: Callable[..., Process]
    database: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        databases = {"default": dict(connections.databases[self.database])} if self.database else None
        if databases:
            databases["default"] = {
                name: value for name, value in databases["default"].items() if name.isupper() and name != "TEST"
            }
        return {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DELAYSERVER_TEST_REDIS": self.url,
            "DELAYSERVER_TEST_DB": json.dumps(databases, default=str),
            "DELAYSERVER_TEST_CONFIG": json.dumps(self.config),
            "DELAYSERVER_TEST_SETTINGS": json.dumps({"STORE": self.store_name, **self.settings}),
        }

    def rundelay(self, *args: str, wait: bool = True) -> Process:
        """A running ``manage.py rundelay``, ready unless told otherwise."""
        process = self.start_process([sys.executable, "-m", "django", "rundelay", *args], env=self.env)
        if wait:
            process.wait_for_line(r"^delay server ready")
        return process

    def run(self, code: str) -> Process:
        """Another process of the project, running `code` after ``django.setup()``."""
        return self.start_process([sys.executable, "-c", f"import django; django.setup()\n{code}"], env=self.env)

    def layer(self) -> RedisChannelLayer:
        host = {"address": self.url, "socket_timeout": None}
        return RedisChannelLayer(hosts=[host], **self.config)

    def new_store(self) -> Store:
        settings = LayerSettings("default", "channels_redis.core.RedisChannelLayer", {"hosts": [self.url]})
        if self.store_name == "redis":
            return RedisStore(settings)
        assert self.database
        return DatabaseStore(settings, using=self.database)

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)


STORES = ("redis", "postgres", "sqlite")


@pytest.fixture
def site(
    request: pytest.FixtureRequest,
    redis_url: str,
    start_process: Processes,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Site]:
    """A project on Redis alone; ``@on_every_store`` runs the test on the database store too."""
    name = getattr(request, "param", "redis")
    if name == "redis":
        yield Site("redis", redis_url, start_process)
        return
    alias: str = request.getfixturevalue(f"{name}_database")
    with django_db_blocker.unblock():
        yield Site("database", redis_url, start_process, database=alias)
        start_process.end()
        connections[alias].close()  # the test may have ended it
        empty_database(alias)
        connections[alias].close()


on_every_store = pytest.mark.parametrize("site", STORES, indirect=True)


@pytest.fixture
async def layer(site: Site) -> AsyncIterator[RedisChannelLayer]:
    layer = site.layer()
    yield layer
    await layer.close_pools()


@pytest.fixture
async def store(site: Site) -> AsyncIterator[Store]:
    store = site.new_store()
    await store.open()
    yield store
    await store.aclose()


def cpu_seconds(pid: int) -> float:
    """User and system time a process has used, by the kernel's account."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
