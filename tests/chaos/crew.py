"""What chaos tests of workers stand on: `Traffic` that sends messages of both kinds, and a `Crew` of workers to be
killed. Odd numbers are sent plainly, even ones with `retry`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from random import Random

from channels_redis.core import RedisChannelLayer
from redis.exceptions import RedisError

from delayserver.backoff import Retry
from delayserver.errors import StoreUnavailable

from ..process.working.workshop import READY, Workshop, probes
from ..support.process import Process
from .ledger import SEED, Worker, wait_until

CHANNEL = "work"
PATIENT = Retry(max_attempts=100)


def is_plain(number: int) -> bool:
    return number % 2 == 1


class Traffic(Worker):
    """Sends `number` messages that take `ms`, evenly over `seconds`; `accepted` are those that were sent indeed.

    Of what `send` or `put` raised for nobody knows: it may come or not.
    """

    def __init__(self, workshop: Workshop, number: int, seconds: float, ms: int) -> None:
        super().__init__()
        self._workshop, self._number, self._seconds, self._ms = workshop, number, seconds, ms
        self.accepted: set[int] = set()
        self.unknown: set[int] = set()

    def work(self) -> None:
        layer, start = self._workshop.site.layer(), time.monotonic()
        with asyncio.Runner() as runner:  # for the layer; the store is asked from outside of its event loop
            for number in range(self._number):
                if self._stopping.wait(max(0.0, start + number * self._seconds / self._number - time.monotonic())):
                    break
                try:
                    self._send(runner, layer, number)
                    self.accepted.add(number)
                except (StoreUnavailable, RedisError, OSError):
                    self.unknown.add(number)
            with contextlib.suppress(RedisError, OSError):
                runner.run(layer.close_pools())

    def _send(self, runner: asyncio.Runner, layer: RedisChannelLayer, number: int) -> None:
        [content] = probes([number], ms=self._ms)
        if is_plain(number):
            runner.run(layer.send(CHANNEL, content))
        else:
            self._workshop.send_later(CHANNEL, [content], PATIENT)


class Crew:
    """Slots with a ``runtasks`` in each; one that is killed is started again at once."""

    def __init__(self, workshop: Workshop, slots: int, concurrency: int, lease: float | None = None) -> None:
        self._workshop, self._random = workshop, Random(SEED)
        self._args, self._lease = (CHANNEL, "--concurrency", f"{concurrency}"), lease
        self.workers = workshop.workers(slots, *self._args, lease=lease)
        self.killed: dict[int, float] = {}  # when, by pid

    def kill_one(self) -> None:
        """``kill -9`` of a random one, of those that are ready if any is; another takes its slot."""
        ready = [slot for slot, worker in enumerate(self.workers) if _is_ready(worker)]
        slot = self._random.choice(ready or range(len(self.workers)))
        worker = self.workers[slot]
        assert worker.running, f"it ended by itself:\n{worker}"
        worker.kill()
        worker.wait()
        self.killed[worker.pid] = time.monotonic()
        self.workers[slot] = self._workshop.start("runtasks", *self._args, lease=self._lease)

    def kill_at_random(self, kills: int, seconds: float) -> None:
        start = time.monotonic()
        for instant in sorted(self._random.uniform(0, seconds) for _ in range(kills)):
            wait_until(start + instant)
            self.kill_one()

    def assert_running(self) -> None:
        for worker in self.workers:
            assert worker.running, f"it ended by itself:\n{worker}"


def _is_ready(worker: Process) -> bool:
    return any(line.text.startswith(READY[1:]) for line in list(worker.lines))


def told(workshop: Workshop, traffic: Traffic, kills: Sequence[float] = ()) -> str:
    """The figures of a run."""
    began = workshop.journal.times("began")
    again = sum(times - 1 for times in began.values())
    return f"accepted {len(traffic.accepted)}, unknown {len(traffic.unknown)}, kills {len(kills)}, run again {again}"
