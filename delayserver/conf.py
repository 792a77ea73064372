"""The only reader of settings: ``DELAYSERVER`` and ``CHANNEL_LAYERS``, with every default in one place."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from .errors import ConfigurationError

STORES = {
    "redis": "delayserver.stores.redis.RedisStore",
    "database": "delayserver.stores.database.DatabaseStore",
    "memory": "delayserver.stores.memory.MemoryStore",
}
REDIS_LAYER = "channels_redis.core.RedisChannelLayer"
REDIS_LAYERS = (REDIS_LAYER, "channels_redis.pubsub.RedisPubSubChannelLayer")
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
    given: Mapping[str, Any] = getattr(django_settings, "DELAYSERVER", {})
    return Settings(**{name.lower(): value for name, value in given.items()})


def get_layer_settings(alias: str) -> LayerSettings:
    """The entry of ``CHANNEL_LAYERS`` called `alias`, or `ConfigurationError`."""
    layers: Mapping[str, Any] = getattr(django_settings, "CHANNEL_LAYERS", None) or {}
    if not layers:
        raise ConfigurationError(
            "You do not have any CHANNEL_LAYERS configured. Add one: the quickstart of delayserver shows how."
        )
    if alias not in layers:
        raise ConfigurationError(
            f"There is no channel layer {alias!r} in CHANNEL_LAYERS. Known: {', '.join(sorted(layers))}."
        )
    entry = layers[alias]
    backend = entry.get("BACKEND", "") if isinstance(entry, Mapping) else ""
    return LayerSettings(alias, backend, entry.get("CONFIG", {}) if backend else {})


def store_path(layer: LayerSettings) -> str:
    """The dotted path of the store that goes with `layer`: redis where the layer is, else database."""
    name = get_settings().store or ("redis" if layer.backend in REDIS_LAYERS else "database")
    if name == "redis" and layer.in_memory:
        raise ConfigurationError(
            "the redis store does not go with the in-memory channel layer, whose messages must stay in their process:"
            " use the database or the memory store, or channels_redis."
        )
    return STORES.get(name, name)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with the settings: what was expected and what came, and the cure."""

    sentence: str
    hint: str
    id: str


def settings_faults() -> list[Fault]:
    """Everything wrong with ``DELAYSERVER`` that can be told without a server."""
    given = getattr(django_settings, "DELAYSERVER", {})
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
    }
    for name, (kind, sentence) in expected.items():
        value = given.get(name)
        if name in given and (not isinstance(value, kind) or isinstance(value, bool) or not _positive(value)):
            faults.append(
                Fault(
                    f"expected DELAYSERVER[{name!r}] to be {sentence}, got {type(value).__name__}",
                    "Correct it, or leave it out for the default.",
                    "delayserver.E003",
                )
            )
    faults += _store_faults(given)
    return faults


def _positive(value: object) -> bool:
    return not isinstance(value, int) or value > 0


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
    allowed = STORE_OPTIONS.get(store) if isinstance(store, str) else None
    if allowed is not None and isinstance(options, Mapping) and not options.keys() <= allowed:
        faults.append(
            Fault(
                f"DELAYSERVER['STORE_OPTIONS'] has names that the {store} store does not know:"
                f" {', '.join(sorted(map(str, options.keys() - allowed)))}",
                f"Known names: {', '.join(sorted(allowed)) or 'none'}.",
                "delayserver.E005",
            )
        )
    return faults


@receiver(setting_changed)
def _forget(*, setting: str, **_: Any) -> None:
    if setting in ("DELAYSERVER", "CHANNEL_LAYERS"):
        get_settings.cache_clear()
