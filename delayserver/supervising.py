"""Several worker processes under one parent, which starts each anew when it ends, and stops them all.

The parent loads the application, forks, and serves nothing itself. It sleeps until a signal comes, which Python tells
it as a byte in a pipe, or until a pause is over. Of a second pipe it alone holds the end to write to, and every worker
the one to read from: when the parent dies, however it dies, all of them see it at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

from django.db import connections

from .clock import monotonic
from .errors import ConfigurationError
from .events import WORKER_DIED, WORKER_ENDED, WORKER_FAILED, WORKER_NOT_STARTED, WORKERS_GIVEN_UP, Event, emit

PAUSES = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds before each new start in a row of short lives; then the last
SETTLED_SECONDS = 10.0  # a life of that is not short
QUICK_SECONDS, QUICK_ENDS = 1.0, 5  # where every worker ends so soon, so often in a row, the project is broken
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
NAMES = {int(one): one.name for one in signal.Signals}


class Parent(NamedTuple):
    """What a worker process knows of its parent: its own `number` there, from 1, and when the parent is gone."""

    number: int
    life: int

    def fileno(self) -> int:
        """Readable once the parent is gone, and for ever then: what ``loop.add_reader`` calls must remove itself."""
        return self.life


def supervise(number: int, serve: Callable[[Parent], int]) -> int:
    """Run `serve` in `number` child processes until a signal stops them; the exit code for this process.

    A child exits with what `serve` returns; what it raises is logged, and exits with 1. One that ends unasked is
    started anew: at once, then after growing pauses (`PAUSES`) while its lives are short. SIGTERM, SIGINT and SIGHUP
    stop: each child gets a SIGTERM, and the time it needs. A second one kills them, unless it is SIGHUP, which a
    closed terminal sends twice. Children ignore SIGINT and SIGHUP, so that Ctrl-C is one request. `serve` handles
    SIGTERM, and gets two where every process is signalled, as by systemd: a second is no reason to hurry.

    Returns 0 after a stop; 1 after a second signal, or where every child ended within a second five times in a row and
    none had ever lived for ten. Call it in the main thread, before other threads, event loops and connections; those
    to databases are closed. Raises `ConfigurationError` where it cannot run.
    """
    if number < 1:
        raise ConfigurationError(f"expected the number of worker processes to be 1 or more, got {number}")
    if not hasattr(os, "fork"):
        raise ConfigurationError("expected a system with os.fork; on this one, start several single processes instead")
    pipes = (*os.pipe(), *os.pipe())  # of each, the end to read from and the end to write to
    try:
        with _signals_told(pipes[3]) as before:
            return _Supervisor(number, serve, before, *pipes).run()
    finally:
        for end in pipes:
            os.close(end)


class _Worker:
    """The processes of one number, of which at most one runs at a time, and how they have fared."""

    def __init__(self, number: int) -> None:
        self.number, self.pid = number, 0  # 0: none runs
        self.started = self.start_at = monotonic()
        self.short = self.quick = 0  # how many in a row lived short, and ended quickly
        self.settled = False  # one lived long

    def ended(self) -> float:
        """Its process ended just now: the seconds until the next one starts."""
        now = monotonic()
        lived, self.pid = now - self.started, 0
        self.settled = self.settled or lived >= SETTLED_SECONDS
        self.short = 1 if lived >= SETTLED_SECONDS else self.short + 1
        self.quick = self.quick + 1 if lived <= QUICK_SECONDS else 0
        pause = PAUSES[min(self.short, len(PAUSES)) - 1]
        self.start_at = now + pause
        return pause

    def is_hopeless(self) -> bool:
        outlived = self.pid and monotonic() - self.started > QUICK_SECONDS
        return self.quick >= QUICK_ENDS and not self.settled and not outlived


class _Supervisor:
    """What the parent does, and in `_live` a child."""

    def __init__(self, number: int, serve: Callable[[Parent], int], before: dict[int, Any], *pipes: int) -> None:
        self._workers = [_Worker(each) for each in range(1, number + 1)]
        self._serve, self._pipes, self._before = serve, pipes, before
        self._stopping, self._code = False, 0

    def run(self) -> int:
        while not self._stopping or self._running():
            for number in self._sleep():
                self._stop(number)
            self._reap()
            self._start()
        return self._code

    def _running(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.pid]

    def _sleep(self) -> list[int]:
        """Until a signal comes or a pause is over: the signals that came and ask to stop."""
        starts = [] if self._stopping else [worker.start_at for worker in self._workers if not worker.pid]
        seconds = max(0.0, min(starts) - monotonic()) if starts else None
        readable, _, _ = select.select([self._pipes[2]], [], [], seconds)
        return [number for end in readable for number in os.read(end, 4096) if number in STOPS]

    def _stop(self, number: int, code: int = 0) -> None:
        again = self._stopping
        if again and number == signal.SIGHUP:
            return
        self._stopping, self._code = True, 1 if again else code
        for worker in self._running():
            os.kill(worker.pid, signal.SIGKILL if again else signal.SIGTERM)  # not reaped yet, so the pid is its own

    def _reap(self) -> None:
        """Learn who has ended; one SIGCHLD may stand for several."""
        for worker in self._running():
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                reason = f"exit code {code}" if code >= 0 else NAMES.get(-code, f"signal {-code}")
                self._ended(worker, WORKER_DIED if code else WORKER_ENDED, pid=pid, reason=reason)

    def _ended(self, worker: _Worker, event: Event, **gaps: Any) -> None:
        seconds = worker.ended()
        if self._stopping:
            return
        emit(event, of=f"{worker.number}", number=worker.number, seconds=seconds, **gaps)
        if all(each.is_hopeless() for each in self._workers):
            emit(WORKERS_GIVEN_UP, seconds=QUICK_SECONDS, times=QUICK_ENDS)
            self._stop(signal.SIGTERM, code=1)

    def _start(self) -> None:
        """Start those whose pause is over; signals wait meanwhile, or those of a child might come into our pipe."""
        for worker in self._workers:
            if self._stopping or worker.pid or worker.start_at > monotonic():
                continue
            connections.close_all()
            _flush()  # or each child writes it once more
            worker.started, mask = monotonic(), signal.pthread_sigmask(signal.SIG_BLOCK, self._before)
            try:
                worker.pid = os.fork() or self._live(worker.number, mask)
            except OSError as error:
                self._ended(worker, WORKER_NOT_STARTED, error=error)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _live(self, number: int, mask: set[Any]) -> NoReturn:
        """All that a child does, from fork to exit."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for end in self._pipes[1:]:
                os.close(end)
            for one, handler in self._before.items():
                signal.signal(one, signal.SIG_IGN if one in (signal.SIGINT, signal.SIGHUP) else handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            code = self._serve(Parent(number, self._pipes[0])) & 0xFF
        except BaseException as error:  # noqa: BLE001  whatever it is, this process ends here
            emit(WORKER_FAILED, error=error, number=number)
        finally:
            _flush()
            with contextlib.suppress(Exception):
                logging.shutdown()
            os._exit(code)


@contextlib.contextmanager
def _signals_told(pipe: int) -> Iterator[dict[int, Any]]:
    """Each signal becomes a byte in the pipe; what handled it before, by number. ``nohup`` stays in force."""
    os.set_blocking(pipe, False)
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    numbers = (signal.SIGCHLD, *(STOPS if hangs_up else STOPS[:2]))
    earlier = signal.set_wakeup_fd(pipe, warn_on_full_buffer=False)
    before: dict[int, Any] = {one: signal.signal(one, lambda *_: None) or signal.SIG_DFL for one in numbers}
    try:
        yield before
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(earlier)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
