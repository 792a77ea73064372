"""More is due at one instant than can go out in one: memory, Redis and the other channels do not feel it."""

from __future__ import annotations

import itertools
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ..process.conftest import Site
from ..support.process import Process
from ..support.servers import RedisServer
from ..support.wait import wait_for
from .ledger import Scene, Sender, percentile, sized

MEBIBYTE = 1_048_576
BATCH = 250  # messages that a script hands over
SLOW_US = 10_000

pytestmark = pytest.mark.timeout(300)


class Memory:
    """The most resident memory of a process, in MiB, while it is watched."""

    def __init__(self, server: Process) -> None:
        self._status = Path(f"/proc/{server.pid}/statm")
        self.idle = self.most = self.read()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def read(self) -> float:
        pages = int(self._status.read_text().split()[1])
        return pages * 4096 / MEBIBYTE

    def _watch(self) -> None:
        while not self._stopping.wait(0.01):
            try:
                self.most = max(self.most, self.read())
            except (OSError, IndexError):
                return

    def growth(self) -> float:
        self._stopping.set()
        self._thread.join()
        return self.most - self.idle


class SlowLog:
    """The servers' scripts that held Redis up for too long, from now on.

    Redis measures by the clock on the wall, which runs on while the machine has Redis wait for a processor; the kernel
    knows for how long that was.
    """

    LONG = "local start = redis.call('TIME')[2] while (redis.call('TIME')[2] - start) % 1000000 < 20000 do end"

    def __init__(self, scene: Scene, server: RedisServer) -> None:
        self._redis, self._reader = scene.client, scene.reader.script.sha.encode()
        self._stat = Path(f"/proc/{server.pid}/schedstat")
        self._redis.config_set("slowlog-log-slower-than", SLOW_US)
        self._redis.config_set("slowlog-max-len", 10_000)
        self._redis.slowlog_reset()
        self._before = self._waited()

    def _waited(self) -> int:
        """Microseconds."""
        return int(self._stat.read_text().split()[1]) // 1000

    def read(self) -> tuple[list[int], int]:
        """The microseconds of each; and for how many Redis had to wait for a processor."""
        waited = self._waited() - self._before
        self._redis.eval(self.LONG, 0)
        entries: Any = self._redis.slowlog_get(10_000)
        slow = [(one["duration"], one["command"]) for one in entries if one["command"].startswith(b"EVAL")]
        assert self.LONG.encode()[:50] in slow[0][1], "the slow log does not show what is slow"
        return [took for took, command in slow[1:] if self._reader not in command], waited


@pytest.mark.parametrize("store", sized(["redis", "postgres"], ["redis"]))
def test_a_hundred_thousand_are_due_at_one_instant(request: pytest.FixtureRequest, store: str) -> None:
    number = sized(100_000, 25_000)
    site: Site = request.getfixturevalue(f"{store}_site")
    server: RedisServer = request.getfixturevalue("own_redis" if store == "redis" else "layer_redis")
    with Scene(site) as scene:
        due = scene.load(number, sized(60.0, 8.0))
        scene.fleet.start(1)
        first = scene.fleet.servers[0]
        memory = Memory(first)
        ms_left = due - time.time() * 1000
        assert ms_left > 0, "expected the server to be there before the instant"
        slow_log = SlowLog(scene, server)
        wait_for(lambda: scene.reader.count() > number / 3, ms_left / 1000 + 60, "a third of them")
        start = time.monotonic()
        first.terminate()
        assert first.wait() == 0
        took = time.monotonic() - start
        assert took <= 5
        wait_for(scene.reader.is_quiet, 10, "an empty channel")
        handed = scene.reader.count()
        assert handed + scene.left() == number
        assert handed < number, "expected the server to be ended in the middle"
        grown = memory.growth()

        scene.fleet.start(1)
        second = Memory(scene.fleet.servers[0])
        arrivals = scene.settle(120)
        slow, waited = slow_log.read()
        scene.tell(
            f"{number} due at once, {store} store (grew by {grown:.1f} and {second.growth():.1f} MiB from"
            f" {memory.idle:.1f}, ended in {took:.2f} s with {handed} handed over; slow scripts, in ms:"
            f" {[us // 1000 for us in slow]}, where Redis waited {waited // 1000} ms for a processor)",
            arrivals,
        )
        scene.ledger.check(arrivals)
        assert grown < 60
        assert second.growth() < 60
        # All these scripts do the same work: were it too much, most would be slow, however long Redis waited.
        assert len(slow) <= number / BATCH / 10, f"many scripts held Redis up for more than 10 ms: {slow} µs"
        assert sum(us - SLOW_US for us in slow) <= waited, f"scripts held Redis up for more than 10 ms: {slow} µs"


def test_a_full_channel_keeps_its_order_and_delays_no_other(redis_site: Site) -> None:
    number = sized(10_000, 4_000)
    redis_site.config["capacity"] = 100
    with Scene(redis_site, rate=3_000) as scene, Scene(redis_site, channel="other") as other:
        scene.load(number, 3)
        scene.fleet.start(1)
        wait_for(lambda: scene.reader.count() > 0, 10, "the first of the burst")
        start = time.monotonic()
        with Sender(other, 200, 60, delays=(0, 200)):
            wait_for(lambda: scene.reader.count() >= number, 60, "all of the burst")
            took = time.monotonic() - start
        arrivals = scene.settle(10)
        others = other.reader.arrivals()
        server = scene.fleet.servers[0]
        told = [line for line in server.lines if re.search("takes no more", line.text)]
        late = other.ledger.lateness(others)
        order = [one.number for one in arrivals]
        inversions = sum(1 for one, following in itertools.pairwise(order) if following < one)
        scene.tell(
            f"{number} for one full channel (in {took:.1f} s, {inversions} inversions, {len(told)} lines)", arrivals
        )
        other.tell("beside the full channel", others)
        scene.ledger.check(arrivals)
        other.ledger.check(others)
        assert percentile(late, 99) <= 50, "the other channel was held up"
        assert inversions == 0, "messages of the full channel overtook each other"
        assert len(told) <= took + 2, "more than one line a second"
