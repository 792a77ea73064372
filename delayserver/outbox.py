"""What this process sends on the layer itself, in batches: what is added while one is under way goes with the next.

So any number of callers need one connection, where `channel_layer.send` would take four round trips for each; and a
full channel makes its senders wait, each until its own time is over, in their order.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from .clock import ticks
from .conf import get_settings
from .content import Content
from .layers import get_layer
from .layers.base import Delivery, Failed, Full, Late, Layer, Outcome
from .message import Target

MAX_BATCH = 64
AGAIN_SECONDS = 0.05


class Item(NamedTuple):
    """One message, who waits to hear of it, and whether a layer that is away is waited for, too."""

    delivery: Delivery
    outcome: asyncio.Future[Outcome]
    insists: bool

    def waits_after(self, outcome: Outcome) -> bool:
        kinds = Full | Failed if self.insists else Full
        return isinstance(outcome, kinds) and ticks() < self.delivery.until


class Outbox:
    """The one of an event loop, made by `outbox`."""

    def __init__(self, layer: Layer) -> None:
        self.source = layer
        self._layer = copy.copy(layer)  # with turns of its own: those of the original belong to another event loop
        self._opening: asyncio.Task[None] | None = None
        self._queues: dict[Target, deque[Item]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, target: Target, content: Content, seconds: float, *, insists: bool = False) -> Outcome:
        """Put a message on its target, within so many seconds."""
        loop = asyncio.get_running_loop()
        delivery = Delivery(target, content, ticks() + int(seconds * 1e9))
        item = Item(delivery, loop.create_future(), insists)
        if target in self._queues:
            self._queues[target].append(item)
        else:
            self._queues[target] = deque([item])
            task = loop.create_task(self._drain(target), name="delayserver outbox")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await item.outcome

    async def _drain(self, target: Target) -> None:
        """Until nothing is left for it."""
        queue, size = self._queues[target], MAX_BATCH
        try:
            while batch := _take(queue, size):
                outcomes = await self._deliver([item.delivery for item in batch])
                waiting = [item for item, outcome in zip(batch, outcomes, strict=True) if not _settle(item, outcome)]
                queue.extendleft(reversed(waiting))
                size = 1 if waiting else min(2 * size, MAX_BATCH)  # how much room there is, nobody knows
                if waiting:
                    await asyncio.sleep(AGAIN_SECONDS)
        finally:
            del self._queues[target]
            for item in queue:
                _settle(item, Late())

    async def _deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        try:
            if self._opening is None:
                self._opening = asyncio.create_task(self._layer.open())
            await self._opening
            return await self._layer.deliver(self._layer.lane(batch[0].target), batch)
        except Exception as error:  # noqa: BLE001  a project's own layer may raise anything
            return [Failed(error)] * len(batch)


def _take(queue: deque[Item], size: int) -> list[Item]:
    """The next of them, without those that nobody waits for any more."""
    batch: list[Item] = []
    while queue and len(batch) < size:
        item = queue.popleft()
        if not item.outcome.done():
            batch.append(item)
    return batch


def _settle(item: Item, outcome: Outcome) -> bool:
    """Tell who waits for it; False where it shall be tried again."""
    if item.waits_after(outcome):
        return False
    if not item.outcome.done():
        item.outcome.set_result(outcome)
    return True


_outboxes: WeakKeyDictionary[asyncio.AbstractEventLoop, Outbox] = WeakKeyDictionary()


def outbox() -> Outbox:
    """That of the running event loop, for the layer that messages go out on."""
    loop, layer = asyncio.get_running_loop(), get_layer(get_settings().channel_layer)
    found = _outboxes.get(loop)
    if found is None or found.source is not layer:
        found = _outboxes[loop] = Outbox(layer)
    return found


def why_not(outcome: Outcome, target: Target) -> str:
    """A sentence of what did not become `Delivered`."""
    match outcome:
        case Full() | Late():
            return f"channel {target.name} is full"
        case Failed(error):
            return f"the channel layer could not be reached ({type(error).__name__})"
    return getattr(outcome, "reason", type(outcome).__name__)
