"""The threads in which a worker's sync code runs.

Channels runs all sync code of a process in one thread. Here each message has one to itself, as each request has in
Django: all its sync code runs there, so that database connections, which belong to a thread, are its own meanwhile.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.db import close_old_connections, reset_queries

NAME = "delayserver-task"


class Threads:
    """At most `number` of them, made as they are needed. All but the work itself happens in one event loop."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._all: list[ThreadPoolExecutor] = []  # of one thread each
        self._idle: list[ThreadPoolExecutor] = []
        self._waiting: deque[LentThread] = deque()

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """While this is entered, the sync code of the current task has a thread of its own, once it needs one."""
        context, thread = ThreadSensitiveContext(), LentThread(self)
        SyncToAsync.context_to_thread_executor[context] = thread
        token = SyncToAsync.thread_sensitive_context.set(context)
        try:
            yield
        finally:
            SyncToAsync.thread_sensitive_context.reset(token)
            SyncToAsync.context_to_thread_executor.pop(context, None)
            thread.give_back()

    def stop(self) -> None:
        """No more work; what runs goes on."""
        for executor in self._all:
            executor.shutdown(wait=False, cancel_futures=True)

    def ask(self, thread: LentThread) -> None:
        """An idle one, or a new one; or the next that is given back."""
        if self._idle:
            thread.begin(self._idle.pop())
        elif len(self._all) < self._number:
            self._all.append(ThreadPoolExecutor(1, f"{NAME}-{len(self._all) + 1}"))
            thread.begin(self._all[-1])
        else:
            self._waiting.append(thread)

    def take_back(self, executor: ThreadPoolExecutor) -> None:
        while self._waiting:
            thread = self._waiting.popleft()
            if thread.wants:
                thread.begin(executor)
                return
        self._idle.append(executor)


class LentThread(Executor):
    """One message's thread; until there is one, its work waits."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._executor: ThreadPoolExecutor | None = None
        self._work: list[tuple[Future[Any], Callable[[], Any]]] = []
        self._over = False

    @property
    def wants(self) -> bool:
        """Whether it still needs a thread."""
        return not self._over

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self._over:
            raise RuntimeError("the message is handled, and its thread is another's: await what you begin")
        future: Future[Any] = Future()
        work = (future, lambda: fn(*args, **kwargs))
        if self._executor is not None:
            self._executor.submit(_do, *work)
        else:
            self._work.append(work)
            if len(self._work) == 1:
                self._threads.ask(self)
        return future

    def begin(self, executor: ThreadPoolExecutor) -> None:
        """Here is the thread: connections begin as they do with a request."""
        self._executor = executor
        executor.submit(_freshen)
        for work in self._work:
            executor.submit(_do, *work)
        self._work.clear()

    def give_back(self) -> None:
        """The message is handled; what its cancelled handler still runs there ends first."""
        self._over = True
        for future, _ in self._work:  # it never had a thread
            future.cancel()
        if self._executor is not None:
            self._executor.submit(close_old_connections)
            self._threads.take_back(self._executor)


def _freshen() -> None:
    reset_queries()
    close_old_connections()


def _do(future: Future[Any], work: Callable[[], Any]) -> None:
    """As an executor does: whatever is raised is the future's, and the thread goes on."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except StopIteration as error:  # which no future of asyncio takes: who awaits it would wait for ever
        future.set_exception(RuntimeError(f"sync code raised StopIteration({error})"))
    except BaseException as error:  # noqa: BLE001  SystemExit too
        future.set_exception(error)
    else:
        future.set_result(result)
