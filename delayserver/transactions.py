"""What is put when the caller's transaction commits: for a store that is not in that transaction's database.

Django keeps what shall happen on commit (`django.db.transaction.on_commit`), drops it with a savepoint that is rolled
back, and runs it in order. So what is deferred lies there, and nowhere else.
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
from .stores.base import Named, Store


class Deferred:
    """One put, to be done on commit."""

    def __init__(self, store: Store, messages: Sequence[Waiting]) -> None:
        self.store, self.messages = store, list(messages)

    def __call__(self) -> None:
        self.store.put(self.messages)


def database_to_wait_for(store: Store) -> str | None:
    """The database whose transaction the caller is in, where `store` takes no part in it; None to put at once."""
    aliases = [connection.alias for connection in connections.all(initialized_only=True) if _in_transaction(connection)]
    return aliases[0] if aliases and store.database not in aliases else None


def _in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether in one that will be committed: that which a `TestCase` puts around each test never is."""
    return connection.in_atomic_block and not all(
        getattr(block, "_from_testcase", False) for block in connection.atomic_blocks
    )


def has_sync_caller() -> bool:
    """Whether a thread waits for this coroutine (`async_to_sync`): only there can a transaction be open."""
    try:
        return AsyncToSync.executors.current is not None
    except AttributeError:
        return asyncio.get_running_loop() in AsyncToSync.loop_thread_executors


def defer(store: Store, messages: Sequence[Waiting]) -> list[Receipt] | None:
    """Put `messages` on commit, and say what will come of it as things stand; None where nothing is to wait for."""
    database = database_to_wait_for(store)
    if database is None:
        return None
    deferred = Deferred(store, [])
    receipts = []
    for message in messages:
        receipt = _foresee(store, message, deferred)
        receipts.append(receipt)
        if receipt.created:
            deferred.messages.append(message)
    transaction.on_commit(deferred, using=database)
    return receipts


def _foresee(store: Store, message: Waiting, ours: Deferred) -> Receipt:
    holder = None
    if message.key is not None and message.on_conflict != "replace":
        named = Named(key=message.key)
        before = [one for one in ours.messages if one.key == message.key]
        holder = before[-1] if before else get(named) or store.get(named)
    if holder is None:
        return Receipt(message.id, message.due, created=True)
    if message.on_conflict == "error":
        raise KeyTaken(f"a message with key {message.key!r} is waiting already")
    return Receipt(holder.id, holder.due, created=False)


# -- what callers do with it before it is put -------------------------------------------------------------------


def cancel(named: Named) -> bool:
    """Deferred -> gone."""
    found = _find(named)
    for deferred, message in found:
        deferred.messages.remove(message)
    return bool(found)


def reschedule(named: Named, due: Callable[[Store], int]) -> bool:
    """Deferred -> deferred, due at another instant."""
    found = _find(named)
    for deferred, message in found:
        deferred.messages[deferred.messages.index(message)] = replace(message, due=due(deferred.store))
    return bool(found)


def get(named: Named) -> Waiting | None:
    """The deferred message of this id or key."""
    return next((message for _, message in _find(named)), None)


def _find(named: Named) -> list[tuple[Deferred, Waiting]]:
    """The last first: of one key it is the one that will remain."""
    acts = [act for connection in connections.all(initialized_only=True) for _, act, *_ in connection.run_on_commit]
    return [
        (act, message)
        for act in reversed(acts)
        if isinstance(act, Deferred)
        for message in reversed(act.messages)
        if (message.id == named.id if named.id is not None else message.key == named.key)
    ]
