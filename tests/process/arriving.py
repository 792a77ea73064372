"""What lies on channels and in stores, asked by tests of the delivery."""

from __future__ import annotations

import asyncio
from typing import Any

from channels_redis.core import RedisChannelLayer

from delayserver.stores.base import Store


async def receive(layer: RedisChannelLayer, channel: str, timeout: float = 10.0) -> dict[str, Any]:
    """One message; the receive that waits for it is never cancelled while one may come."""
    message: dict[str, Any] = await asyncio.wait_for(layer.receive(channel), timeout)
    return message


async def send(layer: RedisChannelLayer, wire: object) -> None:
    await layer.send("asgi.delay", wire)


async def nothing_is_left(store: Store) -> bool:
    return await store.count() == 0


async def all_are_stored(store: Store, number: int) -> bool:
    return await store.count() == number


async def is_quiet(layer: RedisChannelLayer, channel: str) -> bool:
    connection = layer.connection(0)
    return int(await connection.zcard(layer.prefix + channel)) == 0


async def holds(layer: RedisChannelLayer, channel: str, number: int) -> bool:
    return int(await layer.connection(0).zcard(layer.prefix + channel)) == number
