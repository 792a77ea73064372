"""Connections to Redis, with timeouts of our own, and Lua as typed, bounded acts.

redis-py 8 gives every connection a 5 s `socket_timeout`; channels_redis wants none on its own, and a project says so
in ``hosts``. Neither suits us: a command of ours is quick or has failed, and a listening connection may be quiet for
ever but is pinged.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import importlib.resources
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.sentinel
import redis.cluster
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from .clock import StoreClock
from .events import LISTENER_LOST, emit

__all__ = ["ChannelFormat", "Listener", "RedisError", "RedisLink", "ResponseError", "Script", "decode_host"]

COMMAND_SECONDS = 5.0
MAX_CONNECTIONS = 50  # of one client; whoever finds them all in use waits for one
QUIET_SECONDS = 15.0
RECONNECT_SECONDS = (0.05, 0.2, 0.5, 1.0)

Host = Mapping[str, Any]


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


def decode_host(entry: object) -> Host:
    """One entry of a layer's ``hosts``, in any of the forms channels_redis knows, as keyword arguments."""
    if isinstance(entry, Mapping):
        return entry
    if isinstance(entry, (tuple, list)):
        return {"host": entry[0], "port": entry[1]}
    return {"address": entry}


def describe(host: Host) -> str:
    """The host for people: no user, no password."""
    if "address" in host:
        url = urlsplit(str(host["address"]))
        place = f"{url.hostname or ''}{f':{url.port}' if url.port else ''}"
        return f"{url.scheme}://{place}{url.path}"
    if "master_name" in host:
        return f"sentinel://{host['master_name']}"
    return f"redis://{host.get('host', 'localhost')}:{host.get('port', 6379)}/{host.get('db', 0)}"


def _place(host: Host) -> str:
    """The server and database this leads to: equal for two entries that say the same in other words."""
    if "master_name" in host:
        return f"{describe(host)} {host.get('sentinels')}/{host.get('db', 0)}"
    if "address" not in host:
        return f"redis://{host.get('host', 'localhost')}:{host.get('port', 6379)}/{host.get('db', 0)}"
    url = urlsplit(str(host["address"]))
    if url.scheme == "unix":
        return str(host["address"])
    database = parse_qs(url.query).get("db", [url.path.strip("/") or host.get("db", 0)])[0]
    return f"redis://{url.hostname or 'localhost'}:{url.port or 6379}/{database}"


def _pool(host: Host, kit: Any, **options: Any) -> Any:
    """A connection pool of `kit` (redis or redis.asyncio) for a host, read as channels_redis reads it."""
    kwargs = {
        **host,
        "socket_connect_timeout": COMMAND_SECONDS,
        "socket_keepalive": True,
        "protocol": 2,
        **options,
    }
    address = kwargs.pop("address", None)
    if address is not None:
        return kit.BlockingConnectionPool.from_url(address, timeout=COMMAND_SECONDS, **kwargs)
    master = kwargs.pop("master_name", None)
    if master is not None:
        sentinel = kit.sentinel.Sentinel(kwargs.pop("sentinels"), sentinel_kwargs=kwargs.pop("sentinel_kwargs", None))
        return kit.sentinel.SentinelConnectionPool(master, sentinel, **kwargs)
    return kit.BlockingConnectionPool(timeout=COMMAND_SECONDS, **kwargs)


def _bounded(kit: Any) -> dict[str, Any]:
    """What a client's pool adds: bounds, and no retries.

    An answer can be lost after the act was done, so to repeat it blindly could do it twice. Loops try again by
    themselves, and callers are told.
    """
    retry = (AsyncRetry if kit is redis.asyncio else Retry)(NoBackoff(), 0)
    return {"retry": retry, "socket_timeout": COMMAND_SECONDS, "max_connections": MAX_CONNECTIONS}


class Script:
    """A Lua act: files of ``stores/lua``, first what it stands on, run by the hash of all."""

    def __init__(self, *names: str) -> None:
        folder = importlib.resources.files(__package__) / "stores" / "lua"
        self.source = "".join((folder / f"{name}.lua").read_text() for name in names)
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


async def _aclose(client: Any) -> None:
    """A client with its pool, and with the clients of the Sentinels that the pool asks."""
    await client.aclose()
    sentinel = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    for one in sentinel.sentinels if sentinel else ():
        await one.aclose()


TIME = Script("time")


def _client(host: Host, kit: Any, *, cluster: bool) -> Any:
    if not cluster:
        return kit.Redis.from_pool(_pool(host, kit, **_bounded(kit)))
    options = {**host, "socket_timeout": COMMAND_SECONDS, "protocol": 2}
    return kit.RedisCluster.from_url(options.pop("address"), **options)


