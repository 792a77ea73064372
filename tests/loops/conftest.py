"""A store in memory, a layer in the test's hand, and a clock that stands still: `run_once` without any loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Sequence
from typing import Any

import pytest

from delayserver.clock import NANOSECONDS_PER_MS
from delayserver.content import Content
from delayserver.layers.base import Arrived, Delivered, Delivery, Full, Inbox, Late, Layer, Outcome, Source
from delayserver.message import Message, Target
from delayserver.stores.memory import MemoryStore

from ..support.clock import FakeClock

MAX_BYTES = 10_000


class FakeLayer(Layer):
    """Keeps what it is given in `sent`, at most `capacity` a target; `outcomes` says what befalls the next ones.

    Each takes `send_ms` by `clock`, which also makes the ticks.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.send_ms = clock, 0
        self.sent: list[Delivery] = []
        self.capacity: int | None = 1_000
        self.outcomes: list[Outcome | Exception] = []
        self.fake_inbox = FakeInbox()

    def check(self, content: Content) -> None:
        pass

    async def open(self) -> None:
        pass

    def lane(self, target: Target) -> Hashable:
        return target

    def ticks(self) -> int:
        return self.clock.now() * NANOSECONDS_PER_MS

    async def deliver(self, lane: Hashable, batch: Sequence[Delivery]) -> list[Outcome]:
        return [self._deliver(delivery) for delivery in batch]

    def _deliver(self, delivery: Delivery) -> Outcome:
        if self.ticks() >= delivery.until:
            return Late()
        self.clock.advance(self.send_ms)
        outcome = self.outcomes.pop(0) if self.outcomes else Delivered()
        if isinstance(outcome, Exception):
            raise outcome
        if self.capacity is not None and self._number_on(delivery.target) >= self.capacity:
            outcome = Full()
        if isinstance(outcome, Delivered):
            self.sent.append(delivery)
        return outcome

    def _number_on(self, target: Target) -> int:
        return sum(sent.target == target for sent in self.sent)

    def sources(self, channels: Sequence[str]) -> Sequence[Source]:
        raise NotImplementedError

    def inboxes(self, channel: str, max_bytes: int) -> Sequence[Inbox]:
        return [self.fake_inbox]

    async def aclose(self) -> None:
        pass


class FakeInbox(Inbox):
    """What a test puts into `there` lies on the channel until it is discarded."""

    keeps = True

    def __init__(self) -> None:
        self.there: list[Arrived] = []

    def arrive(self, content: object) -> None:
        raw = repr(content).encode()
        self.there.append(Arrived(raw, raw, sent_at=len(self.there), content=content))

    async def open(self, wake: Callable[[], None]) -> None:
        pass

    async def read(self, limit: int, *, claim: bool) -> Sequence[Arrived]:
        return self.there[:limit]

    async def discard(self, arrived: Sequence[Arrived]) -> None:
        self.there = [one for one in self.there if one not in arrived]

    async def aclose(self) -> None:
        pass


@pytest.fixture
def layer(clock: FakeClock) -> Iterator[FakeLayer]:
    layer = FakeLayer(clock)
    with pytest.MonkeyPatch.context() as patched:  # and not the test's own, which it may undo
        patched.setattr("delayserver.loops.delivering.ticks", layer.ticks)
        yield layer


@pytest.fixture
async def store(clock: FakeClock) -> AsyncIterator[MemoryStore]:
    store = MemoryStore(clock=clock)
    await store.open()
    yield store
    await store.aclose()


def put(store: MemoryStore, n: int = 0, *, channel: str = "sink", delay: int = 0, **options: Any) -> str:
    """Put ``{"type": "probe", "n": n}`` for `channel`; its id."""
    message = Message(channel=channel, content={"type": "probe", "n": n}, delay=delay, **options)
    return store.put([message.waiting(store.clock, MAX_BYTES)])[0].id


def numbers(layer: FakeLayer, channel: str = "sink") -> list[int]:
    return [sent.content["n"] for sent in layer.sent if sent.target.name == channel]
