"""A thread of a store's own, for acts that must neither join a caller's transaction nor wait for a caller's thread.

A sync view may hold the thread that Django's async ORM would use, while it waits for the very act: so that is not it.
The thread, and its connection, are there while there is something to do, and little longer. It does not hold up the
end of the interpreter: what nobody waits for may then be left undone.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import ParamSpec, TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper

from .base import STORE_THREAD
from .database_link import DatabaseLink

IDLE_SECONDS = 2.0
CLOSE_SECONDS = 1.0  # how long a statement in hand may take when the store closes

P = ParamSpec("P")
T = TypeVar("T")

# A fork ends these threads in the child, but must not destroy their connections there: some clients would then tell the
# server that the parent's connection ends.
_in_use: set[BaseDatabaseWrapper] = set()


class Shift:
    """One thread, from its first act until it is idle; `_acts` end with None."""

    def __init__(self, link: DatabaseLink) -> None:
        self.ended: Future[None] = Future()
        self.ended.set_running_or_notify_cancel()  # whoever no longer waits for it cannot cancel it
        self._link = link
        self._acts: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._mutex = threading.Lock()
        self._is_over = False
        threading.Thread(target=self._serve, name=STORE_THREAD, daemon=True).start()

    def give(self, act: Callable[[], None] | None) -> bool:
        """Whether it will still be done."""
        with self._mutex:
            if self._is_over:
                return False
            self._acts.put(act)
            self._is_over = act is None
            return True

    def _serve(self) -> None:
        try:
            while (act := self._next()) is not None:
                act()
        finally:
            with contextlib.suppress(Exception):  # it may be lost already
                connection = self._link.connection
                connection.close()
                _in_use.discard(connection)
            self.ended.set_result(None)

    def _next(self) -> Callable[[], None] | None:
        with contextlib.suppress(Empty):
            return self._acts.get(timeout=IDLE_SECONDS)
        with self._mutex:
            if self._acts.empty():
                self._is_over = True
                return None
            return self._acts.get()


def _new_shift(link: DatabaseLink) -> Shift | None:
    """None where the interpreter ends, and begins no thread any more (Python 3.12)."""
    try:
        return Shift(link)
    except RuntimeError:
        return None


def _do_here(act: Callable[[], None], link: DatabaseLink) -> None:
    """In the thread of the event loop, which Django would refuse: nothing else is left to be done there."""
    loop = asyncio.get_running_loop()
    asyncio._set_running_loop(None)
    try:
        act()
        link.disconnect()
    finally:
        asyncio._set_running_loop(loop)


class OwnThread:
    """Does acts one after the other, for whichever event loop asks, in a thread of this process."""

    def __init__(self, link: DatabaseLink) -> None:
        self._link = link
        self._begin()

    def _begin(self) -> None:
        self._mutex = threading.Lock()
        self._shift: Shift | None = None
        self._process = os.getpid()  # last: another thread of this process may come meanwhile

    async def run(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._process != os.getpid():
            self._begin()  # the other thread is the parent's
        future: Future[T] = Future()
        give = functools.partial(self._do, functools.partial(act, *args, **kwargs), future)
        with self._mutex:
            if self._shift is None or not self._shift.give(give):
                self._shift = _new_shift(self._link)
                if self._shift is None:
                    _do_here(give, self._link)
                else:
                    self._shift.give(give)
        return await asyncio.wrap_future(future)

    def _do(self, act: Callable[[], T], future: Future[T]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            _in_use.add(self._link.connection)
            self._link.tidy()
            future.set_result(act())
        except BaseException as error:  # noqa: BLE001  it is the caller's
            future.set_exception(error)

    async def aclose(self) -> None:
        """End after what is in hand, and let the connection go; whoever comes later gets another."""
        shift, self._shift = self._shift, None
        if shift is not None and self._process == os.getpid():
            shift.give(None)
            await asyncio.wait([asyncio.wrap_future(shift.ended)], timeout=CLOSE_SECONDS)
