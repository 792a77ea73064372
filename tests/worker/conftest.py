"""A site: a channel layer, a store, a delay server and workers, all in this process, and consumers that tell what they
did. The worker's times are short; nothing else is made easier.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from channels.consumer import AsyncConsumer
from channels.layers import channel_layers, get_channel_layer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from django.db import connections
from pytest_django import DjangoDbBlocker, Settings

from delayserver import Retry
from delayserver.conf import IN_MEMORY_LAYER, REDIS_LAYER
from delayserver.consumers import AckingMixin, Again, Fail
from delayserver.loops.room import Subscription
from delayserver.message import DeadLetter
from delayserver.server import DelayServer
from delayserver.stores import get_stores
from delayserver.stores.base import Store
from delayserver.worker import Worker

from ..support.databases import close_connections_of_async_tests, empty_database
from ..support.wait import await_for

PATIENCE = 10.0
SOON = Retry(max_attempts=3, backoff=timedelta(milliseconds=20), jitter=0.0)
KINDS = ("memory", "redis", "redis and sqlite", "redis and postgres")


class Plain(AsyncConsumer):  # type: ignore[misc]
    """Knows nothing of us."""

    def __init__(self, site: Site) -> None:
        self.site = site

    async def probe(self, message: dict[str, Any]) -> None:
        self.site.seen.append(message)

    async def crash(self, message: dict[str, Any]) -> None:
        self.site.seen.append(message)
        if message.get("n", 0) not in self.site.mended:
            raise RuntimeError("the shop is closed, password=hunter2")

    async def leave(self, message: dict[str, Any]) -> None:
        raise {"exit": SystemExit, "interrupt": KeyboardInterrupt}[message["by"]]("this ends a process")

    async def wait(self, message: dict[str, Any]) -> None:
        """Until the gate is open."""
        site, channel = self.site, self.scope["channel"]
        site.running[channel] += 1
        site.most[channel] = max(site.most[channel], site.running[channel])
        site.most[""] = max(site.most[""], site.running.total())
        site.begun.append(message)
        try:
            await site.gate.wait()
            site.seen.append(message)
        finally:
            site.running[channel] -= 1


class Acking(AckingMixin, Plain):
    """`again` and `fail` are returned or raised, as the message says."""

    async def again(self, message: dict[str, Any]) -> Again | None:
        self.site.seen.append(message)
        if sum(one["type"] == "again" for one in self.site.seen) > message["times"]:
            return None
        again = Again(message.get("delay"))
        if message.get("raises"):
            raise again
        return again

    async def fail(self, message: dict[str, Any]) -> Fail:
        self.site.seen.append(message)
        fail = Fail("there is no such report")
        if message.get("raises"):
            raise fail
        return fail


class Site:
    """`seen` is what handlers were done with, `begun` what they began to wait with, `most` how many at once."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.begun: list[dict[str, Any]] = []
        self.mended: set[int] = set()
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.gate = asyncio.Event()
        self._servers: list[tuple[DelayServer | Worker, asyncio.Task[None]]] = []
        router = ChannelNameRouter({"jobs": Acking.as_asgi(site=self), "plain": Plain.as_asgi(site=self)})
        self.application = ProtocolTypeRouter({"channel": router})

    @property
    def store(self) -> Store:
        return get_stores()[0]

    async def work(self, *subscriptions: str | Subscription, **options: Any) -> Worker:
        """A worker that is ready."""
        ready = asyncio.Event()
        wanted = [Subscription(one) if isinstance(one, str) else one for one in subscriptions or ("jobs", "plain")]
        options = {"grace": 5.0, **options}
        worker = Worker(options.pop("application", self.application), wanted, ready=lambda _: ready.set(), **options)
        self._servers.append((worker, asyncio.create_task(worker.run())))
        await ready.wait()
        return worker

    def serve(self) -> None:
        """A delay server: what is due goes out."""
        server = DelayServer()
        self._servers.append((server, asyncio.create_task(server.run())))

    async def stop(self, *some: Worker) -> None:
        """These, or all of them."""
        ending = [pair for pair in self._servers if not some or pair[0] in some]
        self._servers = [pair for pair in self._servers if pair not in ending]
        for server, _ in ending:
            server.stop()
        async with asyncio.timeout(PATIENCE):
            for _, task in ending:
                await task

    async def send(self, channel: str, **content: Any) -> None:
        await get_channel_layer().send(channel, content)

    async def has_seen(self, number: int) -> list[dict[str, Any]]:
        await await_for(lambda: len(self.seen) >= number, PATIENCE, f"{number} handled messages")
        return self.seen

    async def has_begun(self, number: int) -> list[dict[str, Any]]:
        await await_for(lambda: len(self.begun) >= number, PATIENCE, f"{number} begun messages")
        return self.begun

    async def letters(self, number: int) -> list[DeadLetter]:
        async def look() -> list[DeadLetter]:
            letters = await self.store.dead_letters(100)
            return list(letters) if len(letters) >= number else []

        letters: list[DeadLetter] = await await_for(look, PATIENCE, f"{number} dead letters")
        assert len(letters) == number
        return letters

    async def is_empty(self) -> None:
        """Nothing waits, nothing lies on a channel, nothing is in anybody's hand."""

        async def look() -> bool:
            return await self.store.count() == 0

        await await_for(look, PATIENCE, "an empty store")

    async def aclose(self) -> None:
        self.gate.set()
        await self.stop()
        for store in get_stores():
            await store.aclose()
        layer = get_channel_layer()
        if hasattr(layer, "close_pools"):
            await layer.close_pools()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def placed(
    kind: str, request: pytest.FixtureRequest, settings: Settings, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """The settings of such a site."""
    layer, _, database = kind.partition(" and ")
    backend: dict[str, Any] = {"BACKEND": IN_MEMORY_LAYER}
    ours: dict[str, Any] = {"STORE": layer}
    if layer == "redis":
        hosts = [{"address": request.getfixturevalue("redis_url"), "socket_timeout": None}]
        backend = {"BACKEND": REDIS_LAYER, "CONFIG": {"hosts": hosts}}
    if database:
        alias = request.getfixturevalue(f"{database}_database")
        ours = {**ours, "STORE": "database", "STORE_OPTIONS": {"using": alias}}
    settings.CHANNEL_LAYERS, settings.DELAYSERVER = {"default": backend}, ours
    channel_layers.backends.clear()
    if not database:
        yield
        return
    with django_db_blocker.unblock():
        yield
        empty_database(alias)
        connections[alias].close()
        close_connections_of_async_tests()


@pytest.fixture
async def site(placed: None) -> AsyncIterator[Site]:
    site = Site()
    yield site
    with contextlib.suppress(TimeoutError):
        await site.aclose()
