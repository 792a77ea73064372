"""The application that `manage.py runworker` runs: one plain consumer, which stamps what arrives."""

from __future__ import annotations

from typing import Any

from channels.consumer import AsyncConsumer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter

from .stamps import stamp


class Sink(AsyncConsumer):  # type: ignore[misc]
    async def probe(self, message: dict[str, Any]) -> None:
        stamp(message)


application = ProtocolTypeRouter({"channel": ChannelNameRouter({"sink": Sink.as_asgi()})})
