"""Background threads with an event loop of their own: what callers with any event loop, or with none, share.

A process has one of each kind, begun at first use. So a view under WSGI, an async view, a consumer and a Celery task
share a handful of connections, and none of them opens an event loop.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import Context
from typing import Any, Generic, TypeVar

from django.core.signals import setting_changed

T = TypeVar("T")
B = TypeVar("B", bound="Background")


class Background:
    """An event loop in a thread. `submit` is called from any other thread, or from any event loop."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, act: Coroutine[Any, Any, T]) -> Future[T]:
        """In an empty context: that of a caller names threads of a request that may have ended.

        `RuntimeError` once it is closed.
        """
        try:
            return Context().run(asyncio.run_coroutine_threadsafe, act, self._loop)
        except RuntimeError:
            act.close()
            raise

    def soon(self, act: Callable[..., object], *args: object) -> None:
        """Call `act` in the thread, in the order of asking; `RuntimeError` once it is closed."""
        self._loop.call_soon_threadsafe(act, *args, context=Context())

    def keep(self, act: Coroutine[Any, Any, Any]) -> None:
        """A task that nobody awaits; from the thread itself."""
        task = self._loop.create_task(act, name=self._name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def is_open(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """End the thread. Whoever still waits is told that it was cancelled."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()


class OneOfAProcess(Generic[B]):
    """The one of a kind that a process has: made at first use, ended when settings change, and not used by a child."""

    def __init__(self, make: Callable[[], B]) -> None:
        self._make = make
        self._made: B | None = None
        self._lock = threading.Lock()
        self._inherited: list[B] = []  # of parent processes: kept, so that nothing of theirs is closed here
        os.register_at_fork(after_in_child=self._begin_in_child)
        setting_changed.connect(self._forget)

    def get(self) -> B:
        """It, begun at first use."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def peek(self) -> B | None:
        """It, if it was begun."""
        return self._made

    def close(self) -> None:
        """End it, if there is one; the next use begins another."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def _begin_in_child(self) -> None:
        if self._made is not None:
            self._inherited.append(self._made)
        self._made, self._lock = None, threading.Lock()

    def _forget(self, *, setting: str, **_: object) -> None:
        if setting in ("DELAYSERVER", "CHANNEL_LAYERS"):
            self.close()
