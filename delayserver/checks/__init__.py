"""System checks: what can be told beforehand, and the cure.

All of them are `Fault`s; ``E`` in the id makes an error, ``W`` a warning. What needs a server is asked where Django
asks databases, and by the delay server when it starts.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections

from ..conf import Fault, LayerSettings, entry_faults, get_settings, known_layer, settings_faults, store_name
from ..stores import get_stores
from ..stores.base import Store
from .layer import application_faults, handlers_faults, layer_faults, missing_layer_faults, pool_faults
from .schedules import fixed_faults, row_faults
from .store import store_faults, unmade_fault

SERVER = "delayserver_server"  # manage.py check --tag delayserver_server --database default


def _told(faults: Iterable[Fault]) -> list[CheckMessage]:
    return [
        (Error if fault.id.startswith("delayserver.E") else Warning)(fault.sentence, hint=fault.hint, id=fault.id)
        for fault in faults
    ]


@register("delayserver")
def check_settings(**_: Any) -> list[CheckMessage]:
    """``DELAYSERVER`` has no unknown names and wrong types, and goes with the rest of the project."""
    if faults := settings_faults():
        return _told(faults)
    layer = known_layer()
    if layer is None:
        return _told([*handlers_faults(), *(entry_faults(get_settings().channel_layer) or missing_layer_faults())])
    return _told([*handlers_faults(), *store_faults(layer)])


@register("delayserver")
def check_layer(**_: Any) -> list[CheckMessage]:
    """The layer is one that messages arrive on."""
    layer = known_layer()
    return [] if layer is None else _told([*layer_faults(layer), *application_faults(layer)])


@register("delayserver")
def check_schedules(**_: Any) -> list[CheckMessage]:
    """Every schedule of code and settings can be kept, and none has another's name."""
    layer = known_layer()
    can_be_made = layer is not None and not any(".E" in fault.id for fault in layer_faults(layer))
    return _told(fixed_faults()) if can_be_made else []


@register("delayserver", deploy=True)
def check_connections(**_: Any) -> list[CheckMessage]:
    """The layer has enough of them: ``manage.py check --deploy``."""
    layer = known_layer()
    return [] if layer is None else _told(pool_faults(layer))


@register(SERVER, Tags.database)  # a tag of its own: Django 6 asks the databases wherever another tag is asked for
def check_server(databases: Collection[str] | None = None, **_: Any) -> list[CheckMessage]:
    """The store's own server keeps what it is given: ``manage.py check --database default``."""
    layer = known_layer()
    if not databases or layer is None or store_faults(layer) or _is_elsewhere(layer, databases):
        return []
    try:
        stores = get_stores()
    except Exception as error:  # noqa: BLE001  a project's own store may raise anything
        return _told([unmade_fault(error)])
    faults = _run(functools.partial(_doubts, stores)) + _run_sync(functools.partial(row_faults, databases))
    if sys.argv[1:2] == ["migrate"]:  # which makes the tables, but runs checks before
        faults = [fault for fault in faults if fault.id != "delayserver.W011"]
    return _told(faults)


def _is_elsewhere(layer: LayerSettings, databases: Collection[str]) -> bool:
    """Whether the store is in a database that was not asked for."""
    return store_name(layer) == "database" and get_settings().store_options.get("using", "default") not in databases


async def _doubts(stores: Iterable[Store]) -> list[Fault]:
    """A store that could not even be asked has none."""
    answers = await asyncio.gather(*(store.doubts() for store in stores), return_exceptions=True)
    return [doubt for answer in answers if not isinstance(answer, BaseException) for doubt in answer]


def _run(act: Callable[[], Awaitable[list[Fault]]]) -> list[Fault]:
    """From a thread of its own where this one runs an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return async_to_sync(act)()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_run_and_disconnect, act).result()


def _run_sync(act: Callable[[], list[Fault]]) -> list[Fault]:
    """As `_run`, for what must not be called where an event loop runs."""
    return _run(sync_to_async(act))


def _run_and_disconnect(act: Callable[[], Awaitable[list[Fault]]]) -> list[Fault]:
    try:
        return async_to_sync(act)()
    finally:
        connections.close_all()
