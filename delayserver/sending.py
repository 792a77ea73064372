"""What a project calls: a message to be sent later goes straight into the store.

Everything that can be wrong with a message is refused here, where the call is made. A call that returned has stored
its message. The `a`-twins await; the plain functions open no event loop.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypedDict, Unpack

from .backoff import Retry
from .clock import Clock
from .conf import get_layer_settings, get_settings
from .content import Content
from .errors import InvalidMessage
from .layers import get_layer
from .message import Message, OnConflict, Receipt, Waiting
from .stores import get_stores
from .stores.base import Store


class Options(TypedDict, total=False):
    """How and when a message shall be sent.

    delay, eta
        one of the two: whole milliseconds or a timedelta, at most 100 years; or an aware datetime
    key, on_conflict
        a name, unique among the messages that wait. When it is taken: ``"keep"`` the one that waits (the default),
        ``"replace"`` it, or raise an ``"error"`` (`KeyTaken`)
    expires
        a delay from now or an aware datetime: after it the message is not handed over
    retry
        a `Retry`: hand over again until the consumer acks
    """

    delay: int | timedelta
    eta: datetime
    key: str
    on_conflict: OnConflict
    expires: int | timedelta | datetime
    retry: Retry


def send_later(channel: str, message: Content, **options: Unpack[Options]) -> Receipt:
    """Store `message` for `channel`, to be sent after ``delay`` or at ``eta``; see `Options`.

    `message` is a dict with a `type`, as Channels has it, of None, bool, 64-bit int, float, str, bytes, list and
    dict. `channel` is a general (``"reports"``) or a specific (``"specific.abc!xyz"``) one.

    Raises `InvalidMessage` for what could never be handed over, `StoreUnavailable` when Redis does not answer:
    then the message was most likely not stored, unless the answer alone was lost.
    """
    return _put(Message(channel=channel, content=message, **options))


def group_send_later(group: str, message: Content, **options: Unpack[Options]) -> Receipt:
    """As `send_later`, for every channel that is in `group` when the message is due."""
    return _put(Message(group=group, content=message, **options))


async def asend_later(channel: str, message: Content, **options: Unpack[Options]) -> Receipt:
    """As `send_later`."""
    return await _aput(Message(channel=channel, content=message, **options))


async def agroup_send_later(group: str, message: Content, **options: Unpack[Options]) -> Receipt:
    """As `group_send_later`."""
    return await _aput(Message(group=group, content=message, **options))


def _put(message: Message) -> Receipt:
    store = _store_for(message)
    return store.put([_resolve(message, store.read_clock())])[0]


async def _aput(message: Message) -> Receipt:
    store = _store_for(message)
    return (await store.aput([_resolve(message, await store.aread_clock())]))[0]


def _store_for(message: Message) -> Store:
    host = get_layer(get_settings().channel_layer).host_of(message.target)
    return get_stores().choose(key=message.key, host=host)


def _resolve(message: Message, clock: Clock) -> Waiting:
    settings = get_settings()
    if message.channel == settings.channel:
        raise InvalidMessage(f"expected a target other than {settings.channel} itself")
    home, layer = get_layer_settings(settings.channel_layer).home, get_layer(settings.channel_layer)
    waiting = message.waiting(clock, settings.max_message_bytes, home=home, seal=layer.seal)
    layer.check(message.content)
    return waiting
