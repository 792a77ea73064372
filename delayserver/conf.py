"""The only reader of settings: ``DELAYSERVER`` and what it stands on, with every default in one place."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from . import offload_settings, progress_settings
from .errors import ConfigurationError, InvalidMessage
from .message import Target
from .offload_settings import OffloadSettings
from .progress_settings import ProgressSettings

STORES = {
    "redis": "delayserver.stores.redis.RedisStore",
    "database": "delayserver.stores.database.DatabaseStore",
    "memory": "delayserver.stores.memory.MemoryStore",
}
REDIS_LAYER = "channels_redis.core.RedisChannelLayer"
PUBSUB_LAYER = "channels_redis.pubsub.RedisPubSubChannelLayer"
REDIS_LAYERS = (REDIS_LAYER, PUBSUB_LAYER)
IN_MEMORY_LAYER = "channels.layers.InMemoryChannelLayer"
STORE_OPTIONS = {"redis": {"url", "cluster"}, "database": {"using"}, "memory": set[str]()}


_RUN = os.urandom(8).hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``DELAYSERVER``, checked; field names are the setting's keys in lower case."""

    store: str | None = None
    store_options: Mapping[str, Any] = field(default_factory=dict)
    channel_layer: str = "default"
    channel: str = "asgi.delay"
    max_message_bytes: int = 1_048_576
    check_handlers: bool = False
    schedules: Mapping[str, Any] = field(default_factory=dict)
    offload: Mapping[str, Any] = field(default_factory=dict)
    progress: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LayerSettings:
    """One entry of ``CHANNEL_LAYERS``: its alias, its backend's dotted path, its ``CONFIG``."""

    alias: str
    backend: str
    config: Mapping[str, Any]

    @property
    def in_memory(self) -> bool:
        return self.backend == IN_MEMORY_LAYER

    @property
    def home(self) -> str:
        """The name of this process, where the layer lives in it alone; else empty."""
        return f"{os.getpid()}.{_RUN}" if self.in_memory else ""


@functools.cache
def get_settings() -> Settings:
    """The settings, or `ConfigurationError` with the first fault."""
    faults = settings_faults()
    if faults:
        raise ConfigurationError(faults[0].sentence)
    return Settings(**{name.lower(): value for name, value in _given().items()})


@functools.cache
def get_offload_settings() -> OffloadSettings:
    """``DELAYSERVER["OFFLOAD"]`` with its defaults, or `ConfigurationError`."""
    return OffloadSettings.of(get_settings().offload)


@functools.cache
def get_progress_settings() -> ProgressSettings:
    """``DELAYSERVER["PROGRESS"]`` with its defaults, or `ConfigurationError`."""
    return ProgressSettings.of(get_settings().progress)


def says(name: str) -> bool:
    """Whether ``DELAYSERVER`` has this name, rather than its default."""
    return name in _given()


def _given() -> Any:
    return getattr(django_settings, "DELAYSERVER", {})


@functools.cache
def get_layer_settings(alias: str) -> LayerSettings:
    """The entry of ``CHANNEL_LAYERS`` called `alias`, or `ConfigurationError`."""
    if faults := entry_faults(alias):
        raise ConfigurationError(faults[0].sentence)
    layers = known_layers()
    if not layers:
        raise ConfigurationError(
            "You do not have any CHANNEL_LAYERS configured. Add one: the quickstart of delayserver shows how."
        )
    if alias not in layers:
        raise ConfigurationError(
            f"There is no channel layer {alias!r} in CHANNEL_LAYERS. Known: {', '.join(sorted(map(str, layers)))}."
        )
    return LayerSettings(alias, layers[alias]["BACKEND"], layers[alias].get("CONFIG", {}))


def known_layers() -> Mapping[str, Any]:
    """``CHANNEL_LAYERS``; none where it is no dict."""
    given = _given_layers()
    return given if isinstance(given, Mapping) else {}


