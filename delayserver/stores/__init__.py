"""Where messages wait. `get_store` finds the store that goes with a layer; its code is loaded at first use."""

from __future__ import annotations

import functools

from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from ..conf import get_layer_settings, get_settings, store_path
from ..errors import ConfigurationError
from .base import Store


@functools.cache
def get_store(layer: str | None = None) -> Store:
    """The store for the layer of this alias (default: ``DELAYSERVER["CHANNEL_LAYER"]``), one a process."""
    settings = get_settings()
    layer_settings = get_layer_settings(layer or settings.channel_layer)
    path = store_path(layer_settings)
    try:
        backend = import_string(path)
    except ImportError as error:
        raise ConfigurationError(
            f"the store {path} cannot be imported ({error}); the redis store needs delayserver[redis]"
        ) from error
    return backend(layer_settings, **settings.store_options)  # type: ignore[no-any-return]


@receiver(setting_changed)
def _forget(*, setting: str, **_: object) -> None:
    if setting in ("DELAYSERVER", "CHANNEL_LAYERS", "DATABASES"):
        get_store.cache_clear()
