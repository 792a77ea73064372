"""What can be told beforehand about a layer, and about the ASGI application that uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..conf import (
    IN_MEMORY_LAYER,
    PUBSUB_LAYER,
    REDIS_LAYER,
    Fault,
    LayerSettings,
    asgi_application,
    get_settings,
    known_layers,
    says,
)
from ..embedded import Embedded
from ..errors import ConfigurationError
from ..handlers import project_application, walk, worker_channels

LEAST_EXPIRY = 10  # seconds: about what a worker takes to restart


def missing_layer_faults() -> list[Fault]:
    """What ``DELAYSERVER`` names and there is not; a project that names none may not use a layer yet."""
    alias = get_settings().channel_layer
    if alias in known_layers() or not says("CHANNEL_LAYER"):
        return []
    return [
        Fault(
            f"DELAYSERVER['CHANNEL_LAYER'] is {alias!r}, and CHANNEL_LAYERS has no such entry",
            f"Known aliases: {', '.join(sorted(map(str, known_layers()))) or 'none'}.",
            "delayserver.E007",
        )
    ]


def layer_faults(layer: LayerSettings) -> list[Fault]:
    """How the layer loses what it need not lose."""
    return [*_socket_timeout_faults(layer), *_hosts_faults(layer), *_expiry_faults(layer)]


def application_faults(layer: LayerSettings) -> list[Fault]:
    """How the ASGI application does not go with the layer. It is imported where there is something to look for."""
    return [*_pubsub_faults(layer), *_in_memory_faults(layer)]


def _hosts(layer: LayerSettings) -> Sequence[Any]:
    return list(layer.config.get("hosts") or ["redis://localhost:6379"])


def _socket_timeout_faults(layer: LayerSettings) -> list[Fault]:
    if layer.backend != REDIS_LAYER or _version("redis") < (8,) or not () < _version("channels-redis") <= (4, 3, 0):
        return []
    if all(isinstance(host, Mapping) and "socket_timeout" in host for host in _hosts(layer)):
        return []
    return [
        Fault(
            "redis-py 8 gives connections a socket_timeout of 5 s, at which channels_redis 4.3 closes idle WebSockets"
            " and ends workers.",
            f'CHANNEL_LAYERS[{layer.alias!r}]["CONFIG"]["hosts"] = [{{"address": URL, "socket_timeout": None}}]',
            "delayserver.W001",
        )
    ]


def _hosts_faults(layer: LayerSettings) -> list[Fault]:
    if layer.backend != REDIS_LAYER or (number := len(_hosts(layer))) == 1:
        return []
    return [
        Fault(
            f"The layer {layer.alias!r} has {number} hosts: most of what is sent straight to a specific channel, by"
            " channel_layer.send, is lost, since channels_redis reads it from another host. Groups, and what"
            " delayserver hands over, arrive.",
            "Send to specific channels by send_later with a delay of 0, or by a group; or use one host.",
            "delayserver.W003",
        )
    ]


def _expiry_faults(layer: LayerSettings) -> list[Fault]:
    expiry = layer.config.get("expiry")
    if layer.backend not in (REDIS_LAYER, IN_MEMORY_LAYER) or not isinstance(expiry, (int, float)):
        return []
    if expiry >= LEAST_EXPIRY:
        return []
    return [
        Fault(
            f"The layer {layer.alias!r} drops what lies unread on a channel for {expiry} s (expiry): a worker that is"
            " restarted, or busy, takes longer.",
            f"Leave expiry out (60 s), or make it {LEAST_EXPIRY} or more.",
            "delayserver.W004",
        )
    ]


def pool_faults(layer: LayerSettings) -> list[Fault]:
    """How the layer runs out of connections, in a process with many WebSockets."""
    if layer.backend != REDIS_LAYER or _version("redis") < (8,) or all(map(_says_max_connections, _hosts(layer))):
        return []
    return [
        Fault(
            "redis-py 8 gives a process at most 100 connections, and channels_redis needs one for each WebSocket that"
            " waits: more than some 90 in one process fail.",
            f'CHANNEL_LAYERS[{layer.alias!r}]["CONFIG"]["hosts"] = [{{"address": URL, "max_connections": 1000, ...}}]',
            "delayserver.W006",
        )
    ]


def _says_max_connections(host: object) -> bool:
    options = host if isinstance(host, Mapping) else {"address": host}
    return "max_connections" in {*options, *parse_qs(urlsplit(str(options.get("address", ""))).query)}


def _version(package: str) -> tuple[int, ...]:
    """Its first numbers; none where it is not installed."""
    try:
        found = version(package)
    except PackageNotFoundError:
        return ()
    return tuple(int(part) for part in found.split(".")[:3] if part.isdigit())


# -- the ASGI application ------------------------------------------------------------------------------------


def handlers_faults() -> list[Fault]:
    """Why messages cannot be checked against the routing, where they shall be."""
    if not get_settings().check_handlers:
        return []
    try:
        project_application()
    except ConfigurationError as error:
        return [
            Fault(
                f"DELAYSERVER['CHECK_HANDLERS'] needs the routing: {error}",
                'ASGI_APPLICATION = "mysite.asgi.application"',
                "delayserver.E012",
            )
        ]
    return []


def _pubsub_faults(layer: LayerSettings) -> list[Fault]:
    if layer.backend != PUBSUB_LAYER:
        return []
    try:
        channels = worker_channels()
    except ConfigurationError:
        return []
    if not channels:
        return []
    return [
        Fault(
            f"The layer {layer.alias!r} of channels_redis.pubsub gives a message on a worker channel to every worker"
            f" process, and to none while none runs; the routing has {', '.join(channels)}.",
            f"Use {REDIS_LAYER} where there are worker channels.",
            "delayserver.W002",
        )
    ]


def _in_memory_faults(layer: LayerSettings) -> list[Fault]:
    if not layer.in_memory:
        return []
    if asgi_application() is None:
        told = "without ASGI_APPLICATION it cannot be told whether that is one with embedded(): else nothing"
    elif _may_be_embedded():
        return []
    else:
        told = f"ASGI_APPLICATION ({asgi_application()}) has no embedded() around it: nothing"
    return [
        Fault(
            f"The in-memory layer {layer.alias!r} lives in one process, and {told} hands messages over.",
            'ASGI_APPLICATION = "mysite.asgi.application", and there application = delayserver.embedded.embedded(...);'
            " or use channels_redis, and manage.py rundelay.",
            "delayserver.W005",
        )
    ]


def _may_be_embedded() -> bool:
    """Whether the application has `Embedded` around it, as far as it can be imported and seen into."""
    try:
        nodes = list(walk(project_application()))
    except ConfigurationError:
        return True
    return any(isinstance(node.application, Embedded) or (node.opaque and node.protocol is None) for node in nodes)
