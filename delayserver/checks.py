"""System checks: what is wrong with the settings, and the cure, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register

from .conf import REDIS_LAYER, LayerSettings, get_layer_settings, get_settings, settings_faults
from .errors import ConfigurationError


@register("delayserver")
def check_settings(**_: Any) -> list[CheckMessage]:
    """``DELAYSERVER`` has no unknown names, wrong types or impossible combinations."""
    return [Error(fault.sentence, hint=fault.hint, id=fault.id) for fault in settings_faults()]


@register("delayserver")
def check_layer(**_: Any) -> Sequence[CheckMessage]:
    """The layer's idle connections are not closed after five seconds."""
    if settings_faults():
        return []
    try:
        layer = get_layer_settings(get_settings().channel_layer)
    except ConfigurationError:
        return []  # rundelay says so, and a project may not use a layer yet
    return _check_socket_timeout(layer)


def _check_socket_timeout(layer: LayerSettings) -> list[CheckMessage]:
    if layer.backend != REDIS_LAYER or not _redis_py_breaks_channels_redis():
        return []
    hosts = layer.config.get("hosts") or ["redis://localhost:6379"]
    if all(isinstance(host, dict) and "socket_timeout" in host for host in hosts):
        return []
    return [
        Warning(
            "redis-py 8 gives connections a socket_timeout of 5 s, at which channels_redis 4.3 closes idle WebSockets"
            " and ends workers.",
            hint=f'CHANNEL_LAYERS[{layer.alias!r}]["CONFIG"]["hosts"] = [{{"address": URL, "socket_timeout": None}}]',
            id="delayserver.W001",
        )
    ]


def _redis_py_breaks_channels_redis() -> bool:
    try:
        client, layer = version("redis"), version("channels-redis")
    except PackageNotFoundError:
        return False
    return _numbers(client) >= (8,) and _numbers(layer) <= (4, 3, 0)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())
