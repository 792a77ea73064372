"""Whether a message is here for the first time: for consumers whose effects must happen once.

A message can come again: with `retry`, or since a process has died. So a marker that it was handled is written in the
transaction of its effects, and both stay or neither does. The marker is a row of `HandledMessage`. No two transactions
can have the same one, so a later one waits here until the earlier one has ended.

Markers are kept for `KEEP`, and the older ones deleted while new ones come: after the commit, in a transaction of its
own, so that no lock of it and no error of it can meet the caller's.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, connections, router, transaction
from django.utils.asyncio import async_unsafe

from .errors import InvalidMessage
from .models import HandledMessage
from .stores.database_link import DatabaseLink
from .stores.database_pruning import Pruning
from .stores.database_rows import in_column
from .transactions import blocks_of_tests

KEEP = timedelta(days=30)
MAX_ID_LENGTH = 200

CURE = "give an id of your own, as in first_time('invoice:7')"
SYNC_ONLY = "expected first_time() in sync code, got an event loop's thread: use database_sync_to_async"

_pruning = Pruning(HandledMessage, "at", "markers of handled messages")


@async_unsafe(SYNC_ONLY)
def first_time(message: Mapping[str, Any] | str, *, using: str | None = None) -> bool:
    """Whether `message` is here for the first time; from then on it is not, once the transaction has committed.

    `message` is what a consumer got, with ``__delay__``, whose ``id`` counts; or an id of your own, of 1 to 200
    printable characters, such as ``"invoice:7"``. Anything else raises `InvalidMessage`. Call it inside
    ``transaction.atomic()``, before the effects: outside it raises `TransactionManagementError`. After a rollback it
    is the first time again. While another transaction has the same message, this one waits for its end. The answer
    False leaves the transaction as it was.

    `using` is the alias of the database that the effects are in; if left out, it is where the project's routers write
    `HandledMessage`, most often ``"default"``. Only 30 days (`KEEP`) are remembered.

    Sync only: in async code, call it in a function that `database_sync_to_async` runs.
    """
    id = _id_of(message)
    using = router.db_for_write(HandledMessage) if using is None else using
    tested = _check_transaction(using)
    first = _insert(id, using)
    if not tested:
        _prune_on_commit(using)
    return first


# -- what is given -------------------------------------------------------------------------------------------


def _id_of(message: object) -> str:
    """Its id; or `InvalidMessage`, which tells of the message no more than what kind of thing it is."""
    match message:
        case str(id):
            pass
        case {"__delay__": {"id": str(id)}}:
            pass
        case Mapping():
            raise InvalidMessage(
                "expected a message with an id in __delay__, which has one that was sent with retry or by a schedule,"
                f" got one without; {CURE}"
            )
        case _:
            raise InvalidMessage(f"expected a message (a dict) or an id (a str), got {type(message).__name__}; {CURE}")
    if not (0 < len(id) <= MAX_ID_LENGTH and id.isprintable()):
        raise InvalidMessage(f"expected an id of 1 to {MAX_ID_LENGTH} printable characters, got {len(id)}: {id[:50]!a}")
    return id


def _check_transaction(using: str) -> bool:
    """Whether it is in one of a `TestCase`, which never commits. That alone is none: production would not have it."""
    tests = blocks_of_tests(connections[using])
    if all(tests):
        raise transaction.TransactionManagementError(
            f"expected first_time() inside transaction.atomic() of database {using!r}, together with the effects,"
            " got it outside: a marker that commits alone loses them where the process dies in between"
        )
    return any(tests)


# -- the marker ----------------------------------------------------------------------------------------------


def _insert(id: str, using: str) -> bool:
    """Whether there was none with this id.

    A savepoint and a plain insert: it asks what is there now, whatever snapshot the transaction reads from, and
    nothing else does so on every database. A deadlock marks the caller's transaction as one to roll back.
    """
    marker = HandledMessage(id=in_column(id), at=_link(using).read_clock().now())
    try:
        with transaction.atomic(using=using):
            marker.save(force_insert=True, using=using)
    except IntegrityError:
        return False
    return True


@functools.cache
def _link(using: str) -> DatabaseLink:
    """For the database's clock: a host whose own clock is wrong must not delete what is new, nor write what is old."""
    return DatabaseLink(using)


# -- old markers ---------------------------------------------------------------------------------------------


def _prune_on_commit(using: str) -> None:
    if _pruning.is_time(using):
        transaction.on_commit(
            functools.partial(_pruning.prune, using, functools.partial(_oldest_kept, using)), using=using
        )


def _oldest_kept(using: str) -> int:
    return _link(using).read_clock().now() - KEEP // timedelta(milliseconds=1)
