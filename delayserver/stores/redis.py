"""Messages in one Redis sorted set, due instant as score; every verb is one Lua act (``stores/lua``).

All keys carry one hash tag, so that a Redis Cluster can hold them. The score doubles as the claim's generation: a
claim moves it to ``now + lease``, and as only what is due can be claimed, every further claim moves it higher.
A message costs one member of the sorted set and nothing else; only what was moved since it was put, or has a key,
stands in a hash beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgpack

from ..clock import Clock, StoreClock
from ..conf import LayerSettings
from ..errors import KeyTaken, StoreUnavailable
from ..events import UNDELIVERABLE, emit
from ..message import (
    MAX_DEAD_BYTES,
    Claim,
    DeadLetter,
    OnConflict,
    Receipt,
    Target,
    Waiting,
    new_id,
    pack_options,
    unpack_options,
)
from ..redis_link import ChannelFormat, Listener, RedisError, RedisLink, Script, decode_host
from .base import MAX_BATCH, MAX_DEAD_LETTERS, Arrival, HandedOver, Named, Store, Wake

PUT, CLAIM, FINISH = Script("put"), Script("claim"), Script("finish")
POSTPONE, BURY, CHANGE = Script("postpone"), Script("bury"), Script("change")
TAKE_IN, HAND_OVER = Script("take_in"), Script("hand_over")

_GROUP, _KEY, _OPTIONS = 1, 2, 4
_CLOCK_SECONDS = 10.0


class Keys(NamedTuple):
    """Where everything lies. A name begins with "{", so that a layer's flush of ``asgi*`` never meets it."""

    waiting: str
    keys: str
    moved: str
    dead: str
    wake: str

    @classmethod
    def of(cls, prefix: str) -> Keys:
        return cls(*(f"{{delayserver:{prefix}}}:{name}" for name in cls._fields))