class RedisLink:
    """The way to one Redis, or Redis Cluster: a sync client for callers' threads, an async one for each event loop.

    `place` names the server and database, equal for two links that lead to the same; a cluster has none.
    """

    def __init__(self, host: Host, *, cluster: bool = False) -> None:
        self.host, self._cluster = host, cluster
        self.place = None if cluster else _place(host)
        self._sync: Any = None
        self._async: dict[asyncio.AbstractEventLoop, Any] = {}

    @classmethod
    def of(cls, entry: object, *, cluster: bool = False) -> RedisLink:
        """The link of one entry of a layer's ``hosts``."""
        return cls(decode_host(entry), cluster=cluster)

    def __str__(self) -> str:
        return describe(self.host)

    @property
    def sync(self) -> Any:
        if self._sync is None:
            self._sync = _client(self.host, redis, cluster=self._cluster)
        return self._sync

    @property
    def here(self) -> Any:
        """The client of the running event loop: connections belong to one, and go with it."""
        loop = asyncio.get_running_loop()
        client = self._async.get(loop)
        if client is None:
            client = self._async[loop] = _client(self.host, redis.asyncio, cluster=self._cluster)
            # As channels_redis does: a loop that ends (async_to_sync makes one a call) takes its connections along.
            loop.close = functools.partial(self._close_with, loop, loop.close)  # type: ignore[method-assign]
        return client

    def _close_with(self, loop: asyncio.AbstractEventLoop, close: Callable[[], None]) -> None:
        client = self._async.pop(loop, None)
        if client is not None and not loop.is_closed():
            loop.run_until_complete(_aclose(client))
        close()

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        try:
            return self.sync.evalsha(script.sha, len(keys), *keys, *args)
        except NoScriptError:
            return self.sync.eval(script.source, len(keys), *keys, *args)

    async def arun(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        client = self.here
        try:
            return await client.evalsha(script.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await client.eval(script.source, len(keys), *keys, *args)

    def learn(self, clock: StoreClock, key: str) -> None:
        """One reading of the clock of the server that has `key`."""
        before = clock.ticks()
        reading = self.run(TIME, [key], ())
        clock.learn(before, _nanoseconds(reading), clock.ticks())

    async def alearn(self, clock: StoreClock, key: str) -> None:
        """As `learn`."""
        before = clock.ticks()
        reading = await self.arun(TIME, [key], ())
        clock.learn(before, _nanoseconds(reading), clock.ticks())

    async def aclose(self) -> None:
        """Let this event loop's connections go."""
        client = self._async.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await _aclose(client)


def _nanoseconds(reading: tuple[bytes, bytes]) -> int:
    return (int(reading[0]) * 1_000_000 + int(reading[1])) * 1_000


class Listener:
    """A connection that waits for word: of a pub/sub channel, or that a key has changed.

    Word of a key is client-side caching's (``CLIENT TRACKING ... BCAST``, Redis 6): the server tells us of every
    change to keys that begin with `prefix`, so nothing has to be read to be waited for. `ring` is called for every
    word, and once after each (re)connection, since words may have been missed. `hears` is False while there is no
    connection, or where the server refuses tracking: then one must poll.
    """

    def __init__(
        self, host: Host, ring: Callable[[], None], *, channel: str | None = None, prefix: str | None = None
    ) -> None:
        self._host, self._ring, self._channel, self._prefix = host, ring, channel, prefix
        self._task: asyncio.Task[None] | None = None
        self.hears = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._listen_for_ever(), name="delayserver listener")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _listen_for_ever(self) -> None:
        failures = 0
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001  whatever it was, we listen again
                failures = 0 if self.hears else failures + 1
                self.hears = False
                emit(LISTENER_LOST, error=error)
                await asyncio.sleep(RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)])

    async def _listen(self) -> None:
        pool = _pool(self._host, redis.asyncio, **{**_bounded(redis.asyncio), "socket_timeout": None})
        try:
            connection: Any = await pool.get_connection()
            try:
                await self._subscribe(connection)
                self.hears = True
                self._ring()
                while True:
                    await self._next_word(connection)
                    self._ring()
            finally:
                await pool.release(connection)
        finally:
            await pool.aclose()

    async def _subscribe(self, connection: Any) -> None:
        channels = [self._channel] if self._channel else []
        if self._prefix is not None:
            own_id = await _ask(connection, "CLIENT", "ID")
            await _ask(
                connection,
                *("CLIENT", "TRACKING", "ON", "REDIRECT", own_id, "BCAST", "PREFIX", self._prefix),
            )
            channels.append("__redis__:invalidate")
        async with asyncio.timeout(COMMAND_SECONDS):
            await connection.send_command("SUBSCRIBE", *channels)
            for _ in channels:
                await connection.read_response()

    async def _next_word(self, connection: Any) -> None:
        """Wait for a word; ping a connection that is quiet, and give up one that does not answer."""
        quiet = 0
        while True:
            try:
                async with asyncio.timeout(QUIET_SECONDS):
                    word = await connection.read_response(disconnect_on_error=False)
            except TimeoutError:
                quiet += 1
                if quiet > 1:
                    raise ConnectionError("the listening connection does not answer") from None
                await connection.send_command("PING")
                continue
            quiet = 0
            if word[0] == b"message":
                return


async def _ask(connection: Any, *command: Any) -> Any:
    async with asyncio.timeout(COMMAND_SECONDS):
        await connection.send_command(*command)
        return await connection.read_response()
