"""Consumers under a communicator run by themselves, and have had their say when `aadvance` returns."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator

from delayserver import asend_later, group_send_later, send_later
from delayserver.testing import Delays

from .project import Dashboard, SyncDashboard, happened


@asynccontextmanager
async def connected(consumer: Any) -> AsyncIterator[Any]:
    communicator = WebsocketCommunicator(consumer.as_asgi(), "/")
    assert (await communicator.connect())[0]
    yield communicator
    await communicator.disconnect()


def frames(communicator: Any) -> list[Any]:
    """What the browser has got by now; nothing is waited for."""
    return [communicator.output_queue.get_nowait()["text"] for _ in range(communicator.output_queue.qsize())]


@pytest.mark.parametrize("dashboard", [Dashboard, SyncDashboard])
async def test_a_group_gets_its_messages_in_order(delays: Delays, dashboard: type) -> None:
    async with connected(dashboard) as browser:
        for number, delay in enumerate([300, 100, 200]):
            await asend_later("exports", {"type": "export.poll", "done": number, "total": 0}, delay=delay)
        await delays.aadvance(300)
        assert frames(browser) == ['{"done": 2}', '{"done": 3}', '{"done": 1}']


async def test_what_the_browser_asked_for_just_before_is_scheduled(delays: Delays) -> None:
    async with connected(Dashboard) as browser:
        await browser.send_json_to({"export": 3})
        await delays.aadvance(0)
        delays.assert_scheduled(channel="exports", type="export.poll", delay=200)
        await delays.aadvance(seconds=1)
        assert frames(browser) == ['{"done": 1}', '{"done": 2}', '{"done": 3}']


async def test_the_frames_come_through_the_communicator_as_ever(delays: Delays) -> None:
    async with connected(Dashboard) as browser:
        await browser.send_json_to({"export": 2})
        await delays.aadvance(seconds=1)
        assert await browser.receive_json_from() == {"done": 1}
        assert await browser.receive_json_from() == {"done": 2}
        assert await browser.receive_nothing(timeout=0)


async def test_a_consumer_in_a_thread_that_schedules_itself_runs_through(delays: Delays) -> None:
    async with connected(SyncDashboard) as browser:
        await browser.send_json_to({"from": 3})
        delivered = await delays.aadvance(minutes=1)
        assert frames(browser) == ['{"left": 3}', '{"left": 2}', '{"left": 1}', '{"left": 0}']
        assert [round((one.at - delivered[0].at).total_seconds()) for one in delivered] == [0, 1, 2, 3]


async def test_a_slow_handler_is_waited_for(delays: Delays) -> None:
    """The next message must not go out while a thread still works on this one."""

    class Slow(SyncDashboard):
        def progress(self, event: dict[str, Any]) -> None:
            happened.append(("begun", event["n"]))
            time.sleep(0.05)
            send_later("reports", {"type": "report.build", "id": event["n"]}, delay=0)
            happened.append(("over", event["n"]))

    async with connected(Slow):
        for number in range(2):
            group_send_later("dashboard", {"type": "progress", "n": number}, delay=number)
        await delays.aadvance(1)
        assert happened == [("begun", 0), ("over", 0), 0, ("begun", 1), ("over", 1), 1]


async def test_a_handler_that_never_ends_is_not_waited_for_for_ever(
    delays: Delays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("delayserver.testing.consumers.PATIENCE_SECONDS", 0.05)
    let_go = threading.Event()

    class Streaming(SyncDashboard):
        def progress(self, event: dict[str, Any]) -> None:
            happened.append("begun")
            happened.append(let_go.wait(30))

    async with connected(Streaming):
        group_send_later("dashboard", {"type": "progress"}, delay=1)
        await delays.aadvance(2)
        let_go.set()
    assert happened == ["begun", True]


async def test_an_error_in_a_websocket_consumer_is_the_communicators_to_tell(delays: Delays) -> None:
    class Broken(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
        groups = ["dashboard"]

        async def progress(self, event: dict[str, Any]) -> None:
            raise ZeroDivisionError("no such step")

    browser = WebsocketCommunicator(Broken.as_asgi(), "/")
    await browser.connect()
    group_send_later("dashboard", {"type": "progress"}, delay=1)
    await delays.aadvance(1)
    with pytest.raises(ZeroDivisionError):
        await browser.receive_json_from()


async def test_a_test_may_receive_on_the_layer_itself(delays: Delays) -> None:
    layer = get_channel_layer()
    mine = await layer.new_channel()
    await asend_later(mine, {"type": "tick"}, delay=1)
    await delays.aadvance(1)
    assert await layer.receive(mine) == {"type": "tick"}
