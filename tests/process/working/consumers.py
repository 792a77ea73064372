"""What the tests' messages do to the worker that runs them, by their `type`; `ms` is how long they take."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

from channels.consumer import AsyncConsumer, SyncConsumer

from delayserver.consumers import AckingMixin, Again, Fail

from .journal import note, noted

Message = dict[str, Any]


class Plain(AsyncConsumer):  # type: ignore[misc]  # without types
    async def probe(self, message: Message) -> None:
        with noted(self.scope["channel"], message):
            await asyncio.sleep(message.get("ms", 0) / 1000)

    async def in_thread(self, message: Message) -> None:
        with noted(self.scope["channel"], message):
            await asyncio.to_thread(time.sleep, message.get("ms", 0) / 1000)

    async def raises(self, message: Message) -> None:
        with noted(self.scope["channel"], message):
            raise RuntimeError("broken on purpose")

    async def exits(self, message: Message) -> None:
        note("began", self.scope["channel"], message)
        os._exit(1)

    async def kills(self, message: Message) -> None:
        note("began", self.scope["channel"], message)
        os.kill(os.getpid(), signal.SIGKILL)


class Blocking(SyncConsumer):  # type: ignore[misc]  # without types
    def probe(self, message: Message) -> None:
        with noted(self.scope["channel"], message):
            time.sleep(message.get("ms", 0) / 1000)


class Acking(AckingMixin, AsyncConsumer):  # type: ignore[misc]  # without types
    seen: set[int] = set()

    async def probe(self, message: Message) -> None:
        with noted("acking", message):
            pass

    async def raises_twice(self, message: Message) -> None:
        with noted("acking", message):
            if message["__delay__"]["attempt"] < 3:
                raise RuntimeError("broken on purpose")

    async def waits_once(self, message: Message) -> Again | None:
        with noted("acking", message):
            first = message["n"] not in self.seen
            self.seen.add(message["n"])
            return Again(delay=10) if first else None

    async def fails(self, message: Message) -> None:
        with noted("acking", message):
            raise Fail("it can never be done")
