"""Consumers in a test: those of worker channels are run here; of the others, which run by themselves, it is known when
they are done.

A Channels consumer hands each message, from its client and from the layer alike, to `dispatch`, one after the other.
`Handlers` counts itself in there. So it is certain, and no matter of time, that a handler which has begun is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from typing import Any
from unittest import mock

from channels import consumer
from channels.exceptions import StopConsumer
from channels.layers import InMemoryChannelLayer

from ..acking import Handled
from ..current import received
from ..handling import Application, handle
from ..tickets import ticket_of
from ..verdicts import Done, Raised, Unfit
from .layer import lies_on

TURNS = 10  # of the event loop. From a queue to its handler it takes three
PATIENCE_SECONDS = 5.0  # real ones; a handler that takes longer may be meant never to end, as one that streams

Dispatch = Callable[[Any], Awaitable[None]]
AwaitManyDispatch = Callable[[Sequence[Callable[[], Awaitable[Any]]], Dispatch], Awaitable[None]]


class Handlers:
    """The handlers of Channels consumers that run at present."""

    def __init__(self) -> None:
        self._running: set[asyncio.Future[None]] = set()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Of all consumers that start meanwhile."""
        watching = functools.partial(self._await_many_dispatch, consumer.await_many_dispatch)
        with mock.patch.object(consumer, "await_many_dispatch", watching):
            yield

    async def done(self) -> None:
        """Until all handlers of this event loop are over, and no message is on its way to one.

        A handler that takes longer than `PATIENCE_SECONDS` is not waited for any more. What it leaves running in tasks
        of its own has `TURNS` turns of the event loop.
        """
        loop, quiet = asyncio.get_running_loop(), 0
        while quiet < TURNS:
            await asyncio.sleep(0)
            running = {handler for handler in self._running if handler.get_loop() is loop}
            quiet += 1
            if running:
                _, late = await asyncio.wait(running, timeout=PATIENCE_SECONDS)
                self._running -= late
                quiet = 0

    async def _await_many_dispatch(
        self,
        await_many_dispatch: AwaitManyDispatch,
        receivers: Sequence[Callable[[], Awaitable[Any]]],
        dispatch: Dispatch,
    ) -> None:
        await await_many_dispatch(receivers, functools.partial(self._dispatch, dispatch))

    async def _dispatch(self, dispatch: Dispatch, message: Any) -> None:
        handler = asyncio.get_running_loop().create_future()
        self._running.add(handler)
        try:
            await dispatch(message)
        finally:
            self._running.discard(handler)
            if not handler.done():
                handler.set_result(None)


Settle = Callable[[Handled], Awaitable[None]]


async def work(channel_layer: InMemoryChannelLayer, application: Application, settle: Settle) -> bool:
    """Run the consumer of one message that lies on a worker channel, to its end; False where there is none.

    A message on a channel that `application` has no consumer for is left there. What a handler raises is raised, unless
    its message has `retry`: then that is followed, as by ``runtasks``.
    """
    for channel in list(channel_layer.channels):
        if "!" not in channel and lies_on(channel_layer, channel):
            receive = TakeOne(channel_layer, channel)
            # In a task, so that what a handler does to context variables ends with it.
            outcome = await asyncio.create_task(handle(application, channel, receive))
            if receive.asked or isinstance(outcome, Raised):
                await _judge(Handled(channel, receive.message, outcome), settle)
                return True
    return False


async def _judge(handled: Handled, settle: Settle) -> None:
    match handled.outcome:
        case Unfit(error=Exception() as error):
            raise error
        case Raised(error) if ticket_of(handled.content) is None:
            raise error
        case Done() if ticket_of(handled.content) is None:
            pass
        case _:
            await settle(handled)


class TakeOne:
    """An ASGI `receive` that takes one message from a channel, once it is asked: who has no consumer does not ask."""

    def __init__(self, channel_layer: InMemoryChannelLayer, channel: str) -> None:
        self.asked = False
        self.message: MutableMapping[str, Any] = {}
        self._layer, self._channel = channel_layer, channel

    async def __call__(self) -> MutableMapping[str, Any]:
        if self.asked:
            raise StopConsumer
        self.asked = True
        self.message = await self._layer.receive(self._channel)
        received(self.message)
        return self.message
