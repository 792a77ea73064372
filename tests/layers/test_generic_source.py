"""Worker channels of any layer: one `receive` for each, which is not begun without room and loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer

from delayserver.layers import generic_source
from delayserver.layers.base import Desired, Taken
from delayserver.layers.generic_source import GenericSource

from ..support.wait import await_for

PATIENCE = 10.0


@pytest.fixture
def channel_layer() -> InMemoryChannelLayer:
    return InMemoryChannelLayer()


@pytest.fixture
async def source(channel_layer: InMemoryChannelLayer) -> AsyncIterator[GenericSource]:
    source = GenericSource(channel_layer, ["a", "b"])
    await source.open(lambda: None)
    yield source
    await source.aclose()


async def send(layer: InMemoryChannelLayer, channel: str, *numbers: int) -> None:
    for n in numbers:
        await layer.send(channel, {"type": "probe", "n": n})


async def take(source: GenericSource, *desired: Desired, number: int, most: int = 100) -> list[int]:
    found: list[Taken] = []

    async def look() -> bool:
        left = [Desired(one.channel, one.most - sum(t.channel == one.channel for t in found)) for one in desired]
        found.extend((await source.turn((), left, most - len(found), over=True)).taken)
        return len(found) >= number

    await await_for(look, PATIENCE, f"{number} messages")
    return [one.content["n"] for one in found]  # type: ignore[index]


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_what_there_is_room_for_is_taken_in_order_and_the_rest_stays_on_the_channel(
    source: GenericSource, channel_layer: InMemoryChannelLayer
) -> None:
    await send(channel_layer, "a", *range(10))
    assert await take(source, Desired("a", 4), number=4) == [0, 1, 2, 3]
    await settled()
    assert channel_layer.channels["a"].qsize() >= 10 - 4 - 1  # one may be on its way
    assert await take(source, Desired("a", 100), number=6) == [4, 5, 6, 7, 8, 9]


async def test_never_more_than_most_in_all(source: GenericSource, channel_layer: InMemoryChannelLayer) -> None:
    await send(channel_layer, "a", 0, 1, 2)
    await send(channel_layer, "b", 0, 1, 2)
    assert len(await take(source, Desired("a", 3), Desired("b", 3), number=4, most=4)) == 4


async def test_what_was_received_and_not_taken_is_on_the_channel_again_at_the_end(
    channel_layer: InMemoryChannelLayer,
) -> None:
    source = GenericSource(channel_layer, ["a"])
    await source.open(lambda: None)
    await send(channel_layer, "a", *range(5))
    await source.turn((), [Desired("a", 3)], 3, over=True)
    await settled()
    await source.aclose()
    left = {(await channel_layer.receive("a"))["n"] for _ in range(channel_layer.channels["a"].qsize())}
    assert len(left) >= 2
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("delayserver source")]


async def test_every_message_is_taken_or_there_however_it_is_stopped(channel_layer: InMemoryChannelLayer) -> None:
    await send(channel_layer, "a", *range(60))
    seen: list[int] = []
    for turns in range(12):
        source = GenericSource(channel_layer, ["a"])
        await source.open(lambda: None)
        for _ in range(turns):
            await asyncio.sleep(0)
            taken = (await source.turn((), [Desired("a", 2)], 2, over=True)).taken
            seen += [one.content["n"] for one in taken]  # type: ignore[index]
        await source.aclose()
    while "a" in channel_layer.channels and channel_layer.channels["a"].qsize():
        seen.append((await channel_layer.receive("a"))["n"])
    assert sorted(seen) == list(range(60))


async def test_an_error_of_receive_ends_nothing(
    channel_layer: InMemoryChannelLayer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(generic_source, "RECEIVE_AGAIN_SECONDS", 0.01)
    receive, failures = channel_layer.receive, [ConnectionError("away"), ValueError("what is this")]

    async def flaky(channel: str) -> Any:
        if failures:
            raise failures.pop()
        return await receive(channel)

    monkeypatch.setattr(channel_layer, "receive", flaky)
    source = GenericSource(channel_layer, ["a"])
    await source.open(lambda: None)
    await send(channel_layer, "a", 7)
    assert await take(source, Desired("a", 1), number=1) == [7]
    assert any("source a: ValueError: what is this" in record.getMessage() for record in caplog.records)
    await source.aclose()


async def test_who_waits_is_woken(channel_layer: InMemoryChannelLayer) -> None:
    woken = asyncio.Event()
    source = GenericSource(channel_layer, ["a", "b"])
    await source.open(woken.set)
    await send(channel_layer, "b", 1)
    async with asyncio.timeout(PATIENCE):
        await woken.wait()
    assert await take(source, Desired("b", 1), number=1) == [1]
    await source.aclose()


async def test_what_could_not_all_go_back_goes_back_once() -> None:
    channel_layer = InMemoryChannelLayer(capacity=2)
    source = GenericSource(channel_layer, ["a"])
    taken = [Taken("a", b"", {"type": "probe", "n": n}) for n in range(3)]
    with pytest.raises(ChannelFull):
        await source.give_back(taken)
    found = [(await channel_layer.receive("a"))["n"] for _ in range(2)]
    await source.give_back(taken)
    assert [*found, (await channel_layer.receive("a"))["n"]] == [0, 1, 2]
    assert not channel_layer.channels