class RedisStore(Store):
    """A store on one Redis: the layer's own first host, or the one of `url`."""

    def __init__(self, layer: LayerSettings, url: str | None = None, clock: Clock | None = None) -> None:
        host = url or (layer.config.get("hosts") or ["redis://localhost:6379"])[0]
        self._link = RedisLink(decode_host(host))
        self._keys = Keys.of(layer.config.get("prefix", "asgi"))
        self._store_clock = StoreClock()
        self._fixed_clock = clock
        self.clock = clock or self._store_clock
        self._wake = Wake()
        self._listener: Listener | None = None

    def __str__(self) -> str:
        return str(self._link)

    # -- for callers --------------------------------------------------------------------------------------

    def put(self, messages: Sequence[Waiting], on_conflict: OnConflict = "keep") -> list[Receipt]:
        self._refuse_too_many(messages)
        with _Translated():
            return _receipts(self._link.run(PUT, self._keys[:3], self._put(messages, on_conflict)), messages)

    async def aput(self, messages: Sequence[Waiting], on_conflict: OnConflict = "keep") -> list[Receipt]:
        self._refuse_too_many(messages)
        with _Translated():
            reply = await self._link.arun(PUT, self._keys[:3], self._put(messages, on_conflict))
            return _receipts(reply, messages)

    def cancel(self, named: Sequence[Named]) -> list[bool]:
        with _Translated():
            return _answers(self._link.run(CHANGE, self._keys[:3], self._change(named, "")))

    async def acancel(self, named: Sequence[Named]) -> list[bool]:
        with _Translated():
            return _answers(await self._link.arun(CHANGE, self._keys[:3], self._change(named, "")))

    def reschedule(self, named: Named, due: int) -> bool:
        with _Translated():
            return _answers(self._link.run(CHANGE, self._keys[:3], self._change([named], due)))[0]

    async def areschedule(self, named: Named, due: int) -> bool:
        with _Translated():
            return _answers(await self._link.arun(CHANGE, self._keys[:3], self._change([named], due)))[0]

    def read_clock(self) -> Clock:
        if self._fixed_clock is None and self._store_clock.stale:
            with _Translated():
                self._link.learn(self._store_clock)
        return self.clock

    async def aread_clock(self) -> Clock:
        if self._fixed_clock is None and self._store_clock.stale:
            with _Translated():
                await self._link.alearn(self._store_clock)
        return self.clock

    def _refuse_too_many(self, messages: Sequence[Waiting]) -> None:
        if len(messages) > MAX_BATCH:
            raise ValueError(f"expected at most {MAX_BATCH} messages in one put, got {len(messages)}")

    def _put(self, messages: Sequence[Waiting], on_conflict: OnConflict) -> list[Any]:
        args: list[Any] = [self._keys.wake, on_conflict]
        for message in messages:
            args += _put_args(message)
        return args

    def _change(self, named: Sequence[Named], due: int | str) -> list[Any]:
        args: list[Any] = [self._keys.wake, due]
        for name in named:
            args += ("id", _pack_id(name.id)) if name.id is not None else ("key", name.key or "")
        return args

    # -- for the server's loops ---------------------------------------------------------------------------

    async def open(self, home: str = "") -> None:
        self._wake.bind()
        self.place = await self._link.find_place()
        if self._fixed_clock is None:
            for _ in range(3):  # the first reading pays for the connection
                await self._link.alearn(self._store_clock)
        self._listener = Listener(self._link.host, self._wake.ring, channel=self._keys.wake)
        self._listener.start()

    async def aclose(self) -> None:
        if self._listener is not None:
            await self._listener.aclose()
            self._listener = None
        self._wake.unbind()
        await self._link.aclose()

    async def claim(self, now: int, limit: int, lease: int) -> list[Claim]:
        until = now + lease
        found = await self._link.arun(CLAIM, self._keys[:3], [now, min(limit, MAX_BATCH), until])
        return await self._claims(found, until)

    async def finish(self, claims: Sequence[Claim]) -> list[bool]:
        args: list[Any] = []
        for claim in claims:
            args += (claim.generation, _pack(claim.message))
        return await self._act(FINISH, self._keys[:1], args)

    async def postpone(self, claims: Sequence[Claim], due: Sequence[int], *, spend: bool) -> list[bool]:
        args: list[Any] = []
        for claim, later in zip(claims, due, strict=True):
            old = _pack(claim.message)
            args += (claim.generation, old, _pack(claim.message.spent()) if spend else old, later)
        return await self._act(POSTPONE, self._keys[:3], args)

    async def bury(self, claims: Sequence[Claim], letters: Sequence[DeadLetter]) -> list[bool]:
        args: list[Any] = [MAX_DEAD_LETTERS]
        for claim, letter in zip(claims, letters, strict=True):
            args += (claim.generation, _pack(claim.message), letter.at, _pack_letter(letter))
        return await self._act(BURY, (self._keys.waiting, self._keys.dead), args)

    async def refuse(self, letters: Sequence[DeadLetter]) -> None:
        args: list[Any] = [MAX_DEAD_LETTERS]
        for letter in letters:
            args += (0, "", letter.at, _pack_letter(letter))
        await self._act(BURY, (self._keys.waiting, self._keys.dead), args)

    async def next_due(self) -> int | None:
        if self._fixed_clock is None and self._store_clock.age > _CLOCK_SECONDS:
            await self._link.alearn(self._store_clock)
        client: Any = self._link.here
        first = await client.zrange(self._keys.waiting, 0, 0, withscores=True)
        return int(first[0][1]) if first else None

    async def earlier(self) -> None:
        await self._wake.wait()

    async def take_in(self, channel_key: str, arrivals: Sequence[Arrival]) -> int:
        args: list[Any] = [self._keys.wake, MAX_DEAD_LETTERS]
        for token, message, on_conflict in arrivals:
            if isinstance(message, DeadLetter):
                args += (token, "dead", message.at, "", "", _pack_letter(message))
            else:
                args += (token, on_conflict, *_put_args(message))
        return int(await self._link.arun(TAKE_IN, (*self._keys[:4], channel_key), args))

    async def hand_over(
        self, format: object, now: int, limit: int, lease: int, pause: int, paused: Mapping[str, int]
    ) -> HandedOver:
        assert isinstance(format, ChannelFormat)
        until = now + lease
        args: list[Any] = [now, min(limit, MAX_BATCH), until, pause, *format]
        for name, later in paused.items():
            args += (name, later)
        count, full, found = await self._link.arun(HAND_OVER, self._keys[:3], args)
        return HandedOver(int(count), [name.decode() for name in full], await self._claims(found, until))

    async def _claims(self, found: Sequence[bytes], until: int) -> list[Claim]:
        """What a script claimed; what is no message at all becomes a dead letter."""
        claims: list[Claim] = []
        junk: list[Any] = []
        for member, due in zip(found[::2], found[1::2], strict=True):
            try:
                claims.append(Claim(_unpack(member, int(float(due))), until))
            except Exception as error:  # noqa: BLE001  a raw writer can put anything there
                letter = _junk_letter(member, until, error)
                emit(UNDELIVERABLE, id=letter.id, target="nobody", reason=letter.reason)
                junk += (until, member, letter.at, _pack_letter(letter))
        if junk:
            await self._act(BURY, (self._keys.waiting, self._keys.dead), [MAX_DEAD_LETTERS, *junk])
        return claims

    async def _act(self, script: Script, keys: Sequence[str], args: list[Any]) -> list[bool]:
        return _answers(await self._link.arun(script, keys, args))

    # -- for people ---------------------------------------------------------------------------------------

    async def count(self) -> int:
        client: Any = self._link.here
        return int(await client.zcard(self._keys.waiting))

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        client: Any = self._link.here
        newest = await client.zrevrangebyscore(self._keys.dead, "+inf", "-inf", start=0, num=limit)
        return [_unpack_letter(raw) for raw in newest]


