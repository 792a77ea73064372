"""Messages in one Redis sorted set, due instant as score; every verb is one Lua act (``stores/lua``).

All keys carry one hash tag, so that a Redis Cluster can hold them. The score is the claim's generation as well: a claim
moves it to ``now + lease`` less a fraction of a millisecond that no other claim at that instant has, and what merely
waits has none.
A message costs one member of the sorted set and nothing else; only what was moved since it was put, has a key, or is an
occurrence stands in a hash beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from typing import Any

from ..conf import LayerSettings
from ..message import Claim, DeadLetter
from ..redis_link import ChannelFormat, Script
from ..redis_listener import Listener
from .base import MAX_BATCH, MAX_DEAD_LETTERS, Arrival, Fate, HandedOver, Parcel
from .redis_entries import RedisEntries
from .redis_members import letter_args, pack, put_args, score
from .redis_shelf import BACKLOGS, MAX_ACT_BYTES
from .redis_tickets import BURY
from .redis_waitlist import hosts_of
from .shelf import SLOT_MS

FINISH = Script("messages", "finish")
CLAIM, CLAIM_BACKLOG = Script("messages", "freeing", "claim"), Script("messages", "freeing", "claim_backlog")
POSTPONE = Script("messages", "freeing", "postpone")
HOLD_BACK = Script("messages", "freeing", "hold_back")
TAKE_IN = Script("messages", "letters", "channel", "take_in")
HAND_OVER = Script("messages", "freeing", "retry", "channel", "hand_over")
HAND_OVER_CLAIMS = Script("messages", "freeing", "retry", "channel", "hand_over_claims")

CLOCK_SECONDS = 10.0  # how old a server's reading of the clock may get
POLL_SECONDS = 0.1  # how often a server looks for earlier messages while nobody tells it


class RedisStore(RedisEntries):
    """A store on one Redis: a host of the layer's own, or that of `url`, which may be a node of a `cluster`."""

    @classmethod
    def shards(cls, layer: LayerSettings, url: str | None = None, **options: Any) -> Sequence[RedisStore]:
        """One beside each host of the layer, so that what is due goes out in one act on every one of them."""
        if url is not None or options:
            return [cls(layer, url, **options)]
        return [cls(layer, host) for host in hosts_of(layer)]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._listener: Listener | None = None

    async def open(self, home: str = "") -> None:
        self._wake.bind()
        if self._fixed_clock is None:
            for _ in range(3):  # the first reading pays for the connection
                await self._link.alearn(self._store_clock, self._keys.waiting)
        self._listener = Listener(self._link.host, self._wake.ring, channel=self._channel)
        self._listener.start()

    async def aclose(self) -> None:
        if self._listener is not None:
            await self._listener.aclose()
            self._listener = None
        self._wake.unbind()
        await self._link.aclose()

    async def claim(self, now: int, limit: int, lease: int, full: Collection[str] = ()) -> list[Claim]:
        await self._keep_clock_fresh()
        until = self._new_generation(now + lease)
        args = [now, min(limit, MAX_BATCH), MAX_ACT_BYTES, score(until), *full]
        while True:
            held_back, found = await self._link.arun(CLAIM, self._keys, args)
            if found or not held_back:
                return await self._claims(found, until)

    async def claim_backlog(self, name: str, now: int, limit: int, lease: int) -> list[Claim]:
        until = self._new_generation(now + lease)
        args = [name, min(limit, MAX_BATCH), MAX_ACT_BYTES, score(until)]
        return await self._claims(await self._link.arun(CLAIM_BACKLOG, self._keys, args), until)

    async def hold_back(self, claims: Sequence[Claim], names: Sequence[str]) -> list[bool]:
        found = [(*_shown(claim), claim.message.due, name) for claim, name in zip(claims, names, strict=True)]
        return await self._act(HOLD_BACK, [self.clock.now()], found)

    async def backlogs(self) -> list[str]:
        return [name.decode() for name, _ in await self._link.arun(BACKLOGS, self._keys, ())]

    async def finish(self, claims: Sequence[Claim]) -> list[bool]:
        return await self._act(FINISH, [], [_shown(claim) for claim in claims])

    async def postpone(self, claims: Sequence[Claim], due: Sequence[int], *, spend: int) -> list[bool]:
        found = [(*_shown(claim), later) for claim, later in zip(claims, due, strict=True)]
        return await self._act(POSTPONE, [self._channel, self._now(), spend], found)

    async def bury(self, claims: Sequence[Claim], letters: Sequence[DeadLetter]) -> list[bool]:
        pairs = zip(claims, letters, strict=True)
        found = [(*_shown(claim), *letter_args(letter)) for claim, letter in pairs]
        return await self._act(BURY, [MAX_DEAD_LETTERS], found)

    async def refuse(self, letters: Sequence[DeadLetter]) -> None:
        found = [("0", b"", *letter_args(letter)) for letter in letters]
        await self._act(BURY, [MAX_DEAD_LETTERS], found)

    async def next_due(self) -> int | None:
        first = await self._head()
        return first if first is not None and first < SLOT_MS else None

    async def _keep_clock_fresh(self) -> None:
        if self._fixed_clock is None and self._store_clock.age > CLOCK_SECONDS:
            await self._link.alearn(self._store_clock, self._keys.waiting)

    async def earlier(self) -> None:
        """Nobody may tell us while the listener is down: then it is time to look again and again."""
        told = self._listener is not None and self._listener.hears
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if told else POLL_SECONDS):
                await self._wake.wait()

    async def take_in(self, channel_key: str, taking_key: str, arrivals: Sequence[Arrival]) -> int:
        args: list[Any] = [self._channel, self.clock.now(), MAX_DEAD_LETTERS]
        for token, message in arrivals:
            if isinstance(message, DeadLetter):
                at, id, letter = letter_args(message)
                args += (token, "dead", at, id, "", 0, letter)
            else:
                args += (token, "put", *put_args(message))
        return int(await self._link.arun(TAKE_IN, (*self._keys, channel_key, taking_key), args))

    async def hand_over(self, format: object, now: int, limit: int, lease: int, backlogs: Sequence[str]) -> HandedOver:
        assert isinstance(format, ChannelFormat)
        await self._keep_clock_fresh()
        until = self._new_generation(now + lease)
        args = [now, min(limit, MAX_BATCH), MAX_ACT_BYTES, score(until), *format, *backlogs]
        handed, found, names, due = await self._link.arun(HAND_OVER, self._keys, args)
        went_out = {name.decode(): number for name, number in zip(names[::2], names[1::2], strict=True)}
        return HandedOver(handed, await self._claims(found, until), went_out, int(due) if due else None)

    async def hand_over_claims(self, parcels: Sequence[Parcel], expiry: int) -> list[Fate]:
        found = [
            (*_shown(claim), key, capacity, member, _or_empty(again), _or_empty(claim.message.expires))
            for claim, key, capacity, member, again in parcels
        ]
        return [Fate(answer) for answer in await self._run(HAND_OVER_CLAIMS, [expiry], found)]


def _or_empty(instant: int | None) -> int | str:
    return "" if instant is None else instant


def _shown(claim: Claim) -> tuple[str, bytes]:
    """What every finishing verb shows."""
    return score(claim.generation), pack(claim.message)
