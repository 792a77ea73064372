"""The same consumers under Channels' own ``runworker``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.consumer import SyncConsumer
from channels.layers import get_channel_layer
from channels.routing import ChannelNameRouter
from channels.worker import Worker as StockWorker

from delayserver import asend_later
from delayserver.consumers import AckingMixin, Again, Fail

from ..support.wait import await_for
from .conftest import PATIENCE, SOON, Acking, Site

# What asgiref says of Channels' own server, whose `send` is a partial.
pytestmark = pytest.mark.filterwarnings("ignore:async_to_sync was passed a non-async-marked callable")


class SyncAcking(AckingMixin, SyncConsumer):  # type: ignore[misc]
    def __init__(self, site: Site) -> None:
        self.site = site

    def probe(self, message: dict[str, Any]) -> None:
        self.site.seen.append(message)

    def crash(self, message: dict[str, Any]) -> None:
        self.site.seen.append(message)
        raise RuntimeError("the shop is closed")

    def again(self, message: dict[str, Any]) -> Again | None:
        self.site.seen.append(message)
        if len(self.site.seen) > 1:
            return None
        if message["raises"]:
            raise Again(5)
        return Again(5)

    def fail(self, message: dict[str, Any]) -> Fail:
        self.site.seen.append(message)
        if message["raises"]:
            raise Fail("there is no such report")
        return Fail("there is no such report")


@pytest.fixture(params=["redis"])
def kind(request: pytest.FixtureRequest) -> str:
    """Where a hand-over is one act."""
    return str(request.param)


@pytest.fixture(params=["async", "sync"])
async def working(request: pytest.FixtureRequest, site: Site) -> AsyncIterator[None]:
    consumers: dict[str, Any] = {"async": Acking, "sync": SyncAcking}
    router = ChannelNameRouter({"jobs": consumers[request.param].as_asgi(site=site)})
    worker = StockWorker(router, ["jobs"], get_channel_layer())
    tasks = [asyncio.create_task(one()) for one in (worker.handle, worker.application_checker)]
    site.serve()
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    futures = [one["future"] for one in worker.application_instances.values()]
    for future in futures:
        future.cancel()
    await asyncio.gather(*futures, return_exceptions=True)


def attempts(site: Site) -> list[int]:
    return [message["__delay__"]["attempt"] for message in site.seen]


async def test_who_returns_is_done(site: Site, working: None) -> None:
    await asend_later("jobs", {"type": "probe"}, delay=0, retry=SOON)
    await site.has_seen(1)
    await site.is_empty()
    assert attempts(site) == [1]


async def test_who_raises_gets_it_again_until_it_is_out_of_attempts(site: Site, working: None) -> None:
    await asend_later("jobs", {"type": "crash"}, delay=0, retry=SOON)
    [letter] = await site.letters(1)
    assert attempts(site) == [1, 2, 3]
    assert letter.reason.startswith("out of attempts: 3, and the last raised RuntimeError: the shop is closed")


@pytest.mark.parametrize("raises", [False, True], ids=["returned", "raised"])
@pytest.mark.parametrize("retry", [{}, {"retry": SOON}], ids=["without retry", "with retry"])
async def test_again_comes_again(site: Site, working: None, raises: bool, retry: dict[str, Any]) -> None:
    content = {"type": "again", "times": 1, "delay": 5, "raises": raises}
    await asend_later("jobs", content, delay=0, **retry)
    await site.has_seen(2)
    await site.is_empty()
    assert len(site.seen) == 2
    if retry:
        assert attempts(site) == [1, 1]


@pytest.mark.parametrize("raises", [False, True], ids=["returned", "raised"])
@pytest.mark.parametrize("retry", [{}, {"retry": SOON}], ids=["without retry", "with retry"])
async def test_fail_is_a_dead_letter(site: Site, working: None, raises: bool, retry: dict[str, Any]) -> None:
    await asend_later("jobs", {"type": "fail", "raises": raises}, delay=0, **retry)
    [letter] = await site.letters(1)
    assert letter.reason == "failed: there is no such report"
    await await_for(lambda: len(site.seen) == 1, PATIENCE, "it to be handled once")
