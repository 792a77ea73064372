"""The bytes of one message on a channel: the layer's own serializer, by Redis's clock instead of the process's own."""

from __future__ import annotations

import os
from typing import Any

from channels_redis.serializers import MsgPackSerializer

TTL_GRACE = 10  # seconds that channels_redis adds to the layer's expiry, and after which it reads nothing encrypted


class Codec:
    """`now` is in milliseconds. Any exception where the layer could not serialise or read it."""

    def __init__(self, channel_layer: Any) -> None:
        self._serializer = channel_layer._serializer
        self.crypter = getattr(self._serializer, "crypter", None)
        self.is_msgpack = type(self._serializer) is MsgPackSerializer
        self.random_bytes = int(getattr(self._serializer, "random_prefix_length", 0))

    def serialize(self, content: dict[str, Any], now: int) -> bytes:
        if self.crypter is None:
            return bytes(self._serializer.serialize(content))
        body = self.crypter.encrypt_at_time(self._serializer.as_bytes(content), now // 1000)
        return os.urandom(self.random_bytes) + bytes(body)

    def deserialize(self, member: bytes, now: int | None) -> Any:
        """With None for `now`, however old it is: what a worker had in hand may be much older than the expiry."""
        if self.crypter is None:
            return self._serializer.deserialize(member)
        if now is None:
            return self._serializer.from_bytes(self.crypter.decrypt(self.bare(member)))
        ttl = self._serializer.expiry + TTL_GRACE
        return self._serializer.from_bytes(self.crypter.decrypt_at_time(self.bare(member), ttl, now // 1000))

    def bare(self, member: bytes) -> bytes:
        """The message without the random bytes before it."""
        return member[self.random_bytes :]
