"""Where messages go out, and where `asgi.delay` is read. `get_layer` finds the best way for a layer."""

from __future__ import annotations

import functools
from typing import Any

from channels.layers import channel_layers, get_channel_layer
from django.core.signals import setting_changed
from django.dispatch import receiver

from ..conf import REDIS_LAYER, get_layer_settings
from ..errors import ConfigurationError
from .base import Layer
from .generic import GenericLayer


@functools.cache
def get_layer(alias: str) -> Layer:
    """The layer of this alias: by its own bytes where that is channels_redis, else by its public API."""
    settings = get_layer_settings(alias)
    channel_layer = get_channel_layer(alias)
    if settings.backend == REDIS_LAYER:
        from .channels_redis import RedisLayer, known

        if known():
            return RedisLayer(channel_layer)
    if channel_layer is None:
        raise ConfigurationError(f"the channel layer {alias!r} cannot be made")
    return GenericLayer(channel_layer)


def new_channel_layer(alias: str) -> Any:
    """A channel layer that an event loop shares with no other, and whose `receive` may wait for ever."""
    layer = channel_layers.make_backend(alias)
    if get_layer_settings(alias).backend == REDIS_LAYER:  # redis-py would give up after 5 s
        layer.hosts = [{"socket_timeout": None, **host} for host in layer.hosts]
    return layer


@receiver(setting_changed)
def _forget(*, setting: str, **_: object) -> None:
    if setting == "CHANNEL_LAYERS":
        get_layer.cache_clear()
