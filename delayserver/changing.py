"""What a project calls while its message waits: take it back, move it, ask for it; by its id or its key.

The answer is never a lie: what `cancel` took back is not handed over, and what was handed over is not said to be taken
back. With the database store all of it is part of the caller's transaction; elsewhere it is done at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypedDict, TypeVar, Unpack

from asgiref.sync import sync_to_async

from . import transactions
from .clock import Clock
from .conf import get_settings
from .content import shown
from .errors import ConfigurationError, InvalidMessage, StoreUnavailable
from .layers import get_layer
from .message import MAX_KEY_LENGTH, Message, Waiting, check_time, due_instant
from .stores import get_stores
from .stores.base import Named, Store

T = TypeVar("T")


class Time(TypedDict, total=False):
    """When: one of the two, whole milliseconds or a timedelta, from now; or an aware datetime."""

    delay: int | timedelta
    eta: datetime


def cancel(id: str | None = None, *, key: str | None = None) -> bool:
    """Take back the message of this id or key; True if that was in time: then it is not handed over.

    False says that no such message waits: it has been handed over or is just then, has expired, was cancelled before,
    or never was. One with `retry` waits until it is acked, in case it has to come again: True says then that it does
    not, and a handler that has it already is not stopped. Raises `StoreUnavailable` where that cannot be told.
    """
    named = _named(id, key)
    deferred = transactions.cancel(named)
    if deferred and named.key is None:
        return True
    return bool(_ask(named, lambda store: store.cancel([named])[0])) or deferred


def reschedule(id: str | None = None, *, key: str | None = None, **time: Unpack[Time]) -> bool:
    """Make the waiting message of this id or key due at another time; True if it was in time, as for `cancel`.

    ``delay`` counts from now. What the message has for an expiry stays as it is.
    """
    named, due = _named(id, key), _instant(**time)
    moved = transactions.reschedule(named, lambda store: due(store.read_clock()))
    return moved or bool(_ask(named, lambda store: store.reschedule(named, due(store.read_clock()))))


def get(id: str | None = None, *, key: str | None = None) -> Message | None:
    """The waiting message of this id or key, with its ``eta``; None where `cancel` would come too late.

    Raises `ConfigurationError` where the layer encrypts, and has no longer the key that its content was encrypted with.
    """
    named = _named(id, key)
    return _told(transactions.get(named) or _ask(named, lambda store: store.get(named)))


async def acancel(id: str | None = None, *, key: str | None = None) -> bool:
    """As `cancel`."""
    named = _named(id, key)
    deferred = transactions.has_sync_caller() and await sync_to_async(transactions.cancel)(named)

    async def ask(store: Store) -> bool:
        return (await store.acancel([named]))[0]

    if deferred and named.key is None:
        return True
    return bool(await _aask(named, ask)) or deferred


async def areschedule(id: str | None = None, *, key: str | None = None, **time: Unpack[Time]) -> bool:
    """As `reschedule`."""
    named, due = _named(id, key), _instant(**time)
    if transactions.has_sync_caller():
        moved = await sync_to_async(transactions.reschedule)(named, lambda store: due(store.read_clock()))
        if moved:
            return True

    async def ask(store: Store) -> bool:
        return await store.areschedule(named, due(await store.aread_clock()))

    return bool(await _aask(named, ask))


async def aget(id: str | None = None, *, key: str | None = None) -> Message | None:
    """As `get`."""
    named = _named(id, key)
    deferred = await sync_to_async(transactions.get)(named) if transactions.has_sync_caller() else None
    return _told(deferred or await _aask(named, lambda store: store.aget(named)))


def _named(id: str | None, key: str | None) -> Named:
    given = [one for one in (id, key) if one is not None]
    if len(given) != 1 or not _is_name(given[0]):
        told = shown(given[0]) if len(given) == 1 else "both" if given else "neither"
        raise InvalidMessage(f"expected an id or a key, of 1 to {MAX_KEY_LENGTH} printable characters, got {told}")
    return Named(id, key)


def _is_name(text: object) -> bool:
    return isinstance(text, str) and 0 < len(text) <= MAX_KEY_LENGTH and text.isprintable()


def _instant(delay: int | timedelta | None = None, eta: datetime | None = None) -> Callable[[Clock], int]:
    check_time(delay, eta)
    return lambda clock: due_instant(clock, delay, eta)


def _where(named: Named) -> Sequence[Store]:
    """Where it can wait: what has a key waits where all of that key do."""
    stores = get_stores()
    return stores if named.key is None else [stores.choose(key=named.key)]


def _ask(named: Named, ask: Callable[[Store], T]) -> T | None:
    """The first answer that is not empty. A store that is away matters where no other has one."""
    away = None
    for store in _where(named):
        try:
            if answer := ask(store):
                return answer
        except StoreUnavailable as error:
            away = error
    if away is not None:
        raise away
    return None


async def _aask(named: Named, ask: Callable[[Store], Awaitable[T]]) -> T | None:
    """As `_ask`."""
    away = None
    for store in _where(named):
        try:
            if answer := await ask(store):
                return answer
        except StoreUnavailable as error:
            away = error
    if away is not None:
        raise away
    return None


def _told(message: Waiting | None) -> Message | None:
    if message is None:
        return None
    unseal = get_layer(get_settings().channel_layer).unseal
    try:
        plain = replace(message, body=unseal(message.body))
    except Exception as error:
        raise ConfigurationError(f"message {message.id} waits, but no key of the layer reads its content") from error
    try:
        return plain.asked_for()
    except Exception as error:
        raise InvalidMessage(f"message {message.id} waits, but its content is none ({type(error).__name__})") from error
