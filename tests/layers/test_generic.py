"""Any channel layer, through its public API: each message by itself, however long the others took."""

from __future__ import annotations

from typing import Any

import pytest
from channels.exceptions import ChannelFull

from delayserver.clock import NANOSECONDS_PER_MS
from delayserver.layers.base import Delivered, Delivery, Full, Late
from delayserver.layers.generic import GenericLayer
from delayserver.message import Target

from ..support.clock import FakeClock


class SlowChannelLayer:
    """Takes 100 ms a message by `clock`; full after `capacity`."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.capacity, self.sent = clock, 100, list[int]()

    async def send(self, name: str, content: dict[str, Any]) -> None:
        self.clock.advance(100)
        if len(self.sent) >= self.capacity:
            raise ChannelFull
        self.sent.append(content["n"])

    group_send = send


@pytest.fixture
def channel_layer(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> SlowChannelLayer:
    monkeypatch.setattr("delayserver.layers.generic.ticks", lambda: clock.now() * NANOSECONDS_PER_MS)
    return SlowChannelLayer(clock)


def batch(target: Target, clock: FakeClock, *deadlines: int) -> list[Delivery]:
    """Messages with numbers, each until so many ms from now."""
    return [
        Delivery(target, {"type": "probe", "n": n}, (clock.now() + ms) * NANOSECONDS_PER_MS)
        for n, ms in enumerate(deadlines)
    ]


@pytest.mark.parametrize("target", [Target("channel", "sink"), Target("group", "listeners")])
async def test_the_time_is_looked_at_right_before_each_send(
    channel_layer: SlowChannelLayer, clock: FakeClock, target: Target
) -> None:
    layer = GenericLayer(channel_layer)
    await layer.open()
    outcomes = await layer.deliver(target, batch(target, clock, 200, 200, 200, 30_000, 250))
    assert outcomes == [Delivered(), Delivered(), Late(), Delivered(), Late()]
    assert channel_layer.sent == [0, 1, 3]


async def test_nothing_overtakes_what_met_a_full_channel(channel_layer: SlowChannelLayer, clock: FakeClock) -> None:
    layer = GenericLayer(channel_layer)
    await layer.open()
    channel_layer.capacity = 1
    target = Target("channel", "sink")
    outcomes = await layer.deliver(target, batch(target, clock, 30_000, 50, 30_000, 30_000))
    assert outcomes == [Delivered(), Late(), Full(), Full()]
