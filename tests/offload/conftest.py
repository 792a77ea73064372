"""A project that may offload to one local server, and its hub, which ends with the test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from delayserver.conf import REDIS_LAYER, get_offload_settings
from delayserver.offload.asking import close_hub
from delayserver.offload_settings import OffloadSettings

from .functions import HERE
from .server import OddServer

COMMANDS = {
    "python": [sys.executable, "-I", "-c"],
    "echo": ["/bin/echo", "--"],
    "cat": ["/bin/cat"],
    "sh": ["/bin/sh", "-c"],
    "missing": ["/nowhere/at/all"],
    "env": ["/usr/bin/env"],
}
CALLABLES = [
    f"{HERE}.{name}"
    for name in (
        *(
            "double",
            "thread_name",
            "query",
            "wait",
            "sleep",
            "fail",
            "own_timeout",
            "exits",
            "exits_in_thread",
            "cancels",
            "stops",
            "unsendable",
            "large",
            "nested",
        ),
        *("no_such_name", "NO_FUNCTION"),
    )
]


@pytest.fixture(scope="session")
def server() -> Iterator[OddServer]:
    with OddServer() as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_was_seen_yet(server: OddServer) -> None:
    server.seen.clear()


@pytest.fixture(autouse=True)
def no_hub_is_left() -> Iterator[None]:
    yield
    close_hub()


@pytest.fixture
def offload_options(server: OddServer) -> dict[str, Any]:
    """``DELAYSERVER["OFFLOAD"]``: the local server, some functions, some commands."""
    return {
        "HOSTS": ["api.example.com", "*.example.org"],
        "PRIVATE_HOSTS": [server.place],
        "CALLABLES": [*CALLABLES, "nowhere.at.all"],
        "COMMANDS": COMMANDS,
    }


@pytest.fixture
def allowed(offload_options: dict[str, Any]) -> OffloadSettings:
    return OffloadSettings.of(offload_options)


@pytest.fixture
def in_memory(settings: Settings, offload_options: dict[str, Any]) -> OffloadSettings:
    """The project on the in-memory layer."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    settings.DELAYSERVER = {"STORE": "memory", "OFFLOAD": offload_options}
    return get_offload_settings()


@pytest.fixture
def on_redis(settings: Settings, redis_url: str, offload_options: dict[str, Any]) -> str:
    """The project on a Redis layer; its URL."""
    host = {"address": redis_url, "socket_timeout": None}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": REDIS_LAYER, "CONFIG": {"hosts": [host]}}}
    settings.DELAYSERVER = {"STORE": "redis", "OFFLOAD": offload_options}
    return redis_url


@pytest.fixture
def named(server: OddServer, offload_options: dict[str, Any]) -> OffloadSettings:
    """The server under two more names."""
    names = [f"{name}.test:{server.port}" for name in ("one", "two")]
    return OffloadSettings.of({**offload_options, "PRIVATE_HOSTS": [*offload_options["PRIVATE_HOSTS"], *names]})


async def to_loopback(host: str, port: int) -> list[str]:
    """A resolver that knows every name."""
    return ["127.0.0.1"]
