"""A worker on several hosts: none of them is forgotten while others have work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from channels.layers import channel_layers
from pytest_django import Settings

from delayserver.conf import REDIS_LAYER
from delayserver.loops.room import Subscription

from ..support.servers import RedisServer
from .conftest import Site


@pytest.fixture
def placed(redis_url: str, settings: Settings) -> Iterator[None]:
    with RedisServer() as second:
        hosts = [{"address": url, "socket_timeout": None} for url in (redis_url, second.url)]
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": REDIS_LAYER, "CONFIG": {"hosts": hosts}}}
        settings.DELAYSERVER = {"STORE": "memory"}
        channel_layers.backends.clear()
        yield


@pytest.mark.parametrize(("concurrency", "limit"), [(1, None), (3, None), (20, 1)])
async def test_all_that_lies_on_any_host_is_run_and_never_too_many_at_once(
    site: Site, concurrency: int, limit: int | None
) -> None:
    """Half of it lies on each host, and all of it before the worker starts, so that nothing but room wakes it."""
    site.gate.set()
    for n in range(40):
        await site.send("plain", type="wait", n=n)
    await site.work(Subscription("plain", limit), concurrency=concurrency)
    seen = await site.has_seen(40)
    assert Counter(message["n"] for message in seen) == Counter(range(40))
    assert site.most[""] <= min(concurrency, limit or concurrency)


async def test_after_a_crowd_every_host_is_asked_again(site: Site) -> None:
    """What raises piles up until it is settled."""
    for n in range(40):
        await site.send("plain", type="crash", n=n)
    await site.work("plain", concurrency=2)
    await site.has_seen(40)
    assert len(await site.letters(40)) == 40
