"""`send_many_later`: all or none of a call, few round trips, and a true word on how far it came."""

from __future__ import annotations

import functools
import itertools
import re
import signal
from collections.abc import Callable, Iterator

import pytest
from pytest_django import DjangoDbBlocker

from ..support.databases import add_database, remove_database
from ..support.process import Process
from ..support.servers import PostgresServer, RedisServer, Server
from .conftest import PROJECT, Project

PART = 500


def test_one_taken_key_among_five_hundred_leaves_none(project: Project) -> None:
    told = project.ask("send_one_taken", number=PART, place=321)
    assert told["errors"] == ["a message with key 'taken' is waiting already"] * 2
    assert project.left() == 1


def test_ten_thousand_from_a_generator_take_few_round_trips(project: Project) -> None:
    told = project.ask("send_many", number=10_000)
    assert told["ids"] == project.left() == 10_000
    steps = [0, *told["stored"]]
    assert steps[-1] == 10_000
    assert all(0 < after - before <= PART for before, after in itertools.pairwise(steps))
    assert max(told["held"]) <= PART + 1
    parts = len(told["stored"])
    if project.store_name == "redis":
        assert parts <= told["scripts"] <= parts + 5  # its clock, and the scripts themselves, are not there at first
    else:
        assert parts <= told["statements"] <= 6 * parts + 5


@pytest.fixture(params=["redis", "postgres"])
def mortal(
    request: pytest.FixtureRequest,
    redis_url: str,
    start_process: Callable[..., Process],
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[tuple[Project, Server, signal.Signals]]:
    """The shop on a store whose server may end: what it has said to be stored it finds again when it is back."""
    start = functools.partial(start_process, cwd=PROJECT)
    with django_db_blocker.unblock():
        if request.param == "redis":
            with RedisServer(aof=True) as server:
                alias = request.getfixturevalue("shop_database")
                yield Project("redis", server.url, start, database=alias), server, signal.SIGKILL
        else:
            with PostgresServer() as database:
                add_database("mortal", database.settings)
                yield Project("database", redis_url, start, database="mortal"), database, signal.SIGINT
                remove_database("mortal")


def test_when_the_store_dies_midway_the_error_says_how_many_are_stored(
    mortal: tuple[Project, Server, signal.Signals],
) -> None:
    project, server, end = mortal
    told = project.ask("send_until_it_dies", number=100_000, after=2_000, pid=server.pid, signal=end)
    assert told["error"] == "StoreUnavailable"
    [note] = told["notes"]
    found = re.fullmatch(r"the first (\d+) messages were accepted", note)
    assert found
    stored = int(found[1])
    assert 2_000 <= stored == told["told"][-1] < 100_000
    server.restart()
    assert stored <= project.left() <= stored + PART  # where an answer was lost, its part is there
