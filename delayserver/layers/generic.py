"""Any channel layer, through the public API alone: `send`, `group_send`, and one `receive` that is never cancelled.

Measured with channels_redis: a cancelled `receive` loses messages, two receivers on one channel get some twice.
So `asgi.delay` is read by one long-lived task, and what it took is only in this process until it is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
from channels.exceptions import ChannelFull

from ..clock import microseconds
from ..content import Content
from ..errors import InvalidMessage
from ..events import LOOP_FAILED, emit
from ..message import MAX_DEAD_BYTES
from .base import Arrived, Delivered, Delivery, Failed, Full, Inbox, Layer, Outcome, Refused

MAX_AT_ONCE = 32
SEND_SECONDS = 2.0  # a layer that takes longer is tried again: nobody else shall wait for it
MAX_READ_AHEAD = 100
RECEIVE_AGAIN_SECONDS = 1.0


class GenericLayer(Layer):
    """`channel_layer` is any object with Channels' layer API."""

    def __init__(self, channel_layer: Any) -> None:
        self._layer = channel_layer

    def check(self, content: Content) -> None:
        serialize = getattr(self._layer, "serialize", None)
        if serialize is None:
            return
        try:
            serialize(content)
        except Exception as error:  # noqa: BLE001  a layer's serializer may raise anything
            raise InvalidMessage(
                f"expected content that the channel layer can serialise: {type(error).__name__}"
            ) from None

    async def open(self) -> None:
        pass

    async def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        """Targets side by side, at most `MAX_AT_ONCE`; one target's messages in order, none after a full."""
        by_target: dict[object, list[int]] = {}
        for position, delivery in enumerate(batch):
            by_target.setdefault(delivery.target, []).append(position)
        outcomes: list[Outcome] = [Full()] * len(batch)
        turns = asyncio.Semaphore(MAX_AT_ONCE)
        await asyncio.gather(
            *(self._deliver_in_order(batch, positions, outcomes, turns) for positions in by_target.values())
        )
        return outcomes

    async def _deliver_in_order(
        self,
        batch: Sequence[Delivery],
        positions: Sequence[int],
        outcomes: list[Outcome],
        turns: asyncio.Semaphore,
    ) -> None:
        async with turns:
            for position in positions:
                outcomes[position] = outcome = await self.deliver_one(batch[position])
                if isinstance(outcome, Full | Failed):
                    for later in positions[positions.index(position) :]:
                        outcomes[later] = outcome
                    return

    async def deliver_one(self, delivery: Delivery) -> Outcome:
        target, content = delivery
        send = self._layer.send if target.kind == "channel" else self._layer.group_send
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await send(target.name, content)
        except ChannelFull:
            return Full()
        except (TypeError, ValueError, AssertionError, NotImplementedError) as error:
            return Refused(f"the channel layer refused it: {type(error).__name__}")
        except Exception as error:  # noqa: BLE001  a layer we do not know may raise anything
            return Failed(error)
        return Delivered()

    def inbox(self, channel: str, max_bytes: int) -> Inbox:
        return GenericInbox(self._layer, channel)

    async def aclose(self) -> None:
        pass


class GenericInbox(Inbox):
    """One task that receives for ever, at most `MAX_READ_AHEAD` messages ahead of what is stored."""

    def __init__(self, channel_layer: Any, channel: str) -> None:
        self._layer, self._channel = channel_layer, channel
        self._received: asyncio.Queue[Arrived] = asyncio.Queue(MAX_READ_AHEAD)
        self._unstored: list[Arrived] = []
        self._task: asyncio.Task[None] | None = None

    async def open(self, wake: Callable[[], None]) -> None:
        self._task = asyncio.create_task(self._receive_for_ever(wake), name="delayserver inbox")

    async def _receive_for_ever(self, wake: Callable[[], None]) -> None:
        while True:
            try:
                content = await self._layer.receive(self._channel)
            except Exception as error:  # noqa: BLE001  whatever it was, the next message may be good
                emit(LOOP_FAILED, of="inbox", error=error, loop="inbox", seconds=RECEIVE_AGAIN_SECONDS)
                await asyncio.sleep(RECEIVE_AGAIN_SECONDS)
            else:
                await self._received.put(_arrived(content))
                wake()

    async def read(self, limit: int, *, claim: bool) -> Sequence[Arrived]:
        """What was read and not discarded comes again, as on a layer that keeps."""
        while len(self._unstored) < limit and not self._received.empty():
            self._unstored.append(self._received.get_nowait())
        return list(self._unstored)

    async def discard(self, arrived: Sequence[Arrived]) -> None:
        gone = {id(one) for one in arrived}
        self._unstored = [one for one in self._unstored if id(one) not in gone]

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task


def _arrived(content: object) -> Arrived:
    try:
        raw = bytes(msgpack.packb(content))
    except Exception:  # noqa: BLE001  the in-memory layer carries any object at all
        raw = f"a value of type {type(content).__name__}".encode()
    return Arrived(os.urandom(16), raw[:MAX_DEAD_BYTES], microseconds(), content=content)
