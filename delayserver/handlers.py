"""Which consumer in the project's routing handles a message, as far as that can be seen (``CHECK_HANDLERS``).

The way from ``ASGI_APPLICATION`` to its consumers goes through Channels' routers, Django's handler and whatever wraps
an application and keeps it under one of the usual names. Anything else is opaque: what lies behind it cannot be told,
and so is taken to handle everything.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

from channels.consumer import AsyncConsumer, SyncConsumer, get_handler_name
from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
from django.core.handlers.asgi import ASGIHandler
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from .conf import asgi_application
from .content import shown
from .errors import ConfigurationError, InvalidMessage
from .message import Target

WRAPPED = ("inner", "app", "application", "_application", "__wrapped__")  # where a wrapper keeps what it wraps
MAX_NODES = 10_000  # a mock wraps without end
MAX_ANSWERS = 1_024  # remembered at once: types and names may come from outside

_DISPATCHES = [inspect.getattr_static(kind, "dispatch") for kind in (AsyncConsumer, SyncConsumer)]


class Node(NamedTuple):
    """One application on the way to the consumers, and which scopes lead there: None where any may."""

    application: Any
    protocol: str | None = None
    channel: str | None = None

    @property
    def consumer(self) -> type | None:
        """The class, where this is what its ``as_asgi()`` returned."""
        found = getattr(self.application, "consumer_class", None)
        return found if isinstance(found, type) else None

    @property
    def opaque(self) -> bool:
        """Whether the way ends here, and what happens then cannot be told."""
        return self.consumer is None and not isinstance(self.application, ASGIHandler) and self.following() is None

    def following(self) -> list[Node] | None:
        """Where the way goes on; None where it ends."""
        match self.application:
            case _ if self.consumer is not None:
                return None
            case ProtocolTypeRouter(application_mapping=inners):
                return [
                    self._replace(application=inner, protocol=protocol)
                    for protocol, inner in inners.items()
                    if protocol != "lifespan" and self.protocol in (None, protocol)
                ]
            case ChannelNameRouter(application_mapping=inners):
                return [Node(inner, "channel", channel) for channel, inner in inners.items()]
            case URLRouter(routes=routes):
                return [self._replace(application=route.callback) for route in routes]
        wrapped = (getattr(self.application, name, None) for name in WRAPPED)
        inner = next(filter(callable, wrapped), None)
        return None if inner is None else [self._replace(application=inner)]

    def reads(self, channel: str) -> bool:
        """Whether messages of this worker channel come here."""
        return self.protocol in (None, "channel") and self.channel in (None, channel)

    def handles(self, method: str) -> bool:
        """Whether it has this method, or may handle messages without."""
        if self.consumer is None or inspect.getattr_static(self.consumer, "dispatch", None) not in _DISPATCHES:
            return True
        return callable(getattr(self.consumer, method, None)) or hasattr(self.consumer, "__getattr__")


def walk(application: object) -> Iterator[Node]:
    """Everything on the ways from `application` to its consumers."""
    ahead, seen = [Node(application)], dict[tuple[object, ...], Node]()
    while ahead and len(seen) < MAX_NODES:
        node = ahead.pop()
        place = (id(node.application), node.protocol, node.channel)
        if place not in seen:
            seen[place] = node  # kept, so that no other gets its id
            yield node
            ahead += node.following() or ()


def project_application() -> object:
    """What ``ASGI_APPLICATION`` names, or `ConfigurationError`."""
    path = asgi_application()
    if path is None:
        raise ConfigurationError("expected ASGI_APPLICATION to be a dotted path, got none")
    try:
        return import_string(path)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        raise ConfigurationError(f"ASGI_APPLICATION {path!r} cannot be imported ({told})") from error


@functools.cache
def _ends() -> tuple[Node, ...]:
    """The project's consumers, and the opaque ends."""
    return tuple(node for node in walk(project_application()) if node.consumer is not None or node.opaque)


def worker_channels() -> list[str]:
    """The worker channels that the project's routing names, or `ConfigurationError`."""
    return sorted({end.channel for end in _ends() if end.channel is not None})


def check_handler(target: Target, type: str) -> None:
    """Raise `InvalidMessage` where no consumer that may read from `target` has a method for `type`.

    A worker channel has one consumer. On a specific channel, and in a group, may be any.
    """
    worker = target.name if target.kind == "channel" and "!" not in target.name else None
    fault = _fault(worker, type)
    if fault is not None:
        raise InvalidMessage(fault)


@functools.lru_cache(MAX_ANSWERS)
def _fault(worker: str | None, type: str) -> str | None:
    method = get_handler_name({"type": type})
    readers = [end for end in _ends() if worker is None or end.reads(worker)]
    if any(reader.handles(method) for reader in readers):
        return None
    wanted = f"a method {method} for type {shown(type)}"
    if worker is None:
        return f"expected a consumer in the routing to have {wanted}; none has (CHECK_HANDLERS)"
    if not readers:
        known = ", ".join(worker_channels()) or "none"
        return f"expected channel {worker!r} to have a consumer in the routing (CHECK_HANDLERS); known: {known}"
    names = ", ".join(sorted({reader.consumer.__name__ for reader in readers if reader.consumer}))
    return f"expected channel {worker!r} to have a consumer with {wanted}; {names} has none (CHECK_HANDLERS)"


@receiver(setting_changed)
def _forget(*, setting: str, **_: object) -> None:
    if setting in ("ASGI_APPLICATION", "DELAYSERVER"):
        _ends.cache_clear()
        _fault.cache_clear()
