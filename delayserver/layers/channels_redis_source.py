"""Taking from worker channels of channels_redis: in batches, atomically, and into a hand that has a lease.

The layer's own `receive` takes a message in four round trips, and two that receive on one channel get some twice.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from ..events import SET_ASIDE, emit
from ..redis_link import RedisError, RedisLink, Script, parts
from ..redis_listener import Listener
from .base import Charge, Desired, Source, Taken, Turn
from .channels_redis_codec import Codec

TAKE, RENEW = Script("hand", "take"), Script("hand", "renew_hand")
GIVE_BACK, CHARGE = Script("hand", "give_back"), Script("charge")
SET_CHANNEL_ASIDE = Script("set_aside")
LEASE_SECONDS = 15.0
FORGET_SECONDS = 86_400  # what a worker that died had in hand is lost if none comes for a day
FRACTIONS = 1_024  # of a millisecond: as fine as a double has them until the year 2248
MAX_BATCH = 500  # of one act's messages, so that none runs long
MAX_BATCH_BYTES = 4_194_304
POLL_SECONDS, DEAF_POLL_SECONDS = 5.0, 0.05
SOON_SECONDS = 0.5  # how soon to look again for what nobody has in hand any more


class RedisSource(Source):
    """Client-side caching tells that something came; where a server refuses it, we poll."""

    lease, remembers = LEASE_SECONDS, True

    def __init__(self, channel_layer: Any, link: RedisLink, channels: Sequence[str]) -> None:
        self._link, self._codec = link, Codec(channel_layer)
        self._expiry, prefix = int(channel_layer.expiry), channel_layer.prefix
        self._keys = {name: (f"{prefix}{name}", f"{{delayserver}}:in hand:{prefix}{name}") for name in channels}
        self._charges = f"{{delayserver}}:charges:{prefix}"
        self._listener: Listener | None = None
        # To differ from other workers, not to be secret.
        self._generation = repr(random.randrange(1, FRACTIONS // 2) / FRACTIONS)  # noqa: S311

    async def open(self, wake: Callable[[], None]) -> None:
        self._listener = Listener(self._link.host, wake, prefixes=[channel for channel, _ in self._keys.values()])
        self._listener.start()

    async def turn(self, done: Sequence[Taken], desired: Sequence[Desired], most: int, *, over: bool) -> Turn:
        names = [one.channel for one in desired]
        names += {one.channel for one in done}.difference(names)
        keys = [key for name in names for key in self._keys[name]]
        lease = int(LEASE_SECONDS * 1000)
        args: list[Any] = [lease, FORGET_SECONDS, int(over), self._generation, min(most, MAX_BATCH), MAX_BATCH_BYTES]
        args.append(len(done))
        kept = {one.channel: one.keep for one in desired}
        for _, room, keep in desired:
            args += (room, int(keep))
        args += (0, 1) * (len(names) - len(desired))
        for one in done:
            args += (names.index(one.channel) + 1, one.generation, one.raw)
        ours, taken, wrong, next_end = await self._link.arun(TAKE, keys, args)
        for position in wrong:
            with contextlib.suppress(
                RedisError, OSError
            ):  # the next turn meets it again; what was taken must not be forgotten
                await self._set_aside(keys[2 * position - 2])
        found = [self._taken(names[place - 1], *rest) for place, *rest in taken]
        for one in found:
            if not kept.get(one.channel, True):
                one.generation = b""
        lost = [one for one, held in zip(done, ours, strict=True) if not held]
        cut_short = len(found) == MAX_BATCH or sum(map(_size, found)) >= MAX_BATCH_BYTES
        return Turn(found, lost, 0.0 if cut_short else self._seconds(next_end))

    def _seconds(self, next_end: bytes) -> float:
        hears = self._listener is not None and self._listener.hears
        quiet = POLL_SECONDS if hears else DEAF_POLL_SECONDS
        return min(quiet, max(SOON_SECONDS, float(next_end) / 1000)) if next_end else quiet

    def _taken(self, channel: str, generation: bytes, before: int, member: bytes) -> Taken:
        taken = Taken(channel, member, generation=generation, again=before == 1)
        try:
            taken.content = self._codec.deserialize(member, None)
        except Exception as error:  # noqa: BLE001  a raw writer can put anything there
            taken.fault = (
                f"expected a message in the layer's format, got one that does not decode ({type(error).__name__})"
            )
        return taken

    async def _set_aside(self, key: str) -> None:
        """A key of another type lies where the channel should be: nobody could send. Keep it elsewhere."""
        kind, aside = await self._link.arun(SET_CHANNEL_ASIDE, [key], [])
        emit(SET_ASIDE, key=key, type=kind.decode(), aside=aside.decode())

    def renew(self, taken: Sequence[Taken]) -> list[bool]:
        held: dict[int, bool] = {}
        for channel, alike in _by_channel(taken):
            for part in parts(alike, MAX_BATCH, MAX_BATCH_BYTES, _size):
                args: list[Any] = [int(LEASE_SECONDS * 1000), FORGET_SECONDS]
                for one in part:
                    args += (one.generation, one.raw)
                answers = self._link.run(RENEW, self._keys[channel][1:], args)
                held.update(zip(map(id, part), map(bool, answers), strict=True))
        return [held[id(one)] for one in taken]

    async def give_back(self, taken: Sequence[Taken]) -> None:
        for channel, alike in _by_channel(taken):
            for part in parts(alike, MAX_BATCH, MAX_BATCH_BYTES, _size):
                args: list[Any] = [self._expiry]
                for one in part:
                    args += (one.generation, one.raw)
                await self._link.arun(GIVE_BACK, self._keys[channel], args)

    async def charges(self, names: Sequence[str], act: Charge) -> list[int]:
        if not names:
            return []
        return [int(count) for count in await self._link.arun(CHARGE, [self._charges], [act, FORGET_SECONDS, *names])]

    async def aclose(self) -> None:
        if self._listener is not None:
            await self._listener.aclose()
            self._listener = None


def _by_channel(taken: Sequence[Taken]) -> Iterable[tuple[str, list[Taken]]]:
    by_channel = attrgetter("channel")
    return [(channel, list(alike)) for channel, alike in groupby(sorted(taken, key=by_channel), by_channel)]


def _size(one: Taken) -> int:
    return len(one.raw)
