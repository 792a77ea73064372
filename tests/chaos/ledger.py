"""What chaos tests stand on: a `Ledger` of what was accepted, a `Sender` that fills it, a `Reader` that collects what
was delivered, and a `Fleet` of servers to be killed. A `Scene` has one of each.

Every message has a number. What `put` returned for is accepted; what it raised `StoreUnavailable` for is unknown: it
may have been stored or not. The score of a message on its channel is the instant of its hand-over by Redis's own clock,
so lateness does not depend on when we read it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import redis
from channels_redis.core import RedisChannelLayer
from django.db import connections
from redis.exceptions import RedisError

from delayserver.errors import StoreUnavailable
from delayserver.message import Message, Waiting
from delayserver.models import DelayedMessage
from delayserver.stores.base import Store

from ..process.conftest import Site
from ..support.process import Process
from ..support.wait import wait_for

T = TypeVar("T")

FULL = os.environ.get("DELAYSERVER_CHAOS") == "full"
SEED = int(os.environ.get("DELAYSERVER_CHAOS_SEED", "20261121"))
ROOMY: dict[str, Any] = {"capacity": 1_000_000}  # of a layer: no channel is full
MAX_BYTES = 10_000
PUT = 500  # messages in one put, where many are loaded
NORMAL_SECONDS = 5.0  # how long until all is well after a trouble
NORMAL_MS = 250.0  # how late a message may be when all is well, on a busy machine
LOOK_SECONDS = 0.002
SHOWN = 20

figures: list[str] = []  # shown after the run, see conftest


def sized(full: T, default: T) -> T:
    """The issue's own figure with ``make chaos``, else one that `make test` has time for."""
    return full if FULL else default


class Arrival(NamedTuple):
    """A message as it was delivered, and when, in milliseconds since the epoch."""

    number: int
    at: float
    content: dict[str, Any]


@dataclass
class Ledger:
    """Number -> due instant of what was accepted, and the numbers of which nobody knows."""

    accepted: dict[int, int] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
    _numbers: Any = field(default_factory=itertools.count)

    def new_number(self) -> int:
        return int(next(self._numbers))

    def lateness(self, arrivals: Sequence[Arrival]) -> list[float]:
        """Hand-over minus due of each accepted message's first arrival, in ms, sorted."""
        first: dict[int, float] = {}
        for one in arrivals:
            first[one.number] = min(one.at, first.get(one.number, one.at))
        return sorted(at - self.accepted[number] for number, at in first.items() if number in self.accepted)

    def doubled(self, arrivals: Sequence[Arrival]) -> dict[int, int]:
        return {number: times for number, times in Counter(one.number for one in arrivals).items() if times > 1}

    def check(self, arrivals: Sequence[Arrival], *, may_double: Collection[int] = ()) -> None:
        """Accepted = delivered; nothing else, nothing early, nothing altered; twice only what may be."""
        seen = {one.number for one in arrivals}
        lost = self.accepted.keys() - seen
        strange = seen - self.accepted.keys() - self.unknown
        doubled = {number: times for number, times in self.doubled(arrivals).items() if number not in may_double}
        early = [(one.number, one.at - due) for one in arrivals if one.at < (due := self.accepted.get(one.number, 0))]
        altered = [one.content for one in arrivals if one.content != content_of(one.number)]
        assert not lost, f"{len(lost)} of {len(self.accepted)} accepted were lost: {sorted(lost)[:SHOWN]}"
        assert not doubled, f"{len(doubled)} were delivered more than once: {sorted(doubled.items())[:SHOWN]}"
        assert not strange, f"{len(strange)} were delivered that nobody sent: {sorted(strange)[:SHOWN]}"
        assert not early, f"{len(early)} were handed over early (number, ms): {early[:SHOWN]}"
        assert not altered, f"{len(altered)} did not arrive as they were sent: {altered[:SHOWN]}"


def content_of(number: int) -> dict[str, Any]:
    return {"type": "probe", "n": number, "text": f"message {number}"}