class _Translated:
    """Redis's errors as ours, where a caller's code meets them."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (RedisError, OSError)):
            raise StoreUnavailable(f"the Redis store did not answer ({type(error).__name__}): {error}") from error


# -- bytes: the layout stands at the head of lua/common.lua -----------------------------------------------------


def _pack_id(id: str) -> bytes:
    if len(id) == 32:
        try:
            raw = bytes.fromhex(id)
        except ValueError:
            pass
        else:
            if raw.hex() == id:
                return b"\0" + raw
    text = id.encode()
    if not 0 < len(text) < 256:
        raise ValueError(f"expected an id of 1 to 255 bytes, got {len(text)}")
    return bytes([len(text)]) + text


def _pack(message: Waiting) -> bytes:
    name, key = message.target.name.encode(), (message.key or "").encode()
    options = b""
    if message.expires is not None or message.retry is not None or message.attempt:
        options = pack_options(message)
    flags = _GROUP * (message.target.kind == "group") | _KEY * (message.key is not None) | _OPTIONS * bool(options)
    parts = [_pack_id(message.id), bytes([flags, len(name)]), name]
    if flags & _KEY:
        parts += [len(key).to_bytes(2, "big"), key]
    if flags & _OPTIONS:
        parts += [len(options).to_bytes(2, "big"), options]
    return b"".join((*parts, message.body))


def _unpack(member: bytes, due: int) -> Waiting:
    length = member[0]
    at = 17 if length == 0 else length + 1
    id = member[1:at].hex() if length == 0 else member[1:at].decode()
    flags, length = member[at], member[at + 1]
    name, at = member[at + 2 : at + 2 + length].decode(), at + 2 + length
    options: dict[str, Any] = {}
    if flags & _KEY:
        length = int.from_bytes(member[at : at + 2], "big")
        options["key"], at = member[at + 2 : at + 2 + length].decode(), at + 2 + length
    if flags & _OPTIONS:
        length = int.from_bytes(member[at : at + 2], "big")
        options, at = unpack_options(member[at + 2 : at + 2 + length]), at + 2 + length
    target = Target("group" if flags & _GROUP else "channel", name)
    message = Waiting(id, due, target, member[at:], **options)
    if _pack(message) != member:  # then no finishing verb would find it again
        raise ValueError("bytes that are no message of ours")
    return message


def _put_args(message: Waiting) -> tuple[int, bytes, str, bytes]:
    return message.due, _pack_id(message.id), message.key or "", _pack(message)


def _junk_letter(member: bytes, at: int, error: Exception) -> DeadLetter:
    reason = f"expected a message in the store's layout, got bytes that are none ({type(error).__name__})"
    return DeadLetter(new_id(at), at, reason, "the store", member[:MAX_DEAD_BYTES])


def _receipts(reply: Any, messages: Sequence[Waiting]) -> list[Receipt]:
    if isinstance(reply, int):
        raise KeyTaken(f"a message with key {messages[reply].key!r} is waiting already")
    return [Receipt(_unpack_id(id), int(due), bool(created)) for created, id, due in reply]


def _unpack_id(raw: bytes) -> str:
    return raw[1:].hex() if raw[0] == 0 else raw[1:].decode()


def _answers(reply: Sequence[int]) -> list[bool]:
    return [answer == 1 for answer in reply]


def _pack_letter(letter: DeadLetter) -> bytes:
    return bytes(msgpack.packb([letter.id, letter.at, letter.reason, letter.source, letter.body]))


def _unpack_letter(raw: bytes) -> DeadLetter:
    return DeadLetter(*msgpack.unpackb(raw))
