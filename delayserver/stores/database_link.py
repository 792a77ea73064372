"""A database as the store reaches it: connections, its clock, and transactions that are tried again."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from django.db import IntegrityError, InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ..clock import Clock, StoreClock, SystemClock
from ..errors import StoreUnavailable

TRIES = 100  # each failure means that another transaction got ahead, so even a crowd on one key gets through
READINGS = {  # microseconds since the epoch
    "postgresql": "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint",
    "mysql": "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))",
}
GAVE_WAY = ("40001", "40P01")  # PostgreSQL: serialisation failure, deadlock
GAVE_WAY_MYSQL = 1213  # deadlock

P = ParamSpec("P")
T = TypeVar("T")

_inherited: list[object] = []  # the parent's connections, of which this process must not use nor close its copies


def _begin_in_child() -> None:
    wrappers = connections.all(initialized_only=True)
    _inherited.extend(wrapper.connection for wrapper in wrappers if wrapper.connection is not None)


os.register_at_fork(after_in_child=_begin_in_child)


class DatabaseLink:
    """The database `using`, from whichever thread calls."""

    def __init__(self, using: str, clock: Clock | None = None) -> None:
        self.using = using
        self.clock: Clock = clock or (StoreClock() if self.vendor in READINGS else SystemClock())

    def __str__(self) -> str:
        return f"database {self.using} ({self.vendor})"

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """The calling thread's own."""
        return connections[self.using]

    @property
    def vendor(self) -> str:
        return self.connection.vendor

    # -- transactions ----------------------------------------------------------------------------------------

    def write(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self.again(self._in_transaction, functools.partial(act, *args, **kwargs))

    def _in_transaction(self, act: Callable[[], T]) -> T:
        with transaction.atomic(using=self.using):
            return act()

    def again(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `act` returns; done again where another transaction got ahead, or an idle connection had died.

        In the caller's transaction only a taken key or id is tried again; every other error is the caller's.
        """
        joined = self.connection.in_atomic_block
        reconnected = False
        for tries_left in reversed(range(TRIES)):
            used = None
            try:
                self._let_go_of_inherited()
                self.connection.ensure_connection()
                used = self.connection.connection
                return act(*args, **kwargs)
            except IntegrityError:
                if not tries_left:
                    raise
            except (OperationalError, InterfaceError) as error:
                if joined:
                    raise
                died = self._died(used)
                if not tries_left or (reconnected if died else not _gave_way(error)):
                    raise StoreUnavailable(f"expected {self} to answer, got {error}") from error
                reconnected |= died
        raise AssertionError("the last try returns or raises")

    def _let_go_of_inherited(self) -> None:
        connection = self.connection
        if _inherited and not connection.in_atomic_block and any(one is connection.connection for one in _inherited):
            connection.connection = None

    def _died(self, used: object) -> bool:
        """Whether the connection `used` is lost; the next statement then makes a new one, if Django did not."""
        connection = self.connection
        if used is None or connection.connection is not used:
            return True
        if connection.is_usable():
            return False
        connection.close()
        return True

    def tidy(self) -> None:
        """What Django does between requests, but a connection without an age limit is kept while it works."""
        connection = self.connection
        connection.queries_log.clear()
        if connection.errors_occurred or connection.settings_dict["CONN_MAX_AGE"]:
            connection.close_if_unusable_or_obsolete()

    def disconnect(self) -> None:
        self.connection.close()

    def listen_parameters(self) -> Mapping[str, Any]:
        """What the listener connects with: as Django does, but for what suits only sync cursors."""
        parameters: dict[str, Any] = self.connection.get_connection_params()
        for name in ("cursor_factory", "context", "prepare_threshold"):
            parameters.pop(name, None)
        return parameters

    # -- its clock -------------------------------------------------------------------------------------------

    def read_clock(self, max_age: float = StoreClock.FRESH_SECONDS) -> Clock:
        """The database's clock, read afresh if the last reading is older than `max_age` seconds."""
        if isinstance(self.clock, StoreClock) and not self.clock_is_fresh(max_age):
            self.again(self._learn, self.clock)
        return self.clock

    def clock_is_fresh(self, max_age: float = StoreClock.FRESH_SECONDS) -> bool:
        return not isinstance(self.clock, StoreClock) or self.clock.age <= max_age

    def _learn(self, clock: StoreClock) -> None:
        with self.connection.cursor() as cursor:
            for left in reversed(range(clock.TRIES)):
                before = clock.ticks()
                cursor.execute(READINGS[self.vendor])
                (microseconds,) = cursor.fetchone()
                if clock.learn(before, microseconds * 1_000, clock.ticks(), last=not left):
                    break


def _gave_way(error: Exception) -> bool:
    """Whether the database ended this transaction for the sake of another."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) in GAVE_WAY or error.args[:1] == (GAVE_WAY_MYSQL,)
