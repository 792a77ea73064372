"""The peers, behind the face that `contenders` has for ours."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tests.support.servers import RedisServer

from .contenders import PYTHON, Contender, Ours, instant
from .parts import payload

if TYPE_CHECKING:
    from arq import ArqRedis


class Celery(Contender):
    """A worker of two processes, without what a lone worker does not need, that takes all there is in advance."""

    name, title = "celery", "Celery"
    schedule_floor = 400
    ends_by = signal.SIGQUIT  # on SIGTERM it first gives back, one by one, what waits in it

    def commands(self) -> list[list[str]]:
        what = ["-m", "celery", "-A", "benchmarks.celery_app", "worker"]
        lone = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        return [[PYTHON, *what, "-P", "prefork", "-c", "2", "-l", "warning", *lone]]

    def env(self) -> Mapping[str, str]:
        return {"BENCHMARKS_BROKER": self.server.url}

    def schedule(self, due: float) -> None:
        from .celery_app import handle

        handle.apply_async((payload(due),), eta=instant(due))


class Huey(Contender):
    """A consumer of two threads; its scheduler looks once a second, and no more often."""

    name, title = "huey", "huey"
    schedule_floor = 800

    def commands(self) -> list[list[str]]:
        what = ["-m", "huey.bin.huey_consumer", "benchmarks.huey_app.huey"]
        return [[PYTHON, *what, "-k", "thread", "-w", "2", "-s", "1", "-n", "-q"]]

    def env(self) -> Mapping[str, str]:
        return {"BENCHMARKS_BROKER": self.server.url}

    def schedule(self, due: float) -> None:
        from .huey_app import handle

        handle.schedule((payload(due),), eta=instant(due))


class Arq(Contender):
    """One worker; see `arq_app` for what it is told."""

    name, title = "arq", "arq"
    schedule_floor = 400

    def __init__(self, server: RedisServer) -> None:
        super().__init__(server)
        self._loop = asyncio.new_event_loop()
        self._pool: ArqRedis | None = None

    def commands(self) -> list[list[str]]:
        return [[PYTHON, "-m", "arq", "benchmarks.arq_app.WorkerSettings"]]

    def env(self) -> Mapping[str, str]:
        return {"BENCHMARKS_BROKER": self.server.url}

    def schedule(self, due: float) -> None:
        self._loop.run_until_complete(self._enqueue(due))

    async def _enqueue(self, due: float) -> None:
        if self._pool is None:
            from arq import create_pool

            from .arq_app import WorkerSettings

            self._pool = await create_pool(WorkerSettings.redis_settings)
        await self._pool.enqueue_job("handle", payload(due), _defer_until=instant(due))


PEERS: dict[str, type[Contender]] = {"celery": Celery, "huey": Huey, "arq": Arq}


def contenders(server: RedisServer, peers: Sequence[str]) -> list[Contender]:
    return [Ours(server), *(PEERS[name](server) for name in peers)]
