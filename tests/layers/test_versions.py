"""Which way a layer is spoken to: its own bytes where we know them, the public API where we do not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from django.test import override_settings

from delayserver.conf import REDIS_LAYER
from delayserver.layers import channels_redis, get_layer
from delayserver.layers.channels_redis import RedisLayer
from delayserver.layers.generic import GenericLayer
from delayserver.loops.dispatch import Dispatch
from delayserver.stores import get_stores

from .conftest import put


@pytest.fixture
async def project(redis_url: str) -> AsyncIterator[None]:
    """A project on this Redis."""
    host = {"address": redis_url, "socket_timeout": None}
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": REDIS_LAYER, "CONFIG": {"hosts": [host]}}}):
        yield


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("known", ["4.2.0", "4.2.3", "4.3.0", "4.3.9"])
async def test_a_version_that_we_know_is_spoken_to_in_its_own_bytes(
    known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels_redis, "version", lambda _: known)
    assert type(get_layer("default")) is RedisLayer


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("unknown", ["4.1.0", "4.4.0", "5.0.0a1"])
async def test_a_version_that_we_do_not_know_is_used_through_its_public_api_and_that_is_said_once(
    unknown: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(channels_redis, "version", lambda _: unknown)
    with caplog.at_level(logging.WARNING, "delayserver"):
        layers = {get_layer("default") for _ in range(3)}
    [layer] = layers
    assert type(layer) is GenericLayer
    assert [record.getMessage() for record in caplog.records] == [
        f"channels_redis {unknown} is not a version we know; using its public API"
    ]
    [store] = get_stores()
    await layer.open()
    await store.open()
    await put(store, layer, {"type": "probe"})
    await Dispatch(store, layer).run_once()
    assert await asyncio.wait_for(layer._layer.receive("sink"), 10) == {"type": "probe"}
    await layer.aclose()
    await store.aclose()
    await layer._layer.close_pools()
