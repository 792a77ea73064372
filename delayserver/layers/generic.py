"""Any channel layer, through the public API alone: `send`, `group_send`, and one `receive` that is never cancelled.

Measured with channels_redis: a cancelled `receive` loses messages, two receivers on one channel get some twice.
So `asgi.delay` is read by one long-lived task, and what it took is only in this process until it is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import msgpack
from channels.exceptions import ChannelFull

from ..clock import microseconds, monotonic, ticks
from ..content import Content
from ..errors import InvalidMessage
from ..events import LOOP_FAILED, emit
from ..message import MAX_DEAD_BYTES, Target
from .base import Arrived, Delivered, Delivery, Failed, Full, Inbox, Late, Layer, Outcome, Refused, Source
from .generic_source import GenericSource

MAX_AT_ONCE = 32
LANE_SECONDS = 5.0  # how long one target may take; the rest of its messages then wait in a backlog
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
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)

    def lane(self, target: Target) -> Hashable:
        """Each target: whatever one of them does, it does to itself."""
        return target

    async def deliver(self, lane: Hashable, batch: Sequence[Delivery]) -> list[Outcome]:
        """One after the other, none after a full, and no longer than `LANE_SECONDS`: others wait for the turn."""
        outcomes: list[Outcome] = []
        async with self._turns:
            enough = monotonic() + LANE_SECONDS
            for delivery in batch:
                if ticks() >= delivery.until:
                    outcomes.append(Late())
                elif monotonic() >= enough:
                    outcomes.append(Full())
                else:
                    outcomes.append(await self._deliver_one(delivery))
                if not isinstance(outcomes[-1], Delivered | Late | Refused):
                    break
        return outcomes + outcomes[-1:] * (len(batch) - len(outcomes))

    async def _deliver_one(self, delivery: Delivery) -> Outcome:
        target = delivery.target
        send = self._layer.send if target.kind == "channel" else self._layer.group_send
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await send(target.name, delivery.content)
        except ChannelFull:
            return Full()
        except (TypeError, ValueError, AssertionError, NotImplementedError) as error:
            return Refused(f"the channel layer refused it: {type(error).__name__}")
        except Exception as error:  # noqa: BLE001  a layer we do not know may raise anything
            return Failed(error)
        return Delivered()

    def inboxes(self, channel: str, max_bytes: int) -> Sequence[Inbox]:
        return [GenericInbox(self._layer, channel)]

    def sources(self, channels: Sequence[str]) -> Sequence[Source]:
        return [GenericSource(self._layer, channels)]

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