def _given_layers() -> Any:
    return getattr(django_settings, "CHANNEL_LAYERS", None) or {}


def known_layer() -> LayerSettings | None:
    """The layer that messages go out on; None where ``DELAYSERVER`` or its entry is wrong, or it is not there (yet)."""
    if settings_faults():
        return None
    alias = get_settings().channel_layer
    return None if alias not in known_layers() or entry_faults(alias) else get_layer_settings(alias)


def asgi_application() -> str | None:
    """The dotted path of the project's ASGI application, where it says one."""
    return getattr(django_settings, "ASGI_APPLICATION", None)


def store_path(layer: LayerSettings) -> str:
    """The dotted path of the store that goes with `layer`: redis where the layer is, else database."""
    name = store_name(layer)
    if name == "redis" and layer.in_memory:
        raise ConfigurationError(f"{REDIS_IN_MEMORY.sentence}. {REDIS_IN_MEMORY.hint}")
    return STORES.get(name, name)


def store_name(layer: LayerSettings) -> str:
    """What ``DELAYSERVER["STORE"]`` is, or is when left out."""
    return get_settings().store or ("redis" if layer.backend in REDIS_LAYERS else "database")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong: what was expected and what came, and the cure. Its `id` is that of the system check."""

    sentence: str
    hint: str
    id: str


A_LAYER = (
    'CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer",'
    ' "CONFIG": {"hosts": [{"address": "redis://127.0.0.1:6379", "socket_timeout": None}]}}}'
)
REDIS_IN_MEMORY = Fault(
    "the redis store does not go with the in-memory channel layer, whose messages must stay in their process",
    "Use the database or the memory store, or channels_redis.",
    "delayserver.E008",
)


def settings_faults() -> list[Fault]:
    """Everything wrong with ``DELAYSERVER`` by itself."""
    given = _given()
    if not isinstance(given, Mapping):
        return [Fault("expected DELAYSERVER to be a dict", "DELAYSERVER = {...}", "delayserver.E001")]
    known = {f.name.upper(): f for f in fields(Settings)}
    faults = [
        Fault(
            f"DELAYSERVER has an unknown name {name!r}",
            f"Known names: {', '.join(sorted(known))}.",
            "delayserver.E002",
        )
        for name in given
        if name not in known
    ]
    expected = {
        "STORE": (str, "redis, database, memory or a dotted path"),
        "STORE_OPTIONS": (Mapping, "a dict"),
        "CHANNEL_LAYER": (str, "an alias of CHANNEL_LAYERS"),
        "CHANNEL": (str, "a channel name"),
        "MAX_MESSAGE_BYTES": (int, "a whole number of bytes, 1 or more"),
        "CHECK_HANDLERS": (bool, "True or False"),
        "SCHEDULES": (Mapping, "a dict of schedules by name"),
    }
    for name, (kind, sentence) in expected.items():
        value = given.get(name)
        if name in given and not _fits(value, kind):
            faults.append(
                Fault(
                    f"expected DELAYSERVER[{name!r}] to be {sentence}, got {type(value).__name__}",
                    "Correct it, or leave it out for the default.",
                    "delayserver.E003",
                )
            )
    own = [
        *offload_settings.wrongs(given.get("OFFLOAD", {})),
        *progress_settings.wrongs(given.get("PROGRESS", {})),
    ]
    return faults + _store_faults(given) + _channel_faults(given) + [Fault(*wrong) for wrong in own]


def _fits(value: object, kind: type) -> bool:
    """Whether it is of this kind; a number is positive, and a bool is none."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, kind) and (not isinstance(value, int) or value > 0)


def _store_faults(given: Mapping[str, Any]) -> list[Fault]:
    store, options = given.get("STORE"), given.get("STORE_OPTIONS", {})
    faults = []
    if isinstance(store, str) and store not in STORES and "." not in store:
        faults.append(
            Fault(
                f"expected DELAYSERVER['STORE'] to be one of {', '.join(STORES)} or a dotted path, got {store!r}",
                "Correct the name, or leave it out for the default.",
                "delayserver.E004",
            )
        )
    if isinstance(store, str) and isinstance(options, Mapping):
        faults += option_faults(store, options)
    return faults


