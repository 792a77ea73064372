"""Reading a channel of channels_redis without taking: what is there stays until it is stored, or discarded."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from ..events import SET_ASIDE, emit
from ..message import MAX_DEAD_BYTES
from ..redis_link import RedisLink, ResponseError, Script
from ..redis_listener import Listener
from .base import Arrived, Inbox
from .channels_redis_codec import Codec

PEEK, DISCARD, LEAVE = Script("peek"), Script("channel", "discard"), Script("leave")
SET_CHANNEL_ASIDE = Script("set_aside")
MAX_READ_BYTES = 4_194_304  # of one reply
ENVELOPE_BYTES = 4_096  # what channel, delay, key, retry ... may add to the content
POLL_SECONDS = 0.05
TAKING_MS = 10_000  # how long a server may take to store what it read, where that is not one act
MAX_SECONDS = 1e12  # a score beyond is no time


class RedisInbox(Inbox):
    """One channel on one host. Client-side caching tells that something came; where a server refuses it, we poll."""

    def __init__(self, channel_layer: Any, link: RedisLink, channel: str, max_bytes: int) -> None:
        self.place, self.key = link.place, channel_layer.prefix + channel
        self._codec, self._link = Codec(channel_layer), link
        self._max_bytes = max_bytes + ENVELOPE_BYTES
        if self._codec.crypter or not self._codec.is_msgpack:
            self._max_bytes = 2 * (self._max_bytes + ENVELOPE_BYTES)  # base64, escapes
        self._listener: Listener | None = None
        self._me, self.taking_key = os.urandom(8).hex(), f"{{delayserver}}:taking:{self.key}"

    async def open(self, wake: Callable[[], None]) -> None:
        self._listener = Listener(self._link.host, wake, prefixes=[self.key])
        self._listener.start()

    def poll_seconds(self) -> float:
        return 5.0 if self._listener is not None and self._listener.hears else POLL_SECONDS

    async def read(self, limit: int, *, claim: bool) -> Sequence[Arrived]:
        bounds = (limit, self._max_bytes, MAX_DEAD_BYTES, MAX_READ_BYTES)
        try:
            now, found = await self._link.arun(
                PEEK, [self.key, self.taking_key], [*bounds, self._me, TAKING_MS * claim]
            )
        except ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            await self._set_aside()
            return []
        return [self._arrived(score, length, member, now) for score, length, member in found]

    async def _set_aside(self) -> None:
        """A key of another type lies where the channel should be: nobody could send. Keep it elsewhere."""
        kind, aside = await self._link.arun(SET_CHANNEL_ASIDE, [self.key], [])
        emit(SET_ASIDE, key=self.key, type=kind.decode(), aside=aside.decode())

    def _arrived(self, score: bytes, length: int, member: bytes, now: int) -> Arrived:
        seconds = float(score)
        sent_at = int(seconds * 1_000_000) if 0 <= seconds < MAX_SECONDS else 0
        bare = self._codec.bare(member)[:MAX_DEAD_BYTES]
        if length > len(member):
            fault = f"expected a message of at most {self._max_bytes} bytes, got {length}"
            token = b"c%s %d %s" % (score, length, member)
            return Arrived(token, bare, sent_at, fault=fault)
        token = b"m" + member
        try:
            return Arrived(token, bare, sent_at, content=self._codec.deserialize(member, now))
        except Exception as error:  # noqa: BLE001  a raw writer can put anything there
            fault = f"expected a message in the layer's format, got one that does not decode ({type(error).__name__})"
            return Arrived(token, bare, sent_at, fault=fault)

    async def discard(self, arrived: Sequence[Arrived]) -> None:
        if arrived:
            await self._link.arun(DISCARD, [self.key, self.taking_key], [one.token for one in arrived])

    async def leave(self, arrived: Sequence[Arrived]) -> None:
        await self._link.arun(LEAVE, [self.key, self.taking_key], [TAKING_MS, *(one.token for one in arrived)])

    async def aclose(self) -> None:
        if self._listener is not None:
            await self._listener.aclose()
