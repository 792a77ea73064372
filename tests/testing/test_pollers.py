"""Pollers and progress by the fake clock: a step comes due when the test says so."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
from channels.testing import WebsocketCommunicator

from delayserver import Retry, send_later
from delayserver.consumers import Again, Done, PollingConsumer
from delayserver.progress import Progress, progress
from delayserver.routing import websocket_urlpatterns
from delayserver.testing import Delays

from .project import happened

SECOND = timedelta(seconds=1)


class Export(PollingConsumer):
    """Done with its fifth poll; `job` says which of them raise."""

    every: ClassVar[timedelta | int] = 200
    retry = Retry(max_attempts=2, backoff=SECOND, jitter=0.0)

    async def poll(self, job: Any) -> Done | Again:
        happened.append(len(happened) + 1)
        await self.progress(len(happened), 5)
        if len(happened) in job:
            raise ValueError("the shop is closed")
        return Done("there") if len(happened) == 5 else Again()

    async def report_build(self, message: dict[str, Any]) -> None:
        async with progress(message["progress"]) as p:
            happened.append(p.attempt)
            if p.attempt == 1:
                raise ValueError("the shop is closed")


class Endless(Export):
    async def poll(self, job: Any) -> Again:
        happened.append(len(happened) + 1)
        return Again()


class Adaptive(Endless):
    adaptive = 10 * SECOND


class Brief(Endless):
    max_duration = SECOND


class Unwatched(Endless):
    every = 1000
    stop_when_unwatched = True


def application(consumer: type[PollingConsumer]) -> Any:
    channels = ChannelNameRouter({"exports": consumer.as_asgi()})
    return ProtocolTypeRouter({"channel": channels, "websocket": URLRouter(websocket_urlpatterns)})


def times(delays: Delays, since: int) -> list[int]:
    """When its steps were delivered, in ms from `since`."""
    return [round(one.at.timestamp() * 1000) - since for one in delays.delivered]


def found(p: Progress) -> Progress:
    p.refresh()
    return p


def test_a_poller_runs_through_on_its_grid() -> None:
    with Delays(application=application(Export)) as delays:
        since = delays.clock.now()
        p = Export.start_sync("exports", [])
        delays.advance(500)
        assert (found(p).state, p.current) == ("running", 3)
        delays.assert_scheduled(channel="exports", type="poller.step", delay=100)
        delays.advance(300)
        assert (found(p).state, p.result, p.elapsed_ms) == ("succeeded", "there", 800)
        assert times(delays, since) == [0, 200, 400, 600, 800]
        delays.assert_nothing_scheduled()


def test_what_raises_comes_again_by_the_clock_of_the_test() -> None:
    with Delays(application=application(Export)) as delays:
        since = delays.clock.now()
        p = Export.start_sync("exports", [2])
        delays.advance(200)
        assert (found(p).state, p.attempt) == ("running", 2)
        delays.advance(seconds=9)
        assert found(p).state == "succeeded"
        assert times(delays, since)[:4] == [0, 200, 1200, 1400]
    happened.clear()
    with Delays(application=application(Export)) as delays:
        p = Export.start_sync("exports", [2, 3])
        delays.advance(seconds=9)
        assert found(p).error == "ValueError: the shop is closed"
        assert len(delays.dead_letters) == 1


@pytest.mark.parametrize(
    ("consumer", "expected"),
    [
        (Adaptive, [0, 200, 400, 600, 900, 1350, 2025, 3037, 4555, 6832]),
        (Brief, [0, 200, 400, 600, 800, 1000]),
        (Unwatched, [n * 1000 for n in range(16)]),
    ],
)
def test_its_other_times_are_the_clocks_too(consumer: type[Endless], expected: list[int]) -> None:
    with Delays(application=application(consumer)) as delays:
        since = delays.clock.now()
        p = consumer.start_sync("exports", None)
        delays.advance(seconds=10 if consumer is Adaptive else 60)
        assert times(delays, since) == expected
        assert found(p).state == ("timed_out" if consumer is Brief else "running")


def test_progress_in_a_handler_goes_on_with_the_next_attempt(delays: Delays) -> None:
    delays.application = application(Export)
    send_later("exports", {"type": "report.build", "progress": "mine"}, delay=10, retry=Export.retry)
    delays.advance(10)
    p = Progress.get("mine")
    assert p is not None
    assert (p.state, p.attempt) == ("running", 2)
    delays.advance(SECOND)
    assert (found(p).state, happened) == ("succeeded", [1, 2])


async def test_what_a_browser_is_shown_is_there_when_aadvance_returns() -> None:
    app = application(Export)
    with Delays(application=app) as delays:
        p = await Export.start("exports", [])
        browser = WebsocketCommunicator(app, f"/ws/progress/{p.token}/")
        assert (await browser.connect())[0]
        assert (await browser.receive_json_from())["state"] == "pending"
        for n in range(1, 5):
            await delays.aadvance(0 if n == 1 else 200)
            frames = [
                json.loads(browser.output_queue.get_nowait()["text"]) for _ in range(browser.output_queue.qsize())
            ]
            assert frames[-1]["current"] == n
        await delays.aadvance(200)
        while (output := await browser.receive_output())["type"] == "websocket.send":
            last = json.loads(output["text"])
        assert (last["state"], last["result"], output["code"]) == ("succeeded", "there", 1000)
