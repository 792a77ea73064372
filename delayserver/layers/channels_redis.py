"""channels_redis by its own bytes: what takes it four round trips a message takes one a batch, and is atomic.

Its format (4.2 and 4.3): a channel is the sorted set ``prefix + channel``; a member is random bytes and the
serialised message, its score the time in seconds; the whole set expires after ``expiry`` seconds without a send. A
message to ``specific.x!y`` lies on ``specific.x!`` with its full name inside. Groups go through the layer's own
`group_send`, which knows who is where.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from channels_redis.serializers import JSONSerializer, MsgPackSerializer

from ..events import LOOP_FAILED, SET_ASIDE, UNKNOWN_LAYER, emit
from ..message import MAX_DEAD_BYTES
from ..redis_link import ChannelFormat, Listener, RedisLink, ResponseError, Script, decode_host
from .base import Arrived, Delivered, Delivery, Failed, Full, Inbox, Outcome, Refused
from .generic import GenericLayer

KNOWN_VERSIONS = ("4.2.", "4.3.")
DELIVER, PEEK = Script("channel", "deliver"), Script("peek")
DISCARD, SET_CHANNEL_ASIDE = Script("channel", "discard"), Script("set_aside")
MAX_BATCH_BYTES = 4_194_304  # of one script's arguments or reply
ENVELOPE_BYTES = 4_096  # what channel, delay, key, retry ... may add to the content
POLL_SECONDS = 0.05
TAKING_MS = 10_000  # how long a server may take to store what it read, where that is not one act
MAX_SECONDS = 1e12  # a score beyond is no time


def known() -> bool:
    """Whether the installed channels_redis is one whose format we know; says once if it is not."""
    try:
        installed = version("channels-redis")
    except PackageNotFoundError:
        return False
    if installed.startswith(KNOWN_VERSIONS):
        return True
    emit(UNKNOWN_LAYER, version=installed)
    return False


class RedisLayer(GenericLayer):
    """`channel_layer` is a ``channels_redis.core.RedisChannelLayer``."""

    def __init__(self, channel_layer: Any) -> None:
        super().__init__(channel_layer)
        self._links = [RedisLink(decode_host(host)) for host in channel_layer.hosts]
        self._next_host = 0

    async def open(self) -> None:
        """With one host there is a place to share; with several a channel lies on all of them."""
        self.place = await self._links[0].find_place() if len(self._links) == 1 else None
        self.format = self._format()

    def _format(self) -> ChannelFormat | None:
        """What a store on the same server needs; None where the bytes are not the stored ones."""
        layer = self._layer
        serializer = layer._serializer
        if type(serializer) is not MsgPackSerializer or serializer.crypter or layer.channel_capacity:
            return None
        if not 10 <= serializer.random_prefix_length <= 16:
            return None
        return ChannelFormat(layer.prefix, int(layer.expiry), layer.capacity, serializer.random_prefix_length)

    def check(self, content: dict[str, Any]) -> None:
        """msgpack holds whatever is accepted at all; any other serializer is tried."""
        if type(self._layer._serializer) is not MsgPackSerializer:
            super().check(content)

    async def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        """Channels in one round trip for each host, groups by the layer."""
        outcomes: list[Outcome] = [Full()] * len(batch)
        by_host: dict[int, list[tuple[int, list[Any]]]] = {}
        groups = []
        for position, delivery in enumerate(batch):
            if delivery.target.kind == "group":
                groups.append(position)
                continue
            try:
                host, args = self._channel_args(delivery)
            except Exception as error:  # noqa: BLE001  a serializer may raise anything
                outcomes[position] = Refused(f"the channel layer refused it: {type(error).__name__}")
            else:
                by_host.setdefault(host, []).append((position, args))
        sent = [self._deliver_to_host(host, found, outcomes) for host, found in by_host.items()]
        grouped = [batch[position] for position in groups]
        of_groups = asyncio.ensure_future(super().deliver(grouped))
        await asyncio.gather(*sent, of_groups)
        for position, outcome in zip(groups, of_groups.result(), strict=True):
            outcomes[position] = outcome
        return outcomes

    def _channel_args(self, delivery: Delivery) -> tuple[int, list[Any]]:
        """The host for a message, and its key, capacity and member."""
        layer, name, content = self._layer, delivery.target.name, delivery.content
        if "!" in name:
            # The receiver listens where the part up to the "!" hashes to; send() hashes the whole name.
            local = layer.non_local_name(name)
            host, key = layer.consistent_hash(local), layer.prefix + local
            content = {**content, "__asgi_channel__": name}
        else:
            host, key = self._next_host % len(self._links), layer.prefix + name
            self._next_host += 1
        return host, [key, layer.get_capacity(name), layer.serialize(content)]

    async def _deliver_to_host(
        self, host: int, found: Sequence[tuple[int, list[Any]]], outcomes: list[Outcome]
    ) -> None:
        for part in _parts(found):
            args: list[Any] = [int(self._layer.expiry)]
            for _, message in part:
                args += message
            try:
                answers = await self._links[host].arun(DELIVER, (), args)
            except Exception as error:  # noqa: BLE001  Redis away, a wrong type, out of memory: all wait
                answers = [Failed(error)] * len(part)
            for (position, _), answer in zip(part, answers, strict=True):
                outcomes[position] = _OUTCOMES.get(answer, answer)

    def inbox(self, channel: str, max_bytes: int) -> Inbox:
        return RedisInbox(self._layer, self._links, channel, max_bytes, self.place)

    async def aclose(self) -> None:
        for link in self._links:
            await link.aclose()


_OUTCOMES: dict[object, Outcome] = {1: Delivered(), 0: Full()}


def _parts(found: Sequence[tuple[int, list[Any]]]) -> list[list[tuple[int, list[Any]]]]:
    """Batches whose arguments stay within `MAX_BATCH_BYTES`."""
    parts: list[list[tuple[int, list[Any]]]] = [[]]
    size = 0
    for one in found:
        size += len(one[1][2])
        if size > MAX_BATCH_BYTES and parts[-1]:
            parts.append([])
            size = len(one[1][2])
        parts[-1].append(one)
    return parts


class RedisInbox(Inbox):
    """Looks at a channel without taking: what is there stays until it is stored, or discarded.

    Word that something came is client-side caching's; where the server refuses it, we poll.
    """

    def __init__(
        self, channel_layer: Any, links: Sequence[RedisLink], channel: str, max_bytes: int, place: str | None
    ) -> None:
        self.place, self.key = place, channel_layer.prefix + channel
        self._layer, self._links = channel_layer, links
        self._max_bytes = max_bytes + ENVELOPE_BYTES + ENVELOPE_BYTES * bool(channel_layer._serializer.crypter)
        if channel_layer._serializer.crypter or type(channel_layer._serializer) is JSONSerializer:
            self._max_bytes *= 2  # base64, escapes
        self._listeners: list[Listener] = []
        self._hosts: dict[bytes, int] = {}
        self._first = -1
        self._me, self._taking = os.urandom(8).hex(), f"{{delayserver}}:taking:{self.key}"

    async def open(self, wake: Callable[[], None]) -> None:
        for link in self._links:
            listener = Listener(link.host, wake, prefix=self.key)
            listener.start()
            self._listeners.append(listener)

    def poll_seconds(self) -> float:
        return 5.0 if all(listener.hears for listener in self._listeners) else POLL_SECONDS

    async def read(self, limit: int, *, claim: bool) -> Sequence[Arrived]:
        """From every host in turn, each first once; one that is down holds up no other."""
        arrived: list[Arrived] = []
        errors: list[Exception] = []
        self._hosts.clear()
        self._first = (self._first + 1) % len(self._links)
        for host in [*range(self._first, len(self._links)), *range(self._first)]:
            try:
                found = await self._peek(self._links[host], limit - len(arrived), claim)
            except Exception as error:  # noqa: BLE001  raised below, unless another host works
                errors.append(error)
                continue
            self._hosts.update((one.token, host) for one in found)
            arrived += found
        if len(errors) == len(self._links):
            raise errors[0]
        for fault in errors:
            emit(LOOP_FAILED, of="intake host", error=fault, loop="intake of one host", seconds=self.poll_seconds())
        return arrived

    async def _peek(self, link: RedisLink, limit: int, claim: bool) -> list[Arrived]:
        bounds = (limit, self._max_bytes, MAX_DEAD_BYTES, MAX_BATCH_BYTES)
        try:
            found = await link.arun(PEEK, [self.key, self._taking], [*bounds, self._me, TAKING_MS * claim])
        except ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            await self._set_aside(link)
            return []
        return [self._arrived(*one) for one in found]

    async def _set_aside(self, link: RedisLink) -> None:
        """A key of another type lies where the channel should be: nobody could send. Keep it elsewhere."""
        kind, aside = await link.arun(SET_CHANNEL_ASIDE, [self.key], [])
        emit(SET_ASIDE, key=self.key, type=kind.decode(), aside=aside.decode())

    def _arrived(self, score: bytes, length: int, member: bytes) -> Arrived:
        seconds = float(score)
        sent_at = int(seconds * 1_000_000) if 0 <= seconds < MAX_SECONDS else 0
        if length > len(member):
            fault = f"expected a message of at most {self._max_bytes} bytes, got {length}"
            token = b"c%s %d %s" % (score, length, member)
            return Arrived(token, self._bare(member), sent_at, fault=fault)
        token = b"m" + member
        try:
            return Arrived(token, self._bare(member), sent_at, content=self._layer.deserialize(member))
        except Exception as error:  # noqa: BLE001  a raw writer can put anything there
            fault = f"expected a message in the layer's format, got one that does not decode ({type(error).__name__})"
            return Arrived(token, self._bare(member), sent_at, fault=fault)

    def _bare(self, member: bytes) -> bytes:
        """The message without the random bytes before it, cut."""
        return member[self._layer._serializer.random_prefix_length :][:MAX_DEAD_BYTES]

    async def discard(self, arrived: Sequence[Arrived]) -> None:
        for host, link in enumerate(self._links):
            tokens = [one.token for one in arrived if self._hosts.get(one.token) == host]
            if tokens:
                await link.arun(DISCARD, [self.key, self._taking], tokens)

    async def aclose(self) -> None:
        for listener in self._listeners:
            await listener.aclose()
