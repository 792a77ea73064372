"""What a project calls: a message to be sent later goes straight into the store.

Everything that can be wrong with a message is refused here, where the call is made. A call that returned has stored
its message, or will on commit: see `transactions`. The `a`-twins await; the plain functions open no event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypedDict, Unpack

from asgiref.sync import sync_to_async

from . import transactions
from .backoff import Retry
from .clock import Clock
from .conf import get_layer_settings, get_settings
from .content import Content
from .errors import InvalidMessage
from .handlers import check_handler
from .layers import get_layer
from .message import Message, OnConflict, Receipt, Waiting
from .stores import get_stores
from .stores.base import MAX_BATCH, MAX_PUT_BYTES, Store

Progress = Callable[[int], object]


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


def send_later(channel: str, message: Content, *, on_commit: bool = True, **options: Unpack[Options]) -> Receipt:
    """Store `message` for `channel`, to be sent after ``delay`` or at ``eta``; see `Options`.

    `message` is a dict with a `type`, as Channels has it, of None, bool, 64-bit int, float, str, bytes, list and
    dict. `channel` is a general (``"reports"``) or a specific (``"specific.abc!xyz"``) one.

    Within ``atomic()`` the database store makes the message part of the transaction. Any other store gets it on
    commit, and never on rollback; with ``on_commit=False``, at once.

    Raises `InvalidMessage` for what could never be handed over, `KeyTaken` where that was asked for,
    `StoreUnavailable` when Redis does not answer: then the message was most likely not stored, unless the answer alone
    was lost.
    """
    return _send(Message(channel=channel, content=message, **options), on_commit)


def group_send_later(group: str, message: Content, *, on_commit: bool = True, **options: Unpack[Options]) -> Receipt:
    """As `send_later`, for every channel that is in `group` when the message is due."""
    return _send(Message(group=group, content=message, **options), on_commit)


async def asend_later(channel: str, message: Content, *, on_commit: bool = True, **options: Unpack[Options]) -> Receipt:
    """As `send_later`."""
    return await _asend(Message(channel=channel, content=message, **options), on_commit)


async def agroup_send_later(
    group: str, message: Content, *, on_commit: bool = True, **options: Unpack[Options]
) -> Receipt:
    """As `group_send_later`."""
    return await _asend(Message(group=group, content=message, **options), on_commit)


def send_as(id: str, message: Message, on_commit: bool = True) -> Receipt:
    """As `send_later`, under an id of our own: while a message of that id is in the store, it is that one."""
    return _send(message, on_commit, id)


async def asend_as(id: str, message: Message, on_commit: bool = True) -> Receipt:
    """As `send_as`."""
    return await _asend(message, on_commit, id)


def _send(message: Message, on_commit: bool, id: str | None = None) -> Receipt:
    body, store = _pack(message), _store_for(message)
    return _put(store, [_resolve(message, body, store.read_clock(), id)], on_commit)[0]


async def _asend(message: Message, on_commit: bool, id: str | None = None) -> Receipt:
    body, store = _pack(message), _store_for(message)
    return (await _aput(store, [_resolve(message, body, await store.aread_clock(), id)], on_commit))[0]


def _put(store: Store, messages: Sequence[Waiting], on_commit: bool) -> list[Receipt]:
    return (transactions.defer(store, messages) if on_commit else None) or store.put(messages)


async def _aput(store: Store, messages: Sequence[Waiting], on_commit: bool) -> list[Receipt]:
    if on_commit and transactions.has_sync_caller():
        receipts = await sync_to_async(transactions.defer)(store, messages)
        if receipts is not None:
            return receipts
    return await store.aput(messages)


def _store_for(message: Message) -> Store:
    host = get_layer(get_settings().channel_layer).host_of(message.target)
    return get_stores().choose(key=message.key, host=host)


def _pack(message: Message) -> bytes:
    """The content as it shall lie in the store; `InvalidMessage` for what could never be handed over."""
    settings = get_settings()
    if message.channel == settings.channel:
        raise InvalidMessage(f"expected a target other than {settings.channel} itself")
    if settings.check_handlers:
        check_handler(message.target, message.content["type"])
    layer = get_layer(settings.channel_layer)
    body = layer.seal(message.pack(settings.max_message_bytes))
    layer.check(message.content)
    return body


def _resolve(message: Message, body: bytes, clock: Clock, id: str | None = None) -> Waiting:
    return message.resolve(clock, body, id=id, home=get_layer_settings(get_settings().channel_layer).home)


# -- many at once ------------------------------------------------------------------------------------------------


def send_many_later(
    messages: Iterable[Message], *, on_commit: bool = True, progress: Progress | None = None
) -> list[Receipt]:
    """Store many messages, some hundreds in a round trip; a receipt for each, in their order.

    All or none of them are stored, up to 500 messages with 512 KiB of content together. More go in as many such parts
    as it takes, one after the other. `messages` may be a generator of any length: no more than a part is held at a
    time, and the receipts. `progress` is called after each part with how many messages were accepted.

    Raises as `send_later` does. The parts before it were accepted, and a note on the error says how many messages that
    were: they are stored, or will be on commit.
    Where the layer has several Redis hosts, what goes to one of them is all or none.
    """
    bulk = _Bulk(progress)
    with bulk:
        for message in messages:
            body, store = _pack(message), _store_for(message)
            waiting = _resolve(message, body, store.read_clock())
            if not bulk.takes(waiting):
                bulk.stored({store: _put(store, share, on_commit) for store, share in bulk.shares()})
            bulk.add(store, waiting)
        bulk.stored({store: _put(store, share, on_commit) for store, share in bulk.shares()})
    return bulk.receipts


async def asend_many_later(
    messages: Iterable[Message], *, on_commit: bool = True, progress: Progress | None = None
) -> list[Receipt]:
    """As `send_many_later`."""
    bulk = _Bulk(progress)
    with bulk:
        for message in messages:
            body, store = _pack(message), _store_for(message)
            waiting = _resolve(message, body, await store.aread_clock())
            if not bulk.takes(waiting):
                bulk.stored({store: await _aput(store, share, on_commit) for store, share in bulk.shares()})
            bulk.add(store, waiting)
        bulk.stored({store: await _aput(store, share, on_commit) for store, share in bulk.shares()})
    return bulk.receipts


class _Bulk:
    """The part that is being filled, and the receipts of those that are stored. An error gets a note of how many."""

    def __init__(self, progress: Progress | None) -> None:
        self.receipts: list[Receipt] = []
        self._progress = progress
        self._part: list[tuple[Store, Waiting]] = []
        self._size = 0

    def takes(self, message: Waiting) -> bool:
        fits = len(self._part) < MAX_BATCH and self._size + len(message.body) <= MAX_PUT_BYTES
        return fits or not self._part

    def add(self, store: Store, message: Waiting) -> None:
        self._part.append((store, message))
        self._size += len(message.body)

    def shares(self) -> list[tuple[Store, list[Waiting]]]:
        """The part, by store: most often there is one."""
        shares: dict[Store, list[Waiting]] = {}
        for store, message in self._part:
            shares.setdefault(store, []).append(message)
        return list(shares.items())

    def stored(self, receipts: Mapping[Store, Sequence[Receipt]]) -> None:
        """The part is stored, and the next begins."""
        answers = {store: iter(of_share) for store, of_share in receipts.items()}
        self.receipts += [next(answers[store]) for store, _ in self._part]
        self._part, self._size = [], 0
        if self._progress is not None and self.receipts:
            self._progress(len(self.receipts))

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and self.receipts:
            error.add_note(f"the first {len(self.receipts)} messages were accepted")
