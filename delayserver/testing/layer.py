"""The in-memory channel layer: what lies on it, what a hand-over put there, and ``asgi.delay``."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from channels.layers import InMemoryChannelLayer

from ..clock import microseconds
from ..content import Content
from ..layers.base import Arrived, Delivery, Full, Inbox, Outcome
from ..layers.base import Delivered as OnTarget
from ..layers.generic import GenericLayer, _arrived
from ..message import at_instant


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message that was handed over: `at` which instant (UTC), to a channel or a group, with which content."""

    at: datetime
    channel: str | None
    group: str | None
    content: Content


class RecordingLayer(GenericLayer):
    """Keeps in `delivered` what is on its target, in `full` the backlogs of targets that take no more.

    `now` is the instant of it, in milliseconds since the epoch. The clock stands still there, so that nothing is late.
    """

    def __init__(self, channel_layer: InMemoryChannelLayer, now: int) -> None:
        super().__init__(channel_layer)
        self.delivered: list[Delivered] = []
        self.full: set[str] = set()
        self._now = now

    async def deliver(self, lane: Hashable, batch: Sequence[Delivery]) -> list[Outcome]:
        outcomes = await super().deliver(lane, [delivery._replace(until=sys.maxsize) for delivery in batch])
        for (target, content, _), outcome in zip(batch, outcomes, strict=True):
            match outcome:
                case OnTarget():
                    channel = target.name if target.kind == "channel" else None
                    group = target.name if target.kind == "group" else None
                    self.delivered.append(Delivered(at_instant(self._now), channel, group, content))
                case Full():
                    self.full.add(self.backlog_of(target))
        return outcomes


class Doorstep(Inbox):
    """What lies on a channel of the in-memory layer at this moment, for `Intake` to read without waiting."""

    _order = itertools.count(microseconds())  # for ids: two that came in one microsecond keep their order

    def __init__(self, channel_layer: InMemoryChannelLayer, channel: str) -> None:
        self._layer, self._channel = channel_layer, channel

    async def open(self, wake: Callable[[], None]) -> None:
        pass

    async def read(self, limit: int, *, claim: bool) -> Sequence[Arrived]:
        arrived: list[Arrived] = []
        while len(arrived) < limit and lies_on(self._layer, self._channel):
            content = await self._layer.receive(self._channel)
            arrived.append(replace(_arrived(content), sent_at=next(self._order)))
        return arrived

    async def discard(self, arrived: Sequence[Arrived]) -> None:
        """Reading took it from the channel."""

    async def aclose(self) -> None:
        pass


def lies_on(channel_layer: Any, channel: str) -> bool:
    """Whether a message lies on a channel of the in-memory layer."""
    queue = channel_layer.channels.get(channel)
    return queue is not None and not queue.empty()
