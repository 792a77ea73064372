"""The connections of a process, or of an event loop, to one Redis.

redis-py's own client does the same, but takes much longer for it: its pool, its timers around each half of a command
and its metrics cost more than a command of ours takes in Redis.
"""

from __future__ import annotations

import asyncio
import os
import threading
from queue import Empty, SimpleQueue
from typing import Any

import redis
import redis.asyncio
from redis.exceptions import RedisError, ResponseError

from .redis_hosts import COMMAND_SECONDS, MAX_CONNECTIONS, Host, close_pool, new_pool

try:
    from hiredis import pack_command as _pack
except ImportError:
    _pack = None  # type: ignore[assignment]

SWEEP_SECONDS = 1.0


def _packed(connection: Any, command: tuple[Any, ...]) -> Any:
    return [_pack(command)] if _pack is not None else connection.pack_command(*command)


def _is_closed(connection: Any) -> bool:
    """Whether Redis has closed it while it was idle: a reply that nobody asked for is not good either."""
    try:
        return bool(connection.can_read(0))
    except (RedisError, OSError):
        return True


class ThreadConnections:
    """Those of a process's threads: each command has one to itself. They do not outlive a fork."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._begin()

    def _begin(self) -> None:
        self._pool = new_pool(self._host, redis)
        self._idle: SimpleQueue[Any] = SimpleQueue()
        self._made, self._making = 0, threading.Lock()
        self._process = os.getpid()  # last: another thread of this process may come meanwhile

    def ask(self, *command: Any) -> Any:
        """Redis's reply, in bytes; `ResponseError`, or another `RedisError` or `OSError` where there was none."""
        if self._process != os.getpid():
            self._begin()  # the others are the parent's
        idle = self._idle
        try:
            connection = idle.get_nowait()
        except Empty:
            connection = self._make_or_wait()
        try:
            return self._ask(connection, command)
        except ResponseError:
            raise
        except BaseException:
            connection.disconnect()  # a reply may still come
            raise
        finally:
            idle.put(connection)  # also a closed one: the pool counts what it has made

    def _make_or_wait(self) -> Any:
        with self._making:
            if self._made < MAX_CONNECTIONS:
                connection = self._pool.make_connection()
                self._made += 1
                return connection
        try:
            return self._idle.get(timeout=COMMAND_SECONDS)
        except Empty:
            sentence = f"all {MAX_CONNECTIONS} connections were in use for {COMMAND_SECONDS} s"
            raise redis.ConnectionError(sentence) from None

    def _ask(self, connection: Any, command: tuple[Any, ...]) -> Any:
        if connection._sock is not None and _is_closed(connection):
            connection.disconnect()
        if connection._sock is None:
            connection.connect()  # to send would connect too, but not ask a Sentinel first
        connection.send_packed_command(_packed(connection, command), check_health=False)
        return connection.read_response()


class LoopConnections:
    """Those of one event loop."""

    def __init__(self, host: Host) -> None:
        self._loop = asyncio.get_running_loop()
        self._pool = new_pool(host, redis.asyncio, socket_timeout=None)  # who is too slow is told by `_sweep`
        self._idle: asyncio.LifoQueue[Any] = asyncio.LifoQueue()
        self._made, self._closed = 0, False
        self._asked: dict[Any, float] = {}  # the connections in use, and since when
        self._sweeping: asyncio.TimerHandle | None = None

    async def ask(self, *command: Any) -> Any:
        """Redis's reply, in bytes; `ResponseError`, or another `RedisError` or `OSError` where there was none."""
        connection = await self._take()
        try:
            if not connection.is_connected:
                async with asyncio.timeout(COMMAND_SECONDS):
                    await connection.connect()
            self._asked[connection] = self._loop.time()
            if self._sweeping is None:
                self._sweeping = self._loop.call_later(SWEEP_SECONDS, self._sweep)
            await connection.send_packed_command(_packed(connection, command), check_health=False)
            return await connection.read_response()
        except ResponseError:
            raise
        except BaseException:
            await connection.disconnect(nowait=True)  # a reply may still come
            raise
        finally:
            self._asked.pop(connection, None)
            if self._closed:
                await connection.disconnect(nowait=True)
            self._idle.put_nowait(connection)

    async def _take(self) -> Any:
        """One that is idle, or a new one; when there are too many, the next that becomes idle."""
        if self._idle.empty() and self._made < MAX_CONNECTIONS:
            self._made += 1
            return self._pool.make_connection()
        if self._idle.empty():
            async with asyncio.timeout(COMMAND_SECONDS):
                connection = await self._idle.get()
        else:
            connection = self._idle.get_nowait()
        if connection.is_connected and connection._reader.at_eof():  # Redis has closed it meanwhile
            await connection.disconnect(nowait=True)
        return connection

    def _sweep(self) -> None:
        """Cut off what has waited too long for a reply: one timer for all, since a timer for each command is dear."""
        for connection, since in self._asked.items():
            if self._loop.time() - since > COMMAND_SECONDS and connection._writer is not None:
                connection._writer.transport.abort()
        self._sweeping = self._loop.call_later(SWEEP_SECONDS, self._sweep) if self._asked else None

    async def aclose(self) -> None:
        """Those in use are closed when they have their reply."""
        self._closed = True
        if self._sweeping is not None and not self._asked:
            self._sweeping.cancel()
        while not self._idle.empty():
            await self._idle.get_nowait().disconnect()
        await close_pool(self._pool)
