"""Pollers whose work is done after so many steps, and which write down when each of them ran."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from delayserver.backoff import Retry
from delayserver.consumers import Again, Done, PollingConsumer

FILE = "DELAYSERVER_TEST_STEPS"
EVERY_MS = 200


class Export(PollingConsumer):
    """A step adds one to what is known of it; nothing else remembers how far it is."""

    every = timedelta(milliseconds=EVERY_MS)

    async def poller_step(self, message: Mapping[str, Any]) -> Any:
        late = time.time() * 1000 - message["__delay__"]["due"]
        note(message["progress"], message["step"], late)
        return await super().poller_step(message)

    async def poll(self, job: dict[str, Any]) -> Done | Again:
        step = int(self.work.current or 0) + 1
        if step == job.get("breaks_at"):
            raise RuntimeError("disk full, password=hunter2\nsecond line")
        await self.progress(step, job["steps"], text=f"{job['name']}, step {step}")
        return Done(result=job["name"]) if step == job["steps"] else Again()


class Frail(Export):
    """It is tried once more, and soon."""

    retry = Retry(max_attempts=2, backoff=timedelta(milliseconds=50))


def note(id: str, step: int, late: float) -> None:
    path = os.environ.get(FILE)
    if path:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{id} {step} {late:.2f}\n".encode())
        os.close(file)