def option_faults(store: str, options: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with the ``STORE_OPTIONS`` of this store; one of the project's own may have any."""
    allowed = STORE_OPTIONS.get(store)
    if allowed is None or options.keys() <= allowed:
        is_host = store == "redis" and options.get("url")
        name, hint = "DELAYSERVER['STORE_OPTIONS']['url']", '"url": "redis://127.0.0.1:6379/1"'
        return _host_faults(name, options["url"], hint) if is_host else []
    return [
        Fault(
            f"DELAYSERVER['STORE_OPTIONS'] has names that the {store} store does not know:"
            f" {', '.join(sorted(map(str, options.keys() - allowed)))}",
            f"Known names: {', '.join(sorted(allowed)) or 'none'}.",
            "delayserver.E005",
        )
    ]


def entry_faults(alias: str) -> list[Fault]:
    """Why the entry of ``CHANNEL_LAYERS`` called `alias` cannot be read. One that is not there has no fault."""
    layers, name = _given_layers(), f"CHANNEL_LAYERS[{alias!r}]"
    if not isinstance(layers, Mapping):
        return [_unreadable("CHANNEL_LAYERS", "a dict", layers)]
    if alias not in layers:
        return []
    entry = layers[alias]
    if not isinstance(entry, Mapping) or not isinstance(entry.get("BACKEND"), str):
        return [_unreadable(name, "a dict with a dotted path as BACKEND", entry)]
    config = entry.get("CONFIG", {})
    if not isinstance(config, Mapping):
        return [_unreadable(f"{name}['CONFIG']", "a dict", config)]
    return _hosts_faults(f"{name}['CONFIG']['hosts']", config) if _are_redis_hosts(entry["BACKEND"]) else []


def _are_redis_hosts(backend: str) -> bool:
    """Whether the layer's ``hosts`` are read as those of channels_redis: by the layer, or by the store beside it."""
    settings = get_settings()
    return backend in REDIS_LAYERS or (settings.store == "redis" and not settings.store_options.get("url"))


def _hosts_faults(name: str, config: Mapping[str, Any]) -> list[Fault]:
    hosts = config.get("hosts") or ()
    if isinstance(hosts, (str, bytes, Mapping)) or not isinstance(hosts, Collection):
        return [_unreadable(name, "a list", hosts)]
    return [fault for number, host in enumerate(hosts) for fault in _host_faults(f"{name}[{number}]", host)][:1]


def _host_faults(name: str, host: object, hint: str = A_LAYER) -> list[Fault]:
    """Why redis-py cannot read it; without redis-py that cannot be told."""
    try:
        from .redis_hosts import decode_host
    except ImportError:
        return []
    try:
        decode_host(host)
    except ConfigurationError as error:
        return [Fault(f"{name} cannot be read: {error}", hint, "delayserver.E013")]
    return []


def _unreadable(name: str, expected: str, given: object) -> Fault:
    return Fault(f"expected {name} to be {expected}, got {type(given).__name__}", A_LAYER, "delayserver.E013")


def _channel_faults(given: Mapping[str, Any]) -> list[Fault]:
    name = given.get("CHANNEL")
    if not isinstance(name, str):
        return []
    try:
        Target("channel", name)
    except InvalidMessage as error:
        return [
            Fault(
                f"DELAYSERVER['CHANNEL']: {error}", "Correct it, or leave it out for the default.", "delayserver.E006"
            )
        ]
    return []


@receiver(setting_changed)
def _forget(*, setting: str, **_: Any) -> None:
    if setting in ("DELAYSERVER", "CHANNEL_LAYERS"):
        get_settings.cache_clear()
        get_offload_settings.cache_clear()
        get_progress_settings.cache_clear()
        get_layer_settings.cache_clear()
