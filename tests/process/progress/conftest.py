"""A stage on one Redis: web, delay server and worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ...support.process import Process
from ...support.servers import RedisServer
from ..conftest import Site
from .stage import Stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One for all tests of a file: they watch work of their own."""
    with RedisServer() as redis, ExitStack() as ending:

        def start(*args: object, **options: object) -> Process:
            process = Process(*args, **options)  # type: ignore[arg-type]
            ending.callback(process.end)
            return process

        stage = Stage(Site("redis", redis.url, start), tmp_path_factory.mktemp("stage"))
        stage.start_delay_server()
        stage.start_worker()
        stage.start_web()
        yield stage
