"""What is put when the caller's transaction commits: for a store that is not in that transaction's database.

Django keeps what shall happen on commit (`django.db.transaction.on_commit`), drops it with a savepoint that is rolled
back, and runs it in order. So what is deferred lies there, and nowhere else. What is changed of it before the commit is
changed at once, as in a store: a savepoint that is rolled back does not undo that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from asgiref.sync import AsyncToSync
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from .errors import KeyTaken
from .message import Receipt, Waiting
from .stores.base import MAX_BATCH, MAX_PUT_BYTES, Named, Store


class Deferred:
    """One put, to be done on commit, of messages that were sent one after the other."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._messages: dict[str, Waiting] = {}
        self._keys: dict[str, str] = {}  # to the id of the last message that will hold it, as things stand
        self._size = 0

    def __call__(self) -> None:
        messages, self._messages, self._keys = self._messages, {}, {}  # `captureOnCommitCallbacks` keeps what has run
        self.store.put(list(messages.values()))

    def takes(self, messages: Sequence[Waiting]) -> bool:
        """Whether there is room for these; what has run already has none."""
        fits = len(self._messages) + len(messages) <= MAX_BATCH and self._size + _size(messages) <= MAX_PUT_BYTES
        return fits and bool(self._messages)

    def add(self, message: Waiting, *, holds_key: bool) -> None:
        """Without its key's place where another holds that: should it be gone by then, this one is put."""
        if message.on_conflict == "replace":
            self.free(message.key)
        self._messages[message.id] = message
        self._size += len(message.body)
        if message.key is not None and holds_key:
            self._keys[message.key] = message.id

    def find(self, named: Named) -> Waiting | None:
        id = named.id if named.id is not None else self._keys.get(named.key or "")
        return self._messages.get(id or "")

    def remove(self, message: Waiting) -> None:
        self._messages.pop(message.id, None)

    def free(self, key: str | None) -> None:
        """Remove all with this key, if it is one."""
        if key is not None:
            self._messages = {id: message for id, message in self._messages.items() if message.key != key}
            self._keys.pop(key, None)

    def move(self, message: Waiting, due: int) -> None:
        self._messages[message.id] = replace(message, due=due)


def _size(messages: Sequence[Waiting]) -> int:
    return sum(len(message.body) for message in messages)


# -- whether there is something to wait for -----------------------------------------------------------------------


def database_to_wait_for(store: Store) -> str | None:
    """The database whose transaction the caller is in, where `store` takes no part in it; None to put at once."""
    aliases = [connection.alias for connection in connections.all(initialized_only=True) if _in_transaction(connection)]
    return aliases[0] if aliases and store.database not in aliases else None


def _in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether in one that will be committed: that which a `TestCase` puts around each test never is."""
    return connection.in_atomic_block and not all(blocks_of_tests(connection))


def blocks_of_tests(connection: BaseDatabaseWrapper) -> list[bool]:
    """For each ``atomic()`` that is open, whether it is one that a `TestCase` puts around a test."""
    return [getattr(block, "_from_testcase", False) for block in connection.atomic_blocks]


def has_sync_caller() -> bool:
    """Whether a thread waits for this coroutine (`async_to_sync`): only there can a transaction be open.

    A task that has outlived such a call inherits its executor, which has ended with it.
    """
    executor = getattr(AsyncToSync.executors, "current", None)
    if executor is not None:
        return not getattr(executor, "_broken", False)
    return asyncio.get_running_loop() in AsyncToSync.loop_thread_executors


# -- sending -------------------------------------------------------------------------------------------------------


def defer(store: Store, messages: Sequence[Waiting]) -> list[Receipt] | None:
    """Put `messages` on commit, and say what will come of it as things stand; None where nothing is to wait for."""
    database = database_to_wait_for(store)
    if database is None:
        return None
    receipts = _foresee(store, messages)
    deferred = _last(database, store, messages)
    for message, receipt in zip(messages, receipts, strict=True):
        deferred.add(message, holds_key=receipt.created)
    return receipts


def _foresee(store: Store, messages: Sequence[Waiting]) -> list[Receipt]:
    """As if all were put now. Each key that is not known yet is asked for."""
    holders: dict[str, tuple[str, int]] = {}
    receipts = []
    for message in messages:
        held = None
        if message.key is not None and message.on_conflict != "replace":
            held = holders.get(message.key) or _holder(store, message.key)
        if held is not None and message.on_conflict == "error":
            raise KeyTaken(f"a message with key {message.key!r} is waiting already")
        receipt = Receipt(*held, created=False) if held else Receipt(message.id, message.due, created=True)
        if message.key is not None:
            holders[message.key] = receipt.id, receipt.due
        receipts.append(receipt)
    return receipts


def _holder(store: Store, key: str) -> tuple[str, int] | None:
    found = get(Named(key=key)) or store.get(Named(key=key))
    return None if found is None else (found.id, found.due)


def _last(database: str, store: Store, messages: Sequence[Waiting]) -> Deferred:
    """The last put of this transaction or savepoint if it takes these too, else a new one."""
    connection = connections[database]
    if connection.run_on_commit:
        savepoints, act, *_ = connection.run_on_commit[-1]
        here = savepoints == set(connection.savepoint_ids)
        if here and isinstance(act, Deferred) and act.store is store and act.takes(messages):
            return act
    deferred = Deferred(store)
    transaction.on_commit(deferred, using=database)
    return deferred


# -- what callers do with it before it is put -------------------------------------------------------------------


def cancel(named: Named) -> bool:
    """Deferred -> gone, with all that would take its place."""
    found = _find(named)
    for deferred, message in found:
        deferred.remove(message)
    for key in {named.key, *(message.key for _, message in found)}:
        for deferred in _all_deferred():
            deferred.free(key)
    return bool(found)


def reschedule(named: Named, due: Callable[[Store], int]) -> bool:
    """Deferred -> deferred, due at another instant."""
    found = _find(named)
    for deferred, message in found:
        deferred.move(message, due(deferred.store))
    return bool(found)


def get(named: Named) -> Waiting | None:
    """The deferred message of this id or key."""
    return next((message for _, message in _find(named)), None)


def _find(named: Named) -> list[tuple[Deferred, Waiting]]:
    """The last first: of one key it is the one that will remain."""
    found = ((deferred, deferred.find(named)) for deferred in _all_deferred())
    return [(deferred, message) for deferred, message in found if message is not None]


def _all_deferred() -> list[Deferred]:
    """The last first."""
    acts = [act for connection in connections.all(initialized_only=True) for _, act, *_ in connection.run_on_commit]
    return [act for act in reversed(acts) if isinstance(act, Deferred)]
