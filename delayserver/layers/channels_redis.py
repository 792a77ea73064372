"""channels_redis by its own bytes: what takes it four round trips a message takes one a batch, and is atomic.

Its format (4.2 and 4.3): a channel is the sorted set ``prefix + channel``; a member is random bytes and the
serialised message, its score the time in seconds; the whole set expires after ``expiry`` seconds without a send. A
message to ``specific.x!y`` lies on ``specific.x!`` with its full name inside, and one to a group on the channel of each
member, once for those that share one. What counts is Redis's clock; the layer itself takes each process's own.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from importlib.metadata import PackageNotFoundError, version
from math import inf
from typing import Any

from ..clock import StoreClock, monotonic, ticks
from ..events import UNKNOWN_LAYER, emit
from ..message import Target
from ..redis_link import ChannelFormat, RedisLink, Script, parts
from .base import Delivered, Delivery, Failed, Full, Inbox, Late, Outcome, Placed, Refused, Source
from .channels_redis_codec import Codec
from .channels_redis_inbox import RedisInbox
from .channels_redis_source import RedisSource
from .generic import GenericLayer

KNOWN_VERSIONS = ("4.2.", "4.3.")
DELIVER, MEMBERS = Script("channel", "deliver"), Script("members")
OUTCOMES: dict[int, Outcome] = {1: Delivered(), 0: Full(), -1: Late()}  # of DELIVER's answers
MAX_BATCH = 500  # of one script's messages, so that none runs long
MAX_BATCH_BYTES = 1_048_576  # and of their bytes
AVOID_SECONDS = 1.0  # how long a host that failed gets only what must go through it


def known() -> bool:
    """Whether the installed channels_redis is one whose format we know; says once if it is not."""
    try:
        installed = version("channels-redis")
    except PackageNotFoundError:
        return False
    if installed.startswith(KNOWN_VERSIONS):
        return True
    emit(UNKNOWN_LAYER, of=installed, version=installed)
    return False


class RedisLayer(GenericLayer):
    """`channel_layer` is a ``channels_redis.core.RedisChannelLayer``."""

    def __init__(self, channel_layer: Any) -> None:
        super().__init__(channel_layer)
        self._links = [RedisLink.of(host) for host in channel_layer.hosts]
        self.places = [link.place or "" for link in self._links]
        self.expiry = int(channel_layer.expiry)
        self._codec = Codec(channel_layer)
        self._hosts = itertools.cycle(range(len(self._links)))
        self._avoid: dict[int, float] = {}
        self._clocks = [StoreClock() for _ in self._links]

    async def open(self) -> None:
        await super().open()
        self.format = self._format()

    def _format(self) -> ChannelFormat | None:
        """What a store on the same server needs; None where the bytes, or the capacity, are not the same for all."""
        layer, codec = self._layer, self._codec
        if not codec.is_msgpack or codec.crypter or layer.channel_capacity or not 10 <= codec.random_bytes <= 16:
            return None
        return ChannelFormat(layer.prefix, self.expiry, layer.capacity, codec.random_bytes, int(len(self._links) == 1))

    def check(self, content: dict[str, Any]) -> None:
        """msgpack holds whatever is accepted at all; any other serializer is tried."""
        if not self._codec.is_msgpack:
            super().check(content)

    def seal(self, body: bytes) -> bytes:
        """With the layer's keys, but without its time limit: what waits for a year can still be read."""
        return bytes(self._codec.crypter.encrypt(body)) if self._codec.crypter else body

    def unseal(self, body: bytes) -> bytes:
        return bytes(self._codec.crypter.decrypt(body)) if self._codec.crypter else body

    def host_of(self, target: Target) -> int | None:
        """The receiver listens where the part up to the "!" hashes to; channels_redis' own `send` hashes the whole."""
        if "!" not in target.name or target.kind == "group":
            return None
        return int(self._layer.consistent_hash(self._layer.non_local_name(target.name)))

    def backlog_of(self, target: Target) -> str:
        return target.backlogs[-1]

    def lane(self, target: Target) -> Hashable:
        """Channels by their host, in one round trip for each; groups by the layer."""
        if target.kind == "group":
            return target
        host = self.host_of(target)
        return self._next_host() if host is None else host

    def _next_host(self) -> int:
        """In turn; one that just failed is passed over while another works."""
        for _ in self._links:
            host = next(self._hosts)
            if self._avoid.get(host, 0.0) <= monotonic():
                break
        return host

    async def deliver(self, lane: Hashable, batch: Sequence[Delivery]) -> list[Outcome]:
        if not isinstance(lane, int):
            return [await self._deliver_to_group(delivery) for delivery in batch]
        outcomes: list[Outcome] = [Full()] * len(batch)
        placed: list[tuple[int, Placed]] = []
        try:
            now = (await self._clock(lane)).now()
        except Exception as error:  # noqa: BLE001  Redis away: all wait
            return [Failed(error)] * len(batch)
        for position, delivery in enumerate(batch):
            try:
                placed.append((position, self.place(delivery, now)))
            except Exception as error:  # noqa: BLE001  a serializer may raise anything
                outcomes[position] = _refused(error)
        answers = await self._put(lane, [(one, batch[position].until) for position, one in placed])
        for (position, _), outcome in zip(placed, answers, strict=True):
            outcomes[position] = outcome
        return outcomes

    async def _deliver_to_group(self, delivery: Delivery) -> Outcome:
        """On every member's channel that has room; the others miss it, as with the layer's own `group_send`."""
        if ticks() >= delivery.until:
            return Late()
        layer = self._layer
        host = layer.consistent_hash(delivery.target.name)
        try:
            now = (await self._clock(host)).now()
            key = layer._group_key(delivery.target.name)
            names = await self._links[host].arun(MEMBERS, [key], [layer.group_expiry])
        except Exception as error:  # noqa: BLE001  Redis away, a wrong type: it waits
            return Failed(error)
        try:
            by_host = self._place_for_all([name.decode() for name in names], delivery.content, now)
        except Exception as error:  # noqa: BLE001  a serializer may raise anything
            return _refused(error)
        outcomes: list[Outcome] = []
        for host, placed in by_host.items():
            outcomes += await self._put(host, [(one, delivery.until) for one in placed])
        # Where one host failed another's members have it already: at least once.
        return next((outcome for outcome in outcomes if isinstance(outcome, Failed | Late)), Delivered())

    def _place_for_all(self, channels: Sequence[str], content: dict[str, Any], now: int) -> dict[int, list[Placed]]:
        """One message for each channel that members share, with all their names inside."""
        layer = self._layer
        shared: dict[str, list[str]] = {}
        for channel in channels:
            shared.setdefault(layer.non_local_name(channel) if "!" in channel else channel, []).append(channel)
        by_host: dict[int, list[Placed]] = {}
        for name, members in shared.items():
            member = self._codec.serialize({**content, "__asgi_channel__": members}, now)
            placed = Placed(layer.prefix + name, layer.get_capacity(members[0]), member)
            by_host.setdefault(layer.consistent_hash(name), []).append(placed)
        return by_host

    async def _clock(self, host: int) -> StoreClock:
        clock = self._clocks[host]
        if clock.stale:
            try:
                await self._links[host].alearn(clock, self._layer.prefix)
            except Exception:
                self._avoid[host] = monotonic() + AVOID_SECONDS
                raise
        return clock

    async def _put(self, host: int, placed: Sequence[tuple[Placed, int]]) -> list[Outcome]:
        """On channels of one host, each until its tick; what follows a failure is not tried."""
        outcomes: list[Outcome] = []
        self._avoid[host] = inf  # until it answers
        for part in parts(placed, MAX_BATCH, MAX_BATCH_BYTES, _size):
            try:
                outcomes += await self._put_part(host, part)
            except Exception as error:  # noqa: BLE001  Redis away, a wrong type, out of memory: all wait
                self._avoid[host] = monotonic() + AVOID_SECONDS
                return outcomes + [Failed(error)] * (len(placed) - len(outcomes))
        self._avoid.pop(host, None)
        return outcomes

    async def _put_part(self, host: int, part: Sequence[tuple[Placed, int]]) -> list[Outcome]:
        clock = await self._clock(host)
        args: list[Any] = [self.expiry]
        for placed, until in part:
            args += (*placed, clock.at(until))
        return [OUTCOMES[answer] for answer in await self._links[host].arun(DELIVER, (), args)]

    def place(self, delivery: Delivery, now: int) -> Placed:
        layer, name, content = self._layer, delivery.target.name, delivery.content
        key = layer.prefix + name
        if "!" in name:
            key = layer.prefix + layer.non_local_name(name)
            content = {**content, "__asgi_channel__": name}
        return Placed(key, layer.get_capacity(name), self._codec.serialize(content, now))

    def inboxes(self, channel: str, max_bytes: int) -> Sequence[Inbox]:
        return [RedisInbox(self._layer, link, channel, max_bytes) for link in self._links]

    def sources(self, channels: Sequence[str]) -> Sequence[Source]:
        return [RedisSource(self._layer, link, channels) for link in self._links]

    async def aclose(self) -> None:
        for link in self._links:
            await link.aclose()


def _refused(error: Exception) -> Refused:
    return Refused(f"the channel layer refused it: {type(error).__name__}")


def _size(one: tuple[Placed, int]) -> int:
    return len(one[0].member)