class Worker(threading.Thread):
    """A thread whose error is the test's; `stop` ends it, `join` raises."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._stopping = threading.Event()
        self._error: BaseException | None = None

    def work(self) -> None:
        raise NotImplementedError

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:  # noqa: BLE001  raised in `join`
            self._error = error
        finally:
            connections.close_all()  # this thread's own

    def join(self, timeout: float | None = None) -> None:
        super().join(timeout)
        if self._error is not None:
            raise self._error
        assert not self.is_alive(), f"{type(self).__name__} did not end within {timeout} s"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        if error is None:
            self.join(30)


class Sender(Worker):
    """Sends `rate` messages a second for `seconds`, or until it is stopped, each on its own as `send_later` does.

    `sure` says afterwards whether what `put` returned for is safe indeed.
    """

    def __init__(
        self,
        scene: Scene,
        rate: float,
        seconds: float,
        delays: tuple[int, int] = (0, 2_000),
        sure: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__()
        self._scene, self._rate, self._seconds, self._delays, self._sure = scene, rate, seconds, delays, sure
        self._random = Random(f"{SEED} sender")

    def work(self) -> None:
        start = time.monotonic()
        for turn in range(round(self._rate * self._seconds)):
            if self._stopping.wait(max(0.0, start + turn / self._rate - time.monotonic())):
                return
            self._scene.send(self._random.randint(*self._delays), self._sure)


class Reader(Worker):
    """Takes what lies on `channel`, at most `rate` a second if given.

    A message goes from the channel into a journal in the same Redis, in one act: so none is lost or counted twice when
    a connection or Redis itself dies under the reader.
    """

    MOVE = """
    local found = redis.call('ZPOPMIN', KEYS[1], ARGV[1])
    for i = 1, #found, 2 do redis.call('RPUSH', KEYS[2], found[i + 1], found[i]) end
    if #found > 0 then redis.call('EXPIRE', KEYS[2], 3600) end
    return #found / 2
    """

    def __init__(self, channel: str, client: redis.Redis, rate: float | None = None) -> None:
        super().__init__()
        self._client: Any = client
        self._layer = RedisChannelLayer()  # for its format alone
        self._key, self._journal = self._layer.prefix + channel, f"journal:{channel}"
        self._rate = rate
        self.script: Any = client.register_script(self.MOVE)

    def work(self) -> None:
        start, taken = time.monotonic(), 0
        while not self._stopping.is_set():
            limit = 250 if self._rate is None else min(250, int((time.monotonic() - start) * self._rate) - taken)
            moved = self._move(limit) if limit > 0 else 0
            taken += moved
            if self._rate is not None and moved < limit:  # a reader that found nothing does not catch up later
                start, taken = time.monotonic(), 0
            if not moved:
                self._stopping.wait(LOOK_SECONDS)

    def _move(self, limit: int) -> int:
        try:
            return int(self.script(keys=[self._key, self._journal], args=[limit]))
        except (RedisError, OSError):  # whatever happens to Redis, we read on
            self._stopping.wait(0.02)
            return 0

    def arrivals(self) -> list[Arrival]:
        """All so far, in the order in which they lay on the channel."""
        entries = self._client.lrange(self._journal, 0, -1)
        contents = [self._layer.deserialize(member) for member in entries[1::2]]
        return [Arrival(one["n"], float(at) * 1000, one) for at, one in zip(entries[::2], contents, strict=True)]

    def count(self) -> int:
        return int(self._client.llen(self._journal)) // 2

    def is_quiet(self) -> bool:
        return int(self._client.zcard(self._key)) == 0

    def wait_for_more(self, seconds: float) -> None:
        """Until something arrives; no longer than `seconds`, since nothing may be on its way."""
        before, deadline = self.count(), time.monotonic() + seconds
        while self.count() == before and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)


class Fleet:
    """Slots with a ``rundelay`` in each; one that is killed is started again at once."""

    def __init__(self, site: Site, random: Random, env: Mapping[str, str] | None = None) -> None:
        self._site, self._random, self._env = site, random, dict(env or {})
        self.servers: list[Process] = []
        self.kills = 0

    def start(self, slots: int) -> None:
        self.servers = [self._launch() for _ in range(slots)]
        for server in self.servers:
            server.wait_for_line(READY)

    def _launch(self) -> Process:
        args = [sys.executable, "-m", "django", "rundelay"]
        return self._site.start_process(args, env={**self._site.env, **self._env})

    def kill_one(self) -> None:
        """``kill -9`` of a random one, of those that are ready if any is; another takes its slot."""
        ready = [slot for slot, server in enumerate(self.servers) if is_ready(server)]
        slot = self._random.choice(ready or range(len(self.servers)))
        assert self.servers[slot].running, f"it ended by itself:\n{self.servers[slot]}"
        self.servers[slot].kill()
        self.servers[slot].wait()
        self.servers[slot] = self._launch()
        self.kills += 1

    def assert_running(self) -> None:
        for server in self.servers:
            assert server.running, f"it ended by itself:\n{server}"


READY = "^delay server ready"


def is_ready(server: Process) -> bool:
    return any(line.text.startswith(READY[1:]) for line in list(server.lines))


class Scene:
    """A project and its trouble: `random` decides, `ledger` and `reader` know what became of what `send` sent."""

    def __init__(
        self,
        site: Site,
        *,
        channel: str = "sink",
        store: Store | None = None,
        client: redis.Redis | None = None,
        rate: float | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.site, self.channel = site, channel
        self.store = store or site.new_store()
        self._counter = site.new_store()
        self.client: Any = client or site.redis()
        self.random = Random(SEED)
        self.ledger = Ledger()
        self.reader = Reader(channel, self.client, rate)
        self.fleet = Fleet(site, self.random, env)
        self._probes = itertools.count()

    def __enter__(self) -> Self:
        self.reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(f"seed {SEED}, so far:")
            with contextlib.suppress(RedisError, OSError):
                print(self._told(self.reader.arrivals()))
        self.reader.__exit__(kind, error, trace)
        self.client.close()

    # -- sending ------------------------------------------------------------------------------------------

    def send(self, delay: int, sure: Callable[[], bool] | None = None) -> None:
        """One message, as `send_later` sends it, and its line in the ledger."""
        number = self.ledger.new_number()
        try:
            due = self._put(self.channel, content_of(number), delay)
        except StoreUnavailable:
            self.ledger.unknown.add(number)
            return
        if sure is None or sure():
            self.ledger.accepted[number] = due
        else:
            self.ledger.unknown.add(number)

    def _put(self, channel: str, content: dict[str, Any], delay: int) -> int:
        message = Message(channel=channel, content=content, delay=delay)
        return self.store.put([message.waiting(self.store.read_clock(), MAX_BYTES)])[0].due

    def load(self, number: int, seconds: float) -> int:
        """So many messages that are due at one instant, `seconds` from now; says when, in ms since the epoch."""
        clock = self.store.read_clock()
        eta = datetime.fromtimestamp(clock.now() // 1000, UTC) + timedelta(seconds=seconds)
        for start in range(0, number, PUT):
            self._load(clock, eta, min(PUT, number - start))
        due = int(eta.timestamp() * 1000)
        assert clock.now() < due, "expected to have put all before they are due"
        return due

    def load_now(self, number: int) -> None:
        """So many messages that are due now, or a little before."""
        clock = self.store.read_clock()
        self._load(clock, datetime.fromtimestamp(clock.now() / 1000, UTC), number)

    def _load(self, clock: Any, eta: datetime, number: int) -> None:
        numbers = [self.ledger.new_number() for _ in range(number)]
        messages: list[Waiting] = [
            Message(channel=self.channel, content=content_of(one), eta=eta).waiting(clock, MAX_BYTES) for one in numbers
        ]
        for one, receipt in zip(numbers, self.store.put(messages), strict=True):
            self.ledger.accepted[one] = receipt.due

    # -- looking ------------------------------------------------------------------------------------------

    def left(self) -> int:
        """How many are still in the store, claimed ones included."""
        if self.site.database:
            return DelayedMessage.objects.using(self.site.database).count()
        return asyncio.run(self._counter.count())

    def normal_again(self) -> float:
        """For how many seconds it was not so: a message of 5 ms arrives within 250 ms."""
        start = time.monotonic()
        while not self._probe():
            took = time.monotonic() - start
            assert took <= NORMAL_SECONDS, f"not normal again after {took:.1f} s"
        return time.monotonic() - start

    def _probe(self) -> bool:
        channel = f"probe-{next(self._probes)}"
        try:
            due = self._put(channel, {"type": "probe"}, 5)
            deadline = time.monotonic() + (5 + NORMAL_MS) / 1000
            while time.monotonic() < deadline:
                found = self.client.zrange(f"asgi{channel}", 0, -1, withscores=True)
                if found:
                    return bool(found[0][1] * 1000 - due <= NORMAL_MS)
        except (StoreUnavailable, RedisError, OSError):
            time.sleep(0.02)
        return False

    def settle(self, timeout: float) -> list[Arrival]:
        """Wait until nothing is left in the store or on the channel; everything that arrived."""

        def is_over() -> bool:
            time.sleep(0.1)  # to ask is not for nothing
            return self.left() == 0 and self.reader.is_quiet()

        try:
            wait_for(is_over, timeout, "an empty store")
        except AssertionError:
            print("left:", *self.what_is_left(), sep="\n")
            raise
        return self.reader.arrivals()

    def what_is_left(self) -> list[str]:
        """For a failure: which messages, due in how many ms, under which generation."""
        if self.site.database is None:
            return [f"{self.left()} in Redis"]
        now = round(time.time() * 1000)
        rows = DelayedMessage.objects.using(self.site.database).order_by("due")[:20]
        told = [f"{row.id}: due in {row.due - now} ms, generation {row.generation}" for row in rows]
        return [f"{self.left()} in all, of which the first are", *told]

    def tell(self, what: str, arrivals: Sequence[Arrival]) -> None:
        """The figures of a run, shown after all tests."""
        figures.append(f"{what}: {self._told(arrivals)}")

    def _told(self, arrivals: Sequence[Arrival]) -> str:
        late = self.ledger.lateness(arrivals)
        return (
            f"accepted {len(self.ledger.accepted)}, unknown {len(self.ledger.unknown)}, kills {self.fleet.kills}, lost"
            f" {len(self.ledger.accepted.keys() - {one.number for one in arrivals})}, doubled"
            f" {len(self.ledger.doubled(arrivals))}, late p50 {percentile(late, 50):.0f} p99 {percentile(late, 99):.0f}"
            f" max {percentile(late, 100):.0f} ms"
        )


def percentile(values: Sequence[float], share: int) -> float:
    """Of sorted values; nan of none."""
    return values[max(0, -(-len(values) * share // 100) - 1)] if values else float("nan")


def wait_until(instant: float) -> None:
    """Until `time.monotonic()` is there: for the pace of a trouble, never for its end."""
    time.sleep(max(0.0, instant - time.monotonic()))
