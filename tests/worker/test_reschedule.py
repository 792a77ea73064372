"""A consumer that sends itself its message again: with and without acks, under ``runtasks`` and under ``runworker``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from channels.consumer import AsyncConsumer
from channels.layers import get_channel_layer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from channels.worker import Worker as StockWorker

from delayserver import asend_later
from delayserver.consumers import AckingMixin, reschedule
from delayserver.errors import InvalidMessage

from .conftest import SOON, Site


class Counting(AsyncConsumer):  # type: ignore[misc]
    """To three."""

    channel: str | None = None

    def __init__(self, site: Site) -> None:
        self.site = site

    async def count(self, message: dict[str, Any]) -> None:
        self.site.seen.append(message)
        if message["n"] < 3:
            try:
                await reschedule({**message, "n": message["n"] + 1}, channel=self.channel, delay=20)
            except InvalidMessage as error:
                self.site.seen.append({"error": str(error)})


class Acking(AckingMixin, Counting):
    """The same."""


class Named(Counting):
    channel = "counts"


def application(consumer: Any, site: Site) -> Any:
    return ProtocolTypeRouter({"channel": ChannelNameRouter({"counts": consumer.as_asgi(site=site)})})


@pytest.mark.parametrize("consumer", [Counting, Acking])
async def test_under_runtasks_the_channel_is_known(site: Site, consumer: Any) -> None:
    site.serve()
    await site.work("counts", application=application(consumer, site))
    await asend_later("counts", {"type": "count", "n": 1}, delay=0, retry=SOON)
    seen = await site.has_seen(3)
    assert [message["n"] for message in seen] == [1, 2, 3]
    assert ["__delay__" in message for message in seen] == [True, False, False], "retry is said again, or is not"
    await site.is_empty()


@pytest.mark.parametrize(("consumer", "numbers"), [(Acking, [1, 2, 3]), (Named, [1, 2, 3]), (Counting, [1])])
async def test_under_runworker_it_is_known_with_acks_or_told(site: Site, consumer: Any, numbers: list[int]) -> None:
    worker = StockWorker(application(consumer, site), ["counts"], get_channel_layer())
    site.serve()
    handling = asyncio.create_task(worker.handle())
    try:
        await site.send("counts", type="count", n=1)
        seen = await site.has_seen(3 if numbers == [1, 2, 3] else 2)
        assert [message["n"] for message in seen if "n" in message] == numbers
        told = [message["error"] for message in seen if "error" in message]
        assert ["expected channel" in sentence for sentence in told] == ([] if len(numbers) == 3 else [True])
    finally:
        futures = [handling, *(one["future"] for one in worker.application_instances.values())]
        for future in futures:
            future.cancel()
        await asyncio.gather(*futures, return_exceptions=True)
