"""All of it inside one ASGI process: the delay server, and workers for the channels a project names.

A project with SQLite and the in-memory layer needs no other server then::

    application = embedded(ProtocolTypeRouter({...}), workers=["reports"])

It starts with the ASGI server's lifespan (uvicorn, hypercorn), or else with the first connection (daphne). The
in-memory layer is each process's own, so with several ASGI workers on one database each hands over what it put
itself; what another left behind when it ended goes out a second late.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from .conf import IN_MEMORY_LAYER, REDIS_LAYER, get_layer_settings
from .errors import ConfigurationError
from .handling import Application, Receive, Scope, Send
from .loops.room import Subscription
from .server import DelayServer
from .worker import Worker

MAX_AT_ONCE = 100  # messages of one channel whose handlers run at the same time
GRACE_SECONDS = 2.0
STOP_SECONDS = 5.0


def embedded(application: Application, *, workers: Sequence[str] = (), layer: str | None = None) -> Embedded:
    """`application`, with the delay server and workers for the channels `workers` running beside it.

    The workers hand each message to `application` under the scope type ``"channel"``, as ``runworker`` does. `layer` is
    an alias of CHANNEL_LAYERS (default: ``DELAYSERVER["CHANNEL_LAYER"]``). Raises `ConfigurationError` where each of
    several ASGI processes would get every message.
    """
    return Embedded(application, workers, layer)


class Embedded:
    """The ASGI application that `embedded` returns."""

    def __init__(self, application: Application, workers: Sequence[str], layer: str | None) -> None:
        self._application, self._channels, self._alias = application, list(workers), layer
        self._server = DelayServer(layer)
        settings = get_layer_settings(self._server.alias)
        if workers and settings.backend not in (IN_MEMORY_LAYER, REDIS_LAYER):
            raise ConfigurationError(
                "embedded workers need the in-memory channel layer, or channels_redis.core.RedisChannelLayer;"
                f" {settings.alias!r} is {settings.backend}, of which every ASGI process would get each message."
                " Run its workers with manage.py runtasks, and leave out workers=[...]."
            )
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        self._start()
        await self._application(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                self._start()
                await send({"type": "lifespan.startup.complete"})
            elif event["type"] == "lifespan.shutdown":
                await self._stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    def _start(self) -> None:
        """Start on this event loop, unless it runs already."""
        if self._task is None or self._task.get_loop().is_closed():
            self._server = DelayServer(self._alias)
            self._task = asyncio.create_task(self._run(), name="delayserver embedded")

    async def _stop(self) -> None:
        if self._task is None:
            return
        self._server.stop()
        await asyncio.wait([self._task], timeout=STOP_SECONDS)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None

    async def _run(self) -> None:
        if not self._channels:
            await self._server.run()
            return
        subscriptions = [Subscription(channel, MAX_AT_ONCE) for channel in self._channels]
        worker = Worker(
            self._application,
            subscriptions,
            layer=self._server.alias,
            concurrency=MAX_AT_ONCE * len(subscriptions),
            grace=GRACE_SECONDS,
        )
        working = asyncio.create_task(worker.run(), name="delayserver worker")
        try:
            await self._server.run()
        finally:
            worker.stop()
            await working
