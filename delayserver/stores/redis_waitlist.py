"""The sorted set as callers see it: they put, cancel, move, and ask for one message."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..clock import Clock, StoreClock
from ..conf import LayerSettings
from ..errors import KeyTaken, StoreUnavailable
from ..message import Receipt, Waiting
from ..redis_link import RedisError, RedisLink, Script
from .base import MAX_BATCH, Named, Store
from .redis_members import is_plain, pack, pack_id, put_args, unpack, unpack_id
from .wake import Wake

PUT_PLAIN, PUT = Script("put_plain"), Script("messages", "put")
CHANGE = Script("messages", "freeing", "change")
GET = Script("messages", "get")
MAX_CANCELLED = 5  # in one act


class Keys(NamedTuple):
    """Where everything lies. A name begins with "{", so that a layer's flush of ``asgi*`` never meets it."""

    waiting: str
    keys: str
    moved: str
    attempts: str
    dead: str
    backlogs: str
    letters: str

    @classmethod
    def of(cls, prefix: str) -> Keys:
        return cls(*(f"{{delayserver:{prefix}}}:{name}" for name in cls._fields))


class Waitlist(Store, ABC):
    """What `RedisStore` has for every thread and event loop."""

    def __init__(
        self, layer: LayerSettings, host: object = None, *, cluster: bool = False, clock: Clock | None = None
    ) -> None:
        self._link = RedisLink.of(host or hosts_of(layer)[0], cluster=cluster)
        self.place = self._link.place
        prefix = layer.config.get("prefix", "asgi")
        self._keys = Keys.of(prefix)
        self._channel = f"{{delayserver:{prefix}}}:wake"
        self._schedules = f"{{delayserver:{prefix}}}:schedules"  # a hash: their cursors
        self._entry_prefix = f"{{delayserver:{prefix}}}:entry:"  # of a hash for each
        self._store_clock = StoreClock()
        self._fixed_clock = clock
        self.clock = clock or self._store_clock
        self._wake = Wake()

    def __str__(self) -> str:
        return str(self._link)

    # -- for callers --------------------------------------------------------------------------------------

    def put(self, messages: Sequence[Waiting]) -> list[Receipt]:
        self._refuse_too_many(messages)
        if not messages:
            return []
        with Translated():
            return _receipts(self._link.run(*self._put(messages)), messages)

    async def aput(self, messages: Sequence[Waiting]) -> list[Receipt]:
        self._refuse_too_many(messages)
        if not messages:
            return []
        with Translated():
            return _receipts(await self._link.arun(*self._put(messages)), messages)

    def cancel(self, named: Sequence[Named]) -> list[bool]:
        cancelled: list[bool] = []
        with Translated():
            for some in _few(named):
                cancelled += answers(self._link.run(CHANGE, self._keys, self._change(some, "")))
        return cancelled

    async def acancel(self, named: Sequence[Named]) -> list[bool]:
        cancelled: list[bool] = []
        with Translated():
            for some in _few(named):
                cancelled += answers(await self._link.arun(CHANGE, self._keys, self._change(some, "")))
        return cancelled

    def reschedule(self, named: Named, due: int) -> bool:
        with Translated():
            return answers(self._link.run(CHANGE, self._keys, self._change([named], due)))[0]

    async def areschedule(self, named: Named, due: int) -> bool:
        with Translated():
            return answers(await self._link.arun(CHANGE, self._keys, self._change([named], due)))[0]

    def get(self, named: Named) -> Waiting | None:
        with Translated():
            return _found(self._link.run(GET, self._keys, [self._now(), *_which(named)]))

    async def aget(self, named: Named) -> Waiting | None:
        with Translated():
            return _found(await self._link.arun(GET, self._keys, [self._now(), *_which(named)]))

    def read_clock(self) -> Clock:
        if self._fixed_clock is None and self._store_clock.stale:
            with Translated():
                self._link.learn(self._store_clock, self._keys.waiting)
        return self.clock

    async def aread_clock(self) -> Clock:
        if self._fixed_clock is None and self._store_clock.stale:
            with Translated():
                await self._link.alearn(self._store_clock, self._keys.waiting)
        return self.clock

    def _refuse_too_many(self, messages: Sequence[Waiting]) -> None:
        if len(messages) > MAX_BATCH:
            raise ValueError(f"expected at most {MAX_BATCH} messages in one put, got {len(messages)}")

    def _put(self, messages: Sequence[Waiting]) -> tuple[Script, Sequence[str], list[Any]]:
        """The act that it takes: most often the plain one."""
        members = [pack(message) for message in messages]
        if all(map(is_plain, messages, members)):
            args: list[Any] = [self._channel, self._known_now(), min([message.due for message in messages])]
            for message, member in zip(messages, members, strict=True):
                args += (message.due, member)
            return PUT_PLAIN, self._keys[:1], args
        args = [self._channel, self._now()]
        for message in messages:
            args += put_args(message)
        return PUT, self._keys, args

    def _now(self) -> int:
        """What the scripts shall take for the present: 0 for Redis's own clock."""
        return self.clock.now() if self._fixed_clock else 0

    def _known_now(self) -> int:
        """The present as far as it is known here: to ask Redis costs more."""
        return self.clock.now() if self._fixed_clock or self._store_clock.is_read else 0

    def _change(self, named: Sequence[Named], due: int | str) -> list[Any]:
        args: list[Any] = [self._channel, self._now(), due]
        for name in named:
            args += _which(name)
        return args


class Translated:
    """Redis's errors as ours, where a caller's code meets them."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (RedisError, OSError)):
            raise StoreUnavailable(f"the Redis store did not answer ({type(error).__name__}): {error}") from error


def hosts_of(layer: LayerSettings) -> Sequence[Any]:
    return layer.config.get("hosts") or ["redis://localhost:6379"]


def _few(named: Sequence[Named]) -> Iterator[Sequence[Named]]:
    """As many as one act finds in time even where they are large."""
    return (named[start : start + MAX_CANCELLED] for start in range(0, len(named), MAX_CANCELLED))


def _which(named: Named) -> tuple[str, bytes | str]:
    return ("id", pack_id(named.id)) if named.id is not None else ("key", named.key or "")


def _found(reply: Sequence[bytes]) -> Waiting | None:
    return unpack(reply[0], int(reply[1]), int(reply[2])) if reply else None


def _receipts(reply: Any, messages: Sequence[Waiting]) -> list[Receipt]:
    if reply is None:  # they were plain
        return [Receipt(message.id, message.due, True) for message in messages]
    if isinstance(reply, int):
        raise KeyTaken(f"a message with key {messages[reply].key!r} is waiting already")
    return [
        Receipt(message.id, message.due, True) if kept == 1 else Receipt(unpack_id(kept[0]), int(kept[1]), False)
        for message, kept in zip(messages, reply, strict=True)
    ]


def answers(reply: Sequence[int]) -> list[bool]:
    return [answer == 1 for answer in reply]
