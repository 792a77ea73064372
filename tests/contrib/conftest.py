"""Real Celery workers, one of each pool for a whole module, and this process beside them as the web server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, cast

import pytest
import redis
from kombu import pools
from pytest_django import Settings

from delayserver.contrib.celery import progress_of
from delayserver.progress import Progress

from ..support.process import Process
from ..support.redis_keys import leaked_keys
from ..support.servers import RedisServer
from ..support.wait import wait_for
from .shown import app, serve_from

SEEN_SECONDS = 20.0
POOLS = ("prefork", "threads")


def layers(url: str) -> dict[str, Any]:
    host = {"address": url, "socket_timeout": None}
    return {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [host]}}}


@pytest.fixture(scope="module")
def broker(redis_server: RedisServer) -> Iterator[str]:
    """A Redis for all tests of a module; afterwards every key of progress has a TTL."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        _forget_connections()
        serve_from(redis_server.url)
        yield redis_server.url
        leaked = leaked_keys(client)
        _forget_connections()
        client.flushall()
    assert not leaked, f"keys without a TTL: {leaked}"


def _forget_connections() -> None:
    """Which Celery keeps, wherever the broker is now."""
    cast(Any, pools).reset()
    app._after_fork()


@pytest.fixture
def web(broker: str, settings: Settings) -> str:
    """This process, as a project's web server."""
    settings.CHANNEL_LAYERS = layers(broker)
    return broker


@pytest.fixture(scope="module")
def workers(broker: str) -> Iterator[dict[str, Process]]:
    """A worker for each pool, on a queue of that name."""
    with ExitStack() as ending:
        found = {pool: ending.enter_context(new_worker(pool, broker)) for pool in POOLS}
        for worker in found.values():
            worker.wait_for_line(r"\bready\.$")
        yield found
        for worker in found.values():
            print(worker)
            worker.kill()  # nothing that waits is waited for


def new_worker(pool: str, broker: str, database: int = 1) -> Process:
    """A Celery worker that begins, on the queue of that name in that database of the broker."""
    options = ("--pool", pool, "--concurrency", "4", "-Q", pool, "-n", f"{pool}@%h", "--loglevel", "INFO")
    quiet = ("--without-gossip", "--without-mingle")
    env = {
        "DELAYSERVER_TEST_REDIS": broker,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "SHOWN_BROKER": str(database),
    }
    return Process([sys.executable, "-m", "celery", "-A", "tests.contrib.shown", "worker", *options, *quiet], env=env)


Send = Callable[..., Progress]


@pytest.fixture(params=POOLS)
def send(request: pytest.FixtureRequest, web: str, workers: dict[str, Process]) -> Send:
    """Send a task to the worker of each pool; its progress is what the view would show."""

    def send(task: Any, *args: Any, **options: Any) -> Progress:
        return progress_of(task.apply_async(args, queue=request.param, **options))

    return send


@pytest.fixture
def send_to_prefork(web: str, workers: dict[str, Process]) -> Send:
    """For what only processes can do."""

    def send(task: Any, *args: Any, **options: Any) -> Progress:
        return progress_of(task.apply_async(args, queue="prefork", **options))

    return send


def until(p: Progress, fact: Callable[[Progress], bool], what: str) -> Progress:
    """Read it until it is so."""

    def look() -> dict[str, Any] | None:
        p.refresh()
        return p.frame() if fact(p) else None

    try:
        wait_for(look, SEEN_SECONDS, what)
    except AssertionError as error:
        raise AssertionError(f"{error}; the progress is {p.frame()}") from None
    return p


def until_over(p: Progress) -> Progress:
    return until(p, lambda p: p.is_over, "its end")


def task_id(p: Progress) -> str:
    return p.id.removeprefix("celery-")
