"""Consumers that send themselves the next message, under the key of the one they have in hand."""

from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync
from channels.consumer import AsyncConsumer, SyncConsumer

from delayserver import asend_later, send_later


class Chain(AsyncConsumer):  # type: ignore[misc]
    async def chain_step(self, message: dict[str, Any]) -> None:
        number, last = message["number"], message["last"]
        await self.channel_layer.send("journal", {"type": "step", "chain": "chain", "number": number})
        if number < last:
            content = {"type": "chain.step", "number": number + 1, "last": last}
            await asend_later("chain", content, delay=0, key="chain", on_conflict="error")


class SyncChain(SyncConsumer):  # type: ignore[misc]
    def chain_step(self, message: dict[str, Any]) -> None:
        number, last = message["number"], message["last"]
        async_to_sync(self.channel_layer.send)("journal", {"type": "step", "chain": "sync-chain", "number": number})
        if number < last:
            content = {"type": "chain.step", "number": number + 1, "last": last}
            send_later("sync-chain", content, delay=0, key="sync-chain", on_conflict="error")
