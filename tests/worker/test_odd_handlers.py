"""What handlers and messages may do that nobody expects: it is one message's concern, and the worker's no more."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from channels.consumer import AsyncConsumer
from channels.layers import channel_layers, get_channel_layer
from pytest_django import Settings

from delayserver import Retry, asend_later
from delayserver.conf import PUBSUB_LAYER
from delayserver.consumers import AckingMixin, Fail

from ..support.wait import await_for
from .conftest import PATIENCE, SOON, Site


class Odd(AckingMixin, AsyncConsumer):  # type: ignore[misc]
    def __init__(self, site: Site) -> None:
        self.site = site

    async def probe(self, message: dict[str, Any]) -> None:
        self.site.seen.append(message)

    async def surrogate(self, message: dict[str, Any]) -> Fail:
        return Fail("no such\nreport: \ud800")

    async def leave(self, message: dict[str, Any]) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    async def change(self, message: dict[str, Any]) -> None:
        self.site.seen.append(dict(message))
        message.clear()


@pytest.fixture(params=["memory", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("extra", [{}, {"schedule": "nightly"}])
async def test_an_attempt_that_is_a_bool_makes_no_ticket(site: Site, extra: dict[str, Any]) -> None:
    """Redis takes none, so one such message would keep all with a ticket from being asked for."""
    await site.work("jobs")
    site.serve()
    await site.send("jobs", type="probe", __delay__={"id": "x", "attempt": True, **extra})
    await asend_later("jobs", {"type": "probe", "good": True}, delay=1, retry=SOON)
    await await_for(lambda: any("good" in one for one in site.seen), PATIENCE, "the good one")
    await site.is_empty()


async def test_a_reason_that_no_store_can_hold_is_escaped(site: Site) -> None:
    """Or it could not be settled, and nothing after it."""
    await site.work("jobs", application=Odd.as_asgi(site=site))
    await site.send("jobs", type="surrogate")
    [letter] = await site.letters(1)
    assert letter.reason == r"failed: no such\nreport: \ud800"


async def test_a_handler_that_cancels_itself_has_raised(site: Site) -> None:
    await site.work("jobs", application=Odd.as_asgi(site=site), concurrency=1)
    await site.send("jobs", type="leave")
    await site.send("jobs", type="probe")
    await site.has_seen(1)
    [letter] = await site.letters(1)
    assert letter.reason.startswith("raised CancelledError")


async def test_a_handler_may_change_its_message(site: Site) -> None:
    """It is acked all the same."""
    await site.work("jobs", application=Odd.as_asgi(site=site))
    site.serve()
    once = Retry(max_attempts=1, ack_timeout=timedelta(seconds=1))
    await asend_later("jobs", {"type": "change"}, delay=1, retry=once)
    await site.has_seen(1)
    await site.is_empty()
    assert await site.store.dead_letters(1) == []


@pytest.mark.parametrize("kind", ["redis"])
async def test_what_was_encrypted_long_ago_runs_when_its_worker_has_died(site: Site, settings: Settings) -> None:
    """channels_redis reads nothing that is older than its expiry and ten seconds."""
    config = {**settings.CHANNEL_LAYERS["default"]["CONFIG"], "symmetric_encryption_keys": ["a key"]}
    settings.CHANNEL_LAYERS = {"default": {**settings.CHANNEL_LAYERS["default"], "CONFIG": config}}
    channel_layers.backends.clear()
    layer = get_channel_layer()
    serializer = layer._serializer
    now = int(layer.connection(0) and (await layer.connection(0).time())[0])
    token = serializer.crypter.encrypt_at_time(serializer.as_bytes({"type": "probe"}), now - 3_600)
    await layer.connection(0).zadd("asgijobs", {b"\0" * serializer.random_prefix_length + token: float(now)})
    await layer.connection(0).expire("asgijobs", 60)
    await site.work("jobs")
    assert await site.has_seen(1) == [{"type": "probe"}]


@pytest.mark.parametrize("kind", ["redis"])
async def test_no_subscription_is_left_of_a_consumer_on_pub_sub(site: Site, settings: Settings) -> None:
    """Channels gives each consumer a channel of its own."""
    settings.CHANNEL_LAYERS = {"default": {**settings.CHANNEL_LAYERS["default"], "BACKEND": PUBSUB_LAYER}}
    channel_layers.backends.clear()
    await site.work("jobs", application=Odd.as_asgi(site=site))
    layer = get_channel_layer()._get_layer()
    await await_for(lambda: "jobs" in layer.channels, PATIENCE, "the worker to listen")
    for number in range(5):
        await site.send("jobs", type="probe", n=number)
    await site.has_seen(5)
    await await_for(lambda: set(layer.channels) == {"jobs"}, PATIENCE, "its own channel alone")
