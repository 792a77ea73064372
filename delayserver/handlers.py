"""Which consumer in the project's routing handles a message, as far as that can be seen (``CHECK_HANDLERS``).

The way from ``ASGI_APPLICATION`` to its consumers goes through Channels' routers, Django's handler and whatever keeps
exactly one application, which so is the one it wraps. Anything else is opaque, a router with a ``__call__`` of its own
among them: what lies behind it cannot be told, and so is taken to handle everything.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from channels.consumer import get_handler_name
from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
from django.core.handlers.asgi import ASGIHandler
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.urls import URLPattern, URLResolver
from django.utils.module_loading import import_string

from .conf import asgi_application, get_offload_settings
from .content import shown
from .errors import ConfigurationError, InvalidMessage
from .message import Target

ROUTERS = (ProtocolTypeRouter, ChannelNameRouter, URLRouter)
MAX_NODES = 10_000  # a routing may be made as it is looked at, without end
MAX_ANSWERS = 1_024  # remembered at once: types and names may come from outside
HANDLING = ("__new__", "__init__", "__getattribute__", "__call__", "dispatch")  # what decides on a consumer's handlers


class Node(NamedTuple):
    """One application on the way to the consumers, and which scopes lead there: None where any may."""

    application: Any
    protocol: str | None = None
    channel: str | None = None

    @property
    def consumer(self) -> type | None:
        """The class, where this is what its ``as_asgi()`` returned, and nothing around it."""
        found = inspect.getattr_static(self.application, "consumer_class", None)
        is_it = isinstance(found, type) and inspect.getattr_static(self.application, "__wrapped__", None) is found
        return found if is_it else None

    @property
    def opaque(self) -> bool:
        """Whether the way ends here, and what happens then cannot be told."""
        return self.consumer is None and not _calls(self.application, ASGIHandler) and self.following() is None

    def following(self) -> list[Node] | None:
        """Where the way goes on; None where it ends."""
        match self.application:
            case _ if self.consumer is not None or _calls(self.application, ASGIHandler):
                return None
            case router if isinstance(router, ROUTERS) and not _calls(router, *ROUTERS):
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
        inners = {id(inner): inner for value in _kept(self.application) for inner in _applications(value)}
        if len(inners) != 1:
            return None
        [inner] = inners.values()
        return None if inner is _SEVERAL else [self._replace(application=inner)]

    def reads(self, channel: str) -> bool:
        """Whether messages of this worker channel come here."""
        return self.protocol in (None, "channel") and self.channel in (None, channel)

    def handles(self, method: str) -> bool:
        """Whether it has this method, or may handle messages without.

        A method that its own ``__init__`` gives each instance cannot be seen: who has one of his own may have any.
        """
        if self.consumer is None or not all(_is_of_channels(self.consumer, name) for name in HANDLING):
            return True
        return callable(getattr(self.consumer, method, None)) or hasattr(self.consumer, "__getattr__")


_SEVERAL = object()  # in place of applications of which it cannot be told which is called when


def _calls(application: object, *kinds: type) -> bool:
    """Whether calling it is calling one of `kinds`, and not an override."""
    own = inspect.getattr_static(type(application), "__call__", None)
    return any(isinstance(application, kind) and own is inspect.getattr_static(kind, "__call__") for kind in kinds)


def _is_of_channels(consumer: type, name: str) -> bool:
    """Whether a consumer has it from Channels, or from Python itself."""
    owner = next((kind for kind in consumer.__mro__ if name in vars(kind)), object)
    return owner is object or owner.__module__.partition(".")[0] == "channels"


def _kept(application: object) -> Iterator[object]:
    """The values of its own attributes; of a decorated function, what it closes over as well."""
    if isinstance(application, type):
        return
    own = getattr(application, "__dict__", {})
    copied = getattr(own.get("__wrapped__"), "__dict__", {})  # as functools.wraps does
    yield from (value for name, value in own.items() if copied.get(name, own) is not value)
    for kind in type(application).__mro__:
        slots = vars(kind).items() if "__slots__" in vars(kind) else ()
        yield from (getattr(application, name, None) for name, slot in slots if inspect.ismemberdescriptor(slot))
    if "__wrapped__" in own:  # another function may call what is in its module
        for cell in getattr(application, "__closure__", None) or ():
            with contextlib.suppress(ValueError):  # an empty one
                yield cell.cell_contents


def _applications(value: object) -> list[object]:
    """What may be an ASGI application: the value itself, or several in it."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_SEVERAL] if any(isinstance(one, (URLPattern, URLResolver)) or _fits(one) for one in value) else []
    return [value] if _fits(value) else []


def _fits(value: object) -> bool:
    """Whether it can be called as an ASGI application; a class, where its instances can be awaited then."""
    if not callable(value) or (isinstance(value, type) and not hasattr(value, "__await__")):
        return False
    try:
        signature = inspect.signature(value, follow_wrapped=False)
    except Exception:  # noqa: BLE001  whatever it is, it does not tell
        return True
    try:
        signature.bind("scope", "receive", "send")
    except TypeError:
        return False
    return True


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


def is_read(channel: str) -> bool:
    """Whether a consumer in the routing may read this worker channel, or `ConfigurationError`."""
    return any(end.reads(channel) for end in _ends())


def check_handler(target: Target, type: str) -> None:
    """Raise `InvalidMessage` where no consumer that may read from `target` has a method for `type`.

    A worker channel has one consumer. On a specific channel, and in a group, may be any. Offloads need none.
    """
    if target.kind == "channel" and target.name == get_offload_settings().channel:
        return
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
