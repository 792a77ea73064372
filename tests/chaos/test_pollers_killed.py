"""Something is killed with ``kill -9`` while pollers run: whoever watches sees the bar go on to its end by itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..process.conftest import Site
from ..process.progress.stage import Stage, Watched
from ..support.process import Process
from ..support.servers import RedisServer
from .ledger import sized

POLLERS, STEPS = sized(40, 8), 20
KILL_AT = STEPS // 3  # that many steps are done
MOST_TWICE = 1  # of each poller's steps: the one that was in hand

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def lasting_redis() -> Iterator[RedisServer]:
    """A Redis that has on its disk what it answered for."""
    with RedisServer(aof=True) as server:
        yield server


@pytest.fixture
def stage(lasting_redis: RedisServer, start_process: Callable[..., Process], tmp_path: Path) -> Stage:
    stage = Stage(Site("redis", lasting_redis.url, start_process), tmp_path)
    stage.start_web()
    return stage


async def test_the_delay_server_is_killed(stage: Stage) -> None:
    server = stage.start_delay_server()
    stage.start_worker()

    def kill() -> None:
        server.kill()
        server.wait()
        stage.start_delay_server()

    check(stage, await seen(stage, kill), most_twice=0)


async def test_the_worker_is_killed(stage: Stage) -> None:
    stage.start_delay_server()
    worker = stage.start_worker()

    def kill() -> None:
        worker.kill()
        worker.wait()
        stage.start_worker()

    check(stage, await seen(stage, kill), most_twice=MOST_TWICE)


async def test_redis_is_killed(stage: Stage, lasting_redis: RedisServer) -> None:
    stage.start_delay_server()
    stage.start_worker()

    def kill() -> None:
        lasting_redis.kill()
        lasting_redis.start()

    check(stage, await seen(stage, kill), most_twice=MOST_TWICE)


async def seen(stage: Stage, kill: Callable[[], None]) -> list[Watched]:
    """What a browser saw of each poller; something is killed when one of them has come some way."""
    started = [await stage.start_export(steps=STEPS, name=f"export {n}") for n in range(POLLERS)]
    watching = [asyncio.create_task(stage.watch(one.token)) for one in started]
    await stage.watch(started[0].token, until=KILL_AT)
    await asyncio.to_thread(kill)
    return await asyncio.gather(*watching)


def check(stage: Stage, seen: list[Watched], *, most_twice: int) -> None:
    for n, watched in enumerate(seen):
        assert (watched.last["state"], watched.last["result"], watched.code) == ("succeeded", f"export {n}", 1000)
        assert watched.last["current"] == STEPS
        assert watched.steps == sorted(watched.steps)
        versions = [frame["version"] for frame in watched.frames]
        assert versions == sorted(set(versions))
    runs: dict[str, list[int]] = {}
    for step in stage.steps():
        runs.setdefault(step.id, []).append(step.step)
    for steps in runs.values():
        assert steps == sorted(steps), "no older step after a newer one"
        assert set(steps) == set(range(1, max(steps) + 1))
        assert sum(number - 1 for number in Counter(steps).values()) <= most_twice
