"""A connection to Redis that waits for word."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import redis.asyncio

from .events import LISTENER_LOST, emit
from .redis_hosts import COMMAND_SECONDS, Host, close_pool, new_pool

QUIET_SECONDS = 15.0
RECONNECT_SECONDS = (0.05, 0.2, 0.5, 1.0)


class Listener:
    """A connection that waits for word: of a pub/sub channel, or that a key has changed.

    Word of a key is client-side caching's (``CLIENT TRACKING ... BCAST``, Redis 6): the server tells us of every
    change to keys that begin with one of `prefixes`, so nothing has to be read to be waited for. `ring` is called for
    every word, and once after each (re)connection, since words may have been missed. `hears` is False while there is
    no connection, or where the server refuses tracking: then one must poll.
    """

    def __init__(
        self, host: Host, ring: Callable[[], None], *, channel: str | None = None, prefixes: Sequence[str] = ()
    ) -> None:
        self._host, self._ring, self._channel = host, ring, channel
        # Redis refuses one that begins with another.
        self._prefixes = [one for one in set(prefixes) if not any(one != p and one.startswith(p) for p in prefixes)]
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
        pool = new_pool(self._host, redis.asyncio, socket_timeout=None)
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
            await close_pool(pool)

    async def _subscribe(self, connection: Any) -> None:
        channels = [self._channel] if self._channel else []
        if self._prefixes:
            own_id = await _ask(connection, "CLIENT", "ID")
            wanted = [part for prefix in self._prefixes for part in ("PREFIX", prefix)]
            await _ask(connection, "CLIENT", "TRACKING", "ON", "REDIRECT", own_id, "BCAST", *wanted)
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
