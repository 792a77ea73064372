"""A channel of an event loop's own, where a background thread hears what others answer and tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .layers import new_channel_layer
from .loops.base import insist

Message = Mapping[str, Any]


class Hearing:
    """`heard` is called with each message, and `lost` when something may have been missed; `name` is for the log."""

    def __init__(
        self, alias: str, name: str, heard: Callable[[Message], None], lost: Callable[[], None] | None = None
    ) -> None:
        self._alias, self._name, self._heard, self._lost = alias, name, heard, lost
        self._opening: asyncio.Task[str] | None = None
        self._reading: asyncio.Task[None] | None = None
        self.layer: Any = None

    async def channel(self) -> str:
        """Its name: opened by the first who asks, for as long as the event loop runs. Raises what the layer raises."""
        if self._opening is None or (self._opening.done() and self._opening.exception()):
            self._opening = asyncio.create_task(self._open(), name=self._name)
        return await asyncio.shield(self._opening)

    async def _open(self) -> str:
        self.layer = layer = new_channel_layer(self._alias)  # our own: Channels shares one among all event loops
        channel: str = await layer.new_channel()
        self._reading = asyncio.create_task(self._read(layer, channel), name=self._name)
        return channel

    async def _read(self, layer: Any, channel: str) -> None:
        """For ever, by one `receive` that is never cancelled: cancelled ones lose messages."""
        while True:
            await insist(self._name, partial(self._read_one, layer, channel))

    async def _read_one(self, layer: Any, channel: str) -> None:
        try:
            message = await layer.receive(channel)
        except Exception:
            if self._lost is not None:
                self._lost()
            raise
        self._heard(message)
