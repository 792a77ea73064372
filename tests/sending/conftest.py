"""A project as a user would write it, run as a user would run it: each of its processes is a real one."""

from __future__ import annotations

import asyncio
import functools
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from channels_redis.core import RedisChannelLayer
from django.db import connections
from pytest_django import DjangoDbBlocker

from delayserver.models import DeadMessage, DelayedMessage

from ..process.conftest import Site
from ..support.process import Process, Processes
from ..support.servers import free_port
from ..support.wait import wait_for

PROJECT = Path(__file__).parent / "project"
ROOMY = {"capacity": 1_000_000}  # no channel is full
ARRIVE_SECONDS = 15.0


class Answered(NamedTuple):
    status: int
    body: Any


class Project(Site):
    """The shop: one Redis layer, one database for its rows, and one of the two stores."""

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, "DJANGO_SETTINGS_MODULE": "shop.settings"}

    # -- its processes ----------------------------------------------------------------------------------------

    def python(self, *args: str) -> Process:
        return self.start_process([sys.executable, *args], env=self.env)

    def manage(self, *args: str) -> Process:
        return self.python("manage.py", *args)

    def ask(self, script: str, **arguments: Any) -> Any:
        """What a script of the shop answers, once it has ended."""
        return self.answer_of(self.begin(script, **arguments))

    def begin(self, script: str, **arguments: Any) -> Process:
        return self.python("-m", "shop.scripts", script, json.dumps(arguments))

    def answer_of(self, process: Process) -> Any:
        assert process.wait(30) == 0, str(process)
        return json.loads(process.wait_for_line("^answer: (.*)")[1])

    def serve(self) -> Callable[[str], Answered]:
        """A running uvicorn; answers what it says to a path."""
        port = free_port()
        options = ("--port", str(port), "--lifespan", "off", "--no-access-log")
        self.python("-m", "uvicorn", "shop.asgi:application", *options).wait_for_line("running on http")
        return functools.partial(_fetch, f"http://127.0.0.1:{port}")

    def celery(self) -> Process:
        """A running Celery worker, with two processes of its own."""
        options = ("--pool", "prefork", "--concurrency", "2", "--loglevel", "INFO")
        worker = self.python("-m", "celery", "-A", "shop", "worker", *options)
        worker.wait_for_line(r"\bready\.$")
        return worker

    # -- what became of it ------------------------------------------------------------------------------------

    def arrived(self, channel: str = "sink") -> list[dict[str, Any]]:
        """What lies on a channel that nobody reads, in the order in which it was handed over."""
        layer = RedisChannelLayer()  # for its format alone
        with self.redis() as client:
            members: Any = client.zrange(layer.prefix + channel, 0, -1)
        return [layer.deserialize(member) for member in members]

    def wait_for_arrivals(self, number: int, channel: str = "sink") -> list[dict[str, Any]]:
        what = f"{number} messages on channel {channel}"
        wait_for(lambda: len(self.arrived(channel)) >= number, ARRIVE_SECONDS, what)
        return self.arrived(channel)

    def left(self) -> int:
        """How many are in the store, claimed ones and those that have expired included."""
        if self.store_name == "database":
            return DelayedMessage.objects.using(self.database).count()
        return asyncio.run(self.new_store().count())

    def wait_until_empty(self) -> None:
        wait_for(lambda: self.left() == 0, ARRIVE_SECONDS, "an empty store")

    def orders(self) -> list[int]:
        """The numbers of the shop's orders."""
        assert self.database
        with connections[self.database].cursor() as cursor:
            cursor.execute("SELECT number FROM shop_order ORDER BY number")
            return [number for (number,) in cursor.fetchall()]


def _fetch(server: str, path: str) -> Answered:
    try:
        with urllib.request.urlopen(server + path, timeout=30) as answer:
            return Answered(answer.status, json.load(answer))
    except urllib.error.HTTPError as error:
        with error:
            return Answered(error.code, None)


@pytest.fixture(scope="session")
def shop_database(postgres_database: str, django_db_blocker: DjangoDbBlocker) -> str:
    """The alias of a PostgreSQL database with the shop's tables beside delayserver's."""
    with django_db_blocker.unblock():
        env = Project("database", "redis://127.0.0.1:1/0", Process, database=postgres_database).env
    with Process([sys.executable, "manage.py", "migrate", "-v", "0"], env=env, cwd=PROJECT) as migrating:
        assert migrating.wait(30) == 0, str(migrating)
    return postgres_database


@pytest.fixture(params=["redis", "postgres"])
def project(
    request: pytest.FixtureRequest,
    redis_url: str,
    shop_database: str,
    start_process: Processes,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Project]:
    """The shop on each store."""
    start = functools.partial(start_process, cwd=PROJECT)
    name = "redis" if request.param == "redis" else "database"
    with django_db_blocker.unblock():
        yield Project(name, redis_url, start, database=shop_database, config=dict(ROOMY))
        start_process.end()
        _empty(shop_database)


def _empty(alias: str) -> None:
    for model in (DelayedMessage, DeadMessage):
        model.objects.using(alias).all().delete()
    with connections[alias].cursor() as cursor:
        cursor.execute("TRUNCATE shop_order")
    connections[alias].close()
