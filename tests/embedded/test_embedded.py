"""The delay server and workers inside one ASGI application, on the in-memory layer and no server at all."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from channels.consumer import AsyncConsumer, SyncConsumer
from channels.layers import get_channel_layer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from pytest_django import Settings

from delayserver import ConfigurationError, asend_later, group_send_later, send_later
from delayserver.embedded import Embedded, embedded

SEEN: list[dict[str, Any]] = []


class Recorder(AsyncConsumer):  # type: ignore[misc]
    async def probe(self, message: dict[str, Any]) -> None:
        SEEN.append({**message, "instance": id(self), "at": time.time()})

    async def slow(self, message: dict[str, Any]) -> None:
        await asyncio.sleep(message["seconds"])
        SEEN.append(message)

    async def crash(self, message: dict[str, Any]) -> None:
        raise RuntimeError("this handler is broken")


class SyncRecorder(SyncConsumer):  # type: ignore[misc]
    def probe(self, message: dict[str, Any]) -> None:
        SEEN.append(message)


def application(workers: tuple[str, ...] = ("recorder", "sync-recorder")) -> Embedded:
    channels = {"recorder": Recorder.as_asgi(), "sync-recorder": SyncRecorder.as_asgi()}
    return embedded(ProtocolTypeRouter({"channel": ChannelNameRouter(channels)}), workers=workers)


@asynccontextmanager
async def lifespan(app: Embedded) -> AsyncIterator[None]:
    """Start and stop `app` as uvicorn does."""
    events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    answers: asyncio.Queue[Any] = asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan"}, events.get, answers.put))
    await events.put({"type": "lifespan.startup"})
    assert (await answers.get())["type"] == "lifespan.startup.complete"
    yield
    await events.put({"type": "lifespan.shutdown"})
    async with asyncio.timeout(6):
        assert (await answers.get())["type"] == "lifespan.shutdown.complete"
        await task


async def seen(number: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(10):
        while len(SEEN) < number:
            await asyncio.sleep(0.005)
    return SEEN


@pytest.fixture(autouse=True)
def project(settings: Settings) -> Iterator[None]:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    settings.DELAYSERVER = {"STORE": "memory"}
    SEEN.clear()
    yield
    SEEN.clear()


async def test_a_delayed_message_reaches_its_consumer_by_either_door() -> None:
    async with lifespan(application()):
        start = time.time()
        wire = {"channel": "recorder", "content": {"type": "probe", "door": "asgi.delay"}, "delay": 200}
        await get_channel_layer().send("asgi.delay", wire)
        await asend_later("recorder", {"type": "probe", "door": "asend_later"}, delay=100)
        await asyncio.to_thread(send_later, "sync-recorder", {"type": "probe", "door": "send_later"}, delay=300)
        messages = await seen(3)
    assert [message["door"] for message in messages] == ["asend_later", "asgi.delay", "send_later"]
    assert 0.1 <= messages[0]["at"] - start < 0.2
    assert 0.2 <= messages[1]["at"] - start < 0.3


async def test_a_group_is_reached() -> None:
    async with lifespan(application()):
        await get_channel_layer().group_add("everyone", "recorder")
        await asyncio.to_thread(group_send_later, "everyone", {"type": "probe"}, delay=10)
        assert (await seen(1))[0]["type"] == "probe"


async def test_slow_handlers_do_not_hold_up_each_other_and_each_message_has_its_own_instance() -> None:
    async with lifespan(application()):
        layer = get_channel_layer()
        for _ in range(20):
            await layer.send("recorder", {"type": "slow", "seconds": 0.5})
        await layer.send("recorder", {"type": "probe"})
        await layer.send("recorder", {"type": "probe"})
        start = time.monotonic()
        messages = await seen(22)
        assert time.monotonic() - start < 2
    assert [message["type"] for message in messages[:2]] == ["probe", "probe"]


async def test_a_handler_that_raises_is_told_with_its_place_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with lifespan(application()):
        layer = get_channel_layer()
        for type_ in ("crash", "unknown", "probe"):
            await layer.send("recorder", {"type": type_})
        await layer.send("recorder", {"no": "type"})
        await layer.send("recorder", {"type": "probe"})
        await seen(2)
    [raised] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert raised.exc_info
    assert raised.getMessage().startswith(
        "a handler on channel recorder raised RuntimeError: this handler is broken; kept as dead letter "
    )
    unfit = [record.getMessage() for record in caplog.records if "became dead letter" in record.getMessage()]
    assert {sentence.partition(": ")[2] for sentence in unfit} == {
        "no consumer handles it: No handler for message type unknown",
        "expected a message to have a type, a str, got none",
    }


async def test_the_first_connection_starts_it_where_there_is_no_lifespan() -> None:
    app = application()
    await get_channel_layer().send("recorder", {"type": "probe"})
    assert SEEN == []
    scope = {"type": "channel", "channel": "recorder"}

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.2)
        return {"type": "probe"}

    connection = asyncio.create_task(app(scope, receive, receive))  # type: ignore[arg-type]
    await seen(1)
    connection.cancel()
    await asyncio.gather(connection, return_exceptions=True)
    await app._stop()


async def test_it_starts_again_after_it_stopped_and_what_waited_goes_out() -> None:
    app = application()
    async with lifespan(app):
        await asend_later("recorder", {"type": "probe"}, delay=300)
    assert SEEN == []
    async with lifespan(app):
        await seen(1)


def test_workers_on_a_layer_that_gives_each_message_to_all_are_refused(settings: Settings) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": ["redis://127.0.0.1:1"]},
        }
    }
    settings.DELAYSERVER = {}
    with pytest.raises(ConfigurationError, match=r"Run its workers with manage\.py runtasks"):
        application()
    application(workers=())


def test_an_asgi_module_may_import_it_before_anything_else() -> None:
    """Where imports are sorted, it comes before ``get_asgi_application()`` has set Django up."""
    code = "import delayserver.embedded, delayserver.server, delayserver"
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
