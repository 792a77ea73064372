"""What Channels itself needs to hand messages to a consumer: a process that does only that, from memory.

``python -m benchmarks.dispatch NUMBER`` prints how many a second. One call of the application for each message, one
after the other, with stock Channels and no channel layer: its in-memory one is slower by far, since each consumer
listens on a channel of its own there. Nothing of `delayserver` is in the way.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import MutableMapping
from typing import Any

from channels.exceptions import StopConsumer

from .parts import CHANNEL, payload

WARM = 200


class Receive:
    """Gives one message; when it is asked for another, there is none, and its consumer ends."""

    def __init__(self) -> None:
        self._messages = [payload()]

    async def __call__(self) -> MutableMapping[str, Any]:
        if not self._messages:
            raise StopConsumer
        return self._messages.pop()


async def send(message: MutableMapping[str, Any]) -> None:
    """Nobody listens."""


async def dispatched(number: int) -> float:
    """Messages a second."""
    from .consumer import application

    receivers = [Receive() for _ in range(number)]
    start = time.perf_counter()
    for receive in receivers:
        await application({"type": "channel", "channel": CHANNEL}, receive, send)
    return number / (time.perf_counter() - start)


async def main(number: int) -> None:
    await dispatched(WARM)
    print(f"{await dispatched(number):.1f}", flush=True)


if __name__ == "__main__":
    import django

    django.setup()
    asyncio.run(main(int(sys.argv[1])))
