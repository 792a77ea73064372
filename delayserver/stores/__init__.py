"""Where messages wait. `get_stores` finds the stores that go with a layer; their code is loaded at first use."""

from __future__ import annotations

import itertools
from binascii import crc32
from collections.abc import Sequence

from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from ..conf import get_layer_settings, get_settings, store_path
from ..errors import ConfigurationError
from .base import Store


class Stores(tuple[Store, ...]):
    """The stores of one layer: one; or, on several Redis hosts, one beside each, as the layer has them."""

    def __new__(cls, stores: Sequence[Store]) -> Stores:
        return super().__new__(cls, stores)

    def __init__(self, stores: Sequence[Store]) -> None:
        self._turns = itertools.cycle(stores)

    def choose(self, *, key: str | None = None, host: int | None = None) -> Store:
        """Where a message shall wait: all of one key together, what must use a host beside it, others in turn."""
        if len(self) == 1:
            return self[0]
        if key is not None:
            return self[crc32(key.encode("utf-8", "surrogatepass")) % len(self)]
        return next(self._turns) if host is None else self[host]


_made: dict[str, Stores] = {}


def get_stores(layer: str | None = None) -> Stores:
    """The stores for the layer of this alias (default: ``DELAYSERVER["CHANNEL_LAYER"]``), made once a process."""
    alias = layer or get_settings().channel_layer
    return _made.get(alias) or _made.setdefault(alias, _make(alias))  # one for all threads, also for those that race


def _make(layer: str) -> Stores:
    settings, layer_settings = get_settings(), get_layer_settings(layer)
    path = store_path(layer_settings)
    try:
        backend: type[Store] = import_string(path)
    except ImportError as error:
        raise ConfigurationError(
            f"the store {path} cannot be imported ({error}); the redis store needs delayserver[redis]"
        ) from error
    return Stores(backend.shards(layer_settings, **settings.store_options))


@receiver(setting_changed)
def _forget(*, setting: str, **_: object) -> None:
    if setting in ("DELAYSERVER", "CHANNEL_LAYERS", "DATABASES"):
        _made.clear()
