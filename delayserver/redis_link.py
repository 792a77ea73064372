"""The way to a Redis: Lua as typed, bounded acts, for callers' threads and for event loops."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import importlib.resources
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.cluster
from redis.exceptions import NoScriptError, RedisError, ResponseError

from .clock import StoreClock
from .redis_connections import LoopConnections, ThreadConnections
from .redis_hosts import COMMAND_SECONDS, Host, decode_host, describe, place_of

T = TypeVar("T")

__all__ = ["ChannelFormat", "RedisError", "RedisLink", "ResponseError", "Script"]


class ChannelFormat(NamedTuple):
    """How channels_redis lays messages on a channel, where a store on the same server can do it as well.

    The key is `prefix` + channel, the member `random_bytes` arbitrary bytes + the packed message, the score the
    time in seconds. `capacity` counts per channel, `expiry` is in seconds. `all_here` is 1 where every specific channel
    lies on this server, 0 where that must be asked for each.
    """

    prefix: str
    expiry: int
    capacity: int
    random_bytes: int
    all_here: int


class Script:
    """A Lua act: files of ``stores/lua``, first what it stands on, run by the hash of all."""

    def __init__(self, *names: str) -> None:
        folder = importlib.resources.files(__package__) / "stores" / "lua"
        self.source = "".join((folder / f"{name}.lua").read_text() for name in names)
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


TIME = Script("time")


def parts(found: Sequence[T], number: int, size: int, size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """In lists of at most `number`, each of at most `size` bytes, or one alone: so that no script runs long."""
    part: list[T] = []
    total = 0
    for one in found:
        total += size_of(one)
        if part and (len(part) == number or total > size):
            yield part
            part, total = [], size_of(one)
        part.append(one)
    if part:
        yield part


class ClusterClient:
    """A redis-py client of a Redis Cluster, which finds the node that has a command's keys."""

    def __init__(self, host: Host) -> None:
        self._client = _cluster(host, redis)

    def ask(self, *command: Any) -> Any:
        return self._client.execute_command(*command)


class AsyncClusterClient:
    """As `ClusterClient`, for one event loop."""

    def __init__(self, host: Host) -> None:
        self._client = _cluster(host, redis.asyncio)

    async def ask(self, *command: Any) -> Any:
        return await self._client.execute_command(*command)

    async def aclose(self) -> None:
        await self._client.aclose()


def _cluster(host: Host, kit: Any) -> Any:
    options = {**host, "socket_timeout": COMMAND_SECONDS, "protocol": 2}
    return kit.RedisCluster.from_url(options.pop("address"), **options)


class RedisLink:
    """The way to one Redis, or Redis Cluster: a sync client for callers' threads, connections for each event loop.

    `place` names the server and database, equal for two links that lead to the same; a cluster has none.
    """

    def __init__(self, host: Host, *, cluster: bool = False) -> None:
        self.host, self._cluster = host, cluster
        self.place = None if cluster else place_of(host)
        self._sync: ThreadConnections | ClusterClient | None = None if cluster else ThreadConnections(host)
        self._async: dict[asyncio.AbstractEventLoop, LoopConnections | AsyncClusterClient] = {}

    @classmethod
    def of(cls, entry: object, *, cluster: bool = False) -> RedisLink:
        """The link of one entry of a layer's ``hosts``."""
        return cls(decode_host(entry), cluster=cluster)

    def __str__(self) -> str:
        return describe(self.host)

    # -- from any thread ----------------------------------------------------------------------------------

    @property
    def sync(self) -> ThreadConnections | ClusterClient:
        """Those of this process's threads."""
        if self._sync is None:
            self._sync = ClusterClient(self.host)  # which connects as it is made
        return self._sync

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        try:
            return self.sync.ask("EVALSHA", script.sha, len(keys), *keys, *args)
        except NoScriptError:
            return self.sync.ask("EVAL", script.source, len(keys), *keys, *args)

    def learn(self, clock: StoreClock, key: str) -> None:
        """One reading of the clock of the server that has `key`."""
        for left in reversed(range(clock.TRIES)):
            before = clock.ticks()
            reading = self.run(TIME, [key], ())
            if clock.learn(before, _nanoseconds(reading), clock.ticks(), last=not left):
                break

    # -- from an event loop -------------------------------------------------------------------------------

    @property
    def here(self) -> LoopConnections | AsyncClusterClient:
        """Those of the running event loop: connections belong to one, and go with it."""
        loop = asyncio.get_running_loop()
        connections = self._async.get(loop)
        if connections is None:
            connections = AsyncClusterClient(self.host) if self._cluster else LoopConnections(self.host)
            self._async[loop] = connections
            # As channels_redis does: a loop that ends (async_to_sync makes one a call) takes its connections along.
            loop.close = functools.partial(self._close_with, loop, loop.close)  # type: ignore[method-assign]
        return connections

    def _close_with(self, loop: asyncio.AbstractEventLoop, close: Callable[[], None]) -> None:
        connections = self._async.pop(loop, None)
        if connections is not None and not loop.is_closed():
            loop.run_until_complete(connections.aclose())
        close()

    async def arun(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        try:
            return await self.here.ask("EVALSHA", script.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await self.here.ask("EVAL", script.source, len(keys), *keys, *args)

    async def alearn(self, clock: StoreClock, key: str) -> None:
        """As `learn`."""
        for left in reversed(range(clock.TRIES)):
            before = clock.ticks()
            reading = await self.arun(TIME, [key], ())
            if clock.learn(before, _nanoseconds(reading), clock.ticks(), last=not left):
                break

    async def aclose(self) -> None:
        """Let this event loop's connections go."""
        connections = self._async.pop(asyncio.get_running_loop(), None)
        if connections is not None:
            await connections.aclose()


def _nanoseconds(reading: tuple[bytes, bytes]) -> int:
    return (int(reading[0]) * 1_000_000 + int(reading[1])) * 1_000
