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
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from channels.exceptions import StopConsumer
from channels.layers import get_channel_layer

from .conf import get_layer_settings
from .errors import ConfigurationError
from .events import HANDLER_FAILED, emit
from .loops.base import insist
from .server import DelayServer

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_AT_ONCE = 100  # messages of one channel whose handlers run at the same time
STOP_SECONDS = 5.0


def embedded(application: Application, *, workers: Sequence[str] = (), layer: str | None = None) -> Embedded:
    """`application`, with the delay server and workers for the channels `workers` running beside it.

    The workers hand each message to `application` under the scope type ``"channel"``, as ``runworker`` does. `layer` is
    an alias of CHANNEL_LAYERS (default: ``DELAYSERVER["CHANNEL_LAYER"]``). Raises `ConfigurationError` where workers
    would get messages twice: two processes that ``receive()`` on one channel of channels_redis do.
    """
    return Embedded(application, workers, layer)


class Embedded:
    """The ASGI application that `embedded` returns."""

    def __init__(self, application: Application, workers: Sequence[str], layer: str | None) -> None:
        self._application, self._channels, self._alias = application, list(workers), layer
        self._server = DelayServer(layer)
        settings = get_layer_settings(self._server.alias)
        if workers and not settings.in_memory:
            raise ConfigurationError(
                f"embedded workers need the in-memory channel layer, and {settings.alias!r} is {settings.backend}:"
                " run its workers with manage.py runworker, and leave out workers=[...]."
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
        channel_layer = get_channel_layer(self._server.alias)
        workers = [Worker(self._application, channel_layer, channel) for channel in self._channels]
        tasks = [asyncio.create_task(worker.run(), name=f"worker {worker.channel}") for worker in workers]
        try:
            await self._server.run()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class Worker:
    """Receives on one channel for ever, and runs a new application instance for each message."""

    def __init__(self, application: Application, channel_layer: Any, channel: str) -> None:
        self.channel = channel
        self._application, self._layer = application, channel_layer
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        try:
            while True:
                await self._turns.acquire()
                await insist(f"worker {self.channel}", self._receive)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _receive(self) -> None:
        message = await self._layer.receive(self.channel)
        task = asyncio.create_task(self._handle(message))
        self._running.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._turns.release()

    async def _handle(self, message: MutableMapping[str, Any]) -> None:
        try:
            await handle(self._application, self.channel, OneMessage(message))
        except Exception as error:  # noqa: BLE001  one message's handler must not end the others
            emit(HANDLER_FAILED, of=self.channel, error=error, channel=self.channel)


async def handle(application: Application, channel: str, receive: Receive) -> None:
    """Run a new instance of `application` for the one message of `channel` that `receive` gives, to its end."""
    with contextlib.suppress(StopConsumer):
        await application({"type": "channel", "channel": channel}, receive, _nowhere)


class OneMessage:
    """An ASGI `receive` with one message to give. A consumer that asks for another has handled it, and stops."""

    def __init__(self, message: MutableMapping[str, Any]) -> None:
        self._message: MutableMapping[str, Any] | None = message

    async def __call__(self) -> MutableMapping[str, Any]:
        if self._message is None:
            raise StopConsumer
        message, self._message = self._message, None
        return message


async def _nowhere(message: MutableMapping[str, Any]) -> None:
    """A message handler's `send`: there is no connection to send to."""
