"""Where messages wait. `get_store` finds the store that goes with a layer; its code is loaded at first use."""

from __future__ import annotations

import functools

from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from ..conf import get_layer_settings, get_settings, store_path
from ..errors import ConfigurationError
from .base import Store


def get_store(layer: str | None = None) -> Store:
    """The store for the layer of this alias (default: ``DELAYSERVER["CHANNEL_LAYER"]``), one a process."""
    return _store_of(layer or get_settings().channel_layer)


@functools.cache
def _store_of(layer: str) -> Store:
    settings, layer_settings = get_settings(), get_layer_settings(layer)
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
        _store_of.cache_clear()
