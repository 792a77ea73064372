"""What can be told beforehand about a store: that it does not go with the project, or cannot be imported."""

from __future__ import annotations

from importlib.util import find_spec

from django.db import connections
from django.utils.module_loading import import_string

from ..conf import (
    REDIS_IN_MEMORY,
    REDIS_LAYERS,
    STORES,
    Fault,
    LayerSettings,
    get_settings,
    option_faults,
    store_name,
    store_path,
)
from ..stores.base import Store


def store_faults(layer: LayerSettings) -> list[Fault]:
    """Why the store that goes with `layer` cannot be had."""
    name = store_name(layer)
    if name == "redis":
        if layer.in_memory:
            return [REDIS_IN_MEMORY]
        return option_faults(name, get_settings().store_options) or _redis_faults(layer)
    if name == "database":
        return option_faults(name, get_settings().store_options) or _database_faults()
    return [] if name in STORES else _import_faults(store_path(layer))


def _redis_faults(layer: LayerSettings) -> list[Fault]:
    needed = ("redis", "channels_redis") if layer.backend in REDIS_LAYERS else ("redis",)
    missing = [package for package in needed if find_spec(package) is None]
    if not missing:
        return []
    return [
        Fault(
            f"the redis store beside the layer {layer.alias!r} needs {' and '.join(needed)};"
            f" not installed: {', '.join(missing)}",
            'pip install "delayserver[redis]", or use the database store.',
            "delayserver.E011",
        )
    ]


def _database_faults() -> list[Fault]:
    using = get_settings().store_options.get("using", "default")
    if using in list(connections):
        return []
    return [
        Fault(
            f"DELAYSERVER['STORE_OPTIONS']['using'] is {using!r}, and DATABASES has no such entry",
            f"Known aliases: {', '.join(sorted(connections))}.",
            "delayserver.E009",
        )
    ]


def _import_faults(path: str) -> list[Fault]:
    try:
        backend = import_string(path)
    except Exception as error:  # noqa: BLE001  a project's own module may raise anything
        told = f"{path!r}, which cannot be imported ({type(error).__name__}: {error})"
    else:
        if isinstance(backend, type) and issubclass(backend, Store):
            return []
        told = f"{path!r}, which is none"
    return [
        Fault(
            f"expected DELAYSERVER['STORE'] to be a subclass of delayserver.stores.base.Store, got {told}",
            "Correct the dotted path, or leave it out for the default.",
            "delayserver.E010",
        )
    ]


def unmade_fault(error: Exception) -> Fault:
    """Why the store cannot be had, though its class can."""
    return Fault(
        f"the store cannot be made ({type(error).__name__}: {error})",
        "Correct DELAYSERVER['STORE_OPTIONS'], which it is given, or the store.",
        "delayserver.E010",
    )
