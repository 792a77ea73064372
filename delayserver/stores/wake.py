"""What rings where something earlier than expected was put."""

from __future__ import annotations

import asyncio


class Wake:
    """An alarm in this process: `ring` from any thread, `wait` in the server's loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event: asyncio.Event | None = None

    def bind(self) -> None:
        self._loop, self._event = asyncio.get_running_loop(), asyncio.Event()

    def unbind(self) -> None:
        self._loop = self._event = None

    def ring(self) -> None:
        loop, event = self._loop, self._event
        if loop is None or event is None or loop.is_closed():
            return
        loop.call_soon_threadsafe(event.set)

    async def wait(self) -> None:
        assert self._event is not None, "the store is not open"
        await self._event.wait()
        self._event.clear()
