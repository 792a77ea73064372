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

from .clock import monotonic
from .errors import InvalidMessage
from .events import PRUNING_FAILED, emit
from .models import HandledMessage
from .stores.database_link import DatabaseLink
from .transactions import blocks_of_tests

KEEP = timedelta(days=30)
PRUNE_SECONDS = 60.0
MAX_PRUNED = 500  # in one statement: some SQLite takes no more than 999 values
MAX_ID_LENGTH = 200
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"  # not printable, as Python has it, so in no id

CURE = "give an id of your own, as in first_time('invoice:7')"
SYNC_ONLY = "expected first_time() in sync code, got an event loop's thread: use database_sync_to_async"

_pruned: dict[str, float] = {}  # when this process last looked for old markers, for each database


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
    marker = HandledMessage(id=_stored(id), at=_link(using).read_clock().now())
    try:
        with transaction.atomic(using=using):
            marker.save(force_insert=True, using=using)
    except IntegrityError:
        return False
    return True


def _stored(id: str) -> str:
    """The id as its column has it: MySQL and MariaDB take no notice of spaces at the end."""
    return id[:-1] + NO_BREAK_SPACE if id.endswith(" ") else id


@functools.cache
def _link(using: str) -> DatabaseLink:
    """For the database's clock: a host whose own clock is wrong must not delete what is new, nor write what is old."""
    return DatabaseLink(using)


# -- old markers ---------------------------------------------------------------------------------------------


def _prune_on_commit(using: str) -> None:
    now = monotonic()
    if using not in _pruned or now - _pruned[using] > PRUNE_SECONDS:
        _pruned[using] = now
        transaction.on_commit(functools.partial(_prune, using), using=using)


def _prune(using: str) -> None:
    """Delete old markers, if there are any; where more may be left, the next call goes on."""
    try:
        deleted = _delete_old(using)
    except Exception as error:  # noqa: BLE001  whatever it is, the caller's transaction has committed
        emit(PRUNING_FAILED, using=using, error=error)
    else:
        if deleted == MAX_PRUNED:
            _pruned.pop(using, None)


def _delete_old(using: str) -> int:
    """How many: the oldest, but for those that another transaction holds."""
    oldest_kept = _link(using).read_clock().now() - KEEP // timedelta(milliseconds=1)
    features = connections[using].features
    skips = features.has_select_for_update_skip_locked
    markers = HandledMessage.objects.using(using)
    with transaction.atomic(using=using):
        if not features.has_select_for_update:
            markers.filter(pk="").update(at=0)  # of no row: SQLite waits for its write lock only before a read
        old = markers.filter(at__lt=oldest_kept).order_by("at", "pk")
        held = old.select_for_update(skip_locked=skips, nowait=not skips)
        ids = list(held.values_list("pk", flat=True)[:MAX_PRUNED])
        if ids:
            markers.filter(pk__in=ids)._raw_delete(using)
    return len(ids)
