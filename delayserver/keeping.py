"""The thread that keeps a worker's leases while handlers run, and names the one that blocks the event loop.

It is a thread so that a handler which blocks the loop loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from django.db import connections

from .clock import monotonic
from .events import LOOP_BLOCKED, LOOP_FAILED, emit
from .layers.base import Source, Taken
from .message import Ticket
from .stores.base import MAX_BATCH, Store
from .telling import innermost_own, place_of

TICK_SECONDS = 0.5
BLOCKED_SECONDS = 1.0
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(slots=True, eq=False)
class Job:
    """A message in hand, from when it was taken until that is over. Times are `clock.monotonic`."""

    source: Source
    taken: Taken
    renewed_at: float
    ticket: Ticket | None = None
    store: Store | None = None  # that has the ticket's message
    acked_by: float = 0.0  # when that is due again
    ack_seconds: float = 0.0  # and how long it waits at a time
    begun: bool = False
    charged: bool = False  # should this worker die now, it may be the message's fault

    def needs_lease(self, now: float) -> bool:
        return bool(self.taken.generation) and now - self.renewed_at > self.source.lease / 3

    def needs_store(self, now: float) -> bool:
        return self.store is not None and self.acked_by - now < self.ack_seconds * 2 / 3


class Keeper:
    """Keeps `jobs`, which the event loop changes; it works while there are any."""

    def __init__(self, jobs: Collection[Job]) -> None:
        self._jobs = jobs
        self._loop = asyncio.get_running_loop()
        self._wanted, self._stopping = threading.Event(), threading.Event()
        self._loop_thread = threading.get_ident()
        self._asked_at: float | None = None  # when the loop was asked for a sign of life
        self._told = False
        self._thread = threading.Thread(target=self._run, name="delayserver keeper", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """There is something to keep."""
        if not self._wanted.is_set():
            self._wanted.set()

    def stop(self) -> None:
        self._stopping.set()
        self._wanted.set()

    # -- in the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wanted.wait()
            while self._jobs and not self._stopping.wait(TICK_SECONDS):
                self._watch()
                self._keep()
            self._wanted.clear()
            if self._jobs:  # one came in between
                self._wanted.set()
        connections.close_all()

    def _watch(self) -> None:
        """Ask the loop for a sign of life, and tell who it is that keeps it from giving one."""
        now = monotonic()
        if self._asked_at is None:
            self._asked_at, self._told = now, False
            with contextlib.suppress(RuntimeError):  # the loop is closed: the worker has ended
                self._loop.call_soon_threadsafe(self._answer)
        elif not self._told and now - self._asked_at >= BLOCKED_SECONDS:
            self._told = True
            self._tell_blocked(now - self._asked_at)

    def _answer(self) -> None:
        self._asked_at = None

    def _tell_blocked(self, seconds: float) -> None:
        frame = innermost_own(sys._current_frames().get(self._loop_thread))
        task = asyncio.current_task(self._loop)
        channel = task.get_name().partition(" ")[2] if task is not None else "?"
        place = "?" if frame is None else place_of(frame, frame.f_lineno)
        emit(LOOP_BLOCKED, of=channel, channel=channel, seconds=seconds, place=place)

    def _keep(self) -> None:
        now = monotonic()
        jobs = list(self._jobs)
        for source, some in _grouped(jobs, lambda job: job.source if job.needs_lease(now) else None):
            self._attempt(functools.partial(self._keep_leases, source, some, now))
        for store, some in _grouped(jobs, lambda job: job.store if job.needs_store(now) else None):
            self._attempt(functools.partial(self._keep_waiting, store, some, now))

    def _attempt(self, act: Callable[[], None]) -> None:
        """Whatever goes wrong, it is done again with the next tick."""
        try:
            act()
        except Exception as error:  # noqa: BLE001  no error ends the keeper
            emit(LOOP_FAILED, of="keeper", error=error, loop="the keeper of leases", seconds=TICK_SECONDS)

    def _keep_leases(self, source: Source, jobs: Sequence[Job], now: float) -> None:
        source.renew([job.taken for job in jobs])
        for job in jobs:
            job.renewed_at = now

    def _keep_waiting(self, store: Store, jobs: Sequence[Job], now: float) -> None:
        """What a store would hand over again waits for another ack timeout; whose hand-over is over is left alone."""
        for start in range(0, len(jobs), MAX_BATCH):
            some = jobs[start : start + MAX_BATCH]
            dues = store.renew([job.ticket for job in some if job.ticket], store.read_clock().now())
            for job, due in zip(some, dues, strict=True):
                if due is None:
                    job.store = None
                else:
                    job.acked_by = now + job.ack_seconds


def _grouped(found: Sequence[T], key: Callable[[T], K | None]) -> list[tuple[K, list[T]]]:
    groups: dict[K, list[T]] = defaultdict(list)
    for one in found:
        group = key(one)
        if group is not None:
            groups[group].append(one)
    return list(groups.items())
