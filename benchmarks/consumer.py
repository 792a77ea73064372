"""The application that `runtasks` and `runworker` run: one plain consumer, which stamps what arrives."""

from __future__ import annotations

import asyncio
from typing import Any

from channels.consumer import AsyncConsumer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter

from .stamps import stamp


class Sink(AsyncConsumer):  # type: ignore[misc]
    async def probe(self, message: dict[str, Any]) -> None:
        stamp(message)

    async def pause(self, message: dict[str, Any]) -> None:
        """Stamps when it is over."""
        await asyncio.sleep(message["seconds"])
        stamp(message)


application = ProtocolTypeRouter({"channel": ChannelNameRouter({"sink": Sink.as_asgi()})})
