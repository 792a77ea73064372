"""Redis is in trouble while workers work: every message is handled, and none twice, since no worker dies.

What a worker took without hearing of it, for the answer was lost, comes again after a lease, and runs for the first
time then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..process.conftest import Site
from ..process.working.workshop import LATE_SECONDS, Workshop, probes
from ..support.process import Process
from ..support.servers import RedisServer
from ..support.wait import wait_for
from .conftest import assert_no_leak
from .crew import Crew, Traffic, told
from .ledger import ROOMY, figures, sized, wait_until

RATE = 200
LEASE = 4.0
SETTLE_SECONDS = LATE_SECONDS + 10

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def lasting_redis() -> Iterator[RedisServer]:
    """A Redis that has on its disk what it answered for."""
    with RedisServer("--appendfsync", "always", aof=True) as server:
        yield server
        assert_no_leak(server)


def work_through(workshop: Workshop, what: str, seconds: float, trouble: Callable[[], None]) -> Traffic:
    """Messages flow for so long, in the midst of which there is `trouble`; then all is handled, once."""
    server = workshop.site.rundelay()
    crew = Crew(workshop, 2, 50, LEASE)
    with Traffic(workshop, round(RATE * seconds), seconds, 50) as traffic:
        wait_for(lambda: len(workshop.journal.of("ended")) > RATE // 4, 20, "work in full swing")
        trouble()
        traffic.join(60)
    workshop.wait_for("ended", traffic.accepted, SETTLE_SECONDS)
    workshop.wait_until_nothing_is_left(SETTLE_SECONDS)
    figures.append(f"workers, {what}: {told(workshop, traffic)}")
    crew.assert_running()
    assert server.running
    assert workshop.dead() == 0
    twice = {n: times for n, times in workshop.journal.times("began").items() if times > 1}
    assert not twice, f"{len(twice)} ran more than once: {twice}"
    assert workshop.journal.times("began").keys() <= traffic.accepted | traffic.unknown
    return traffic


def test_all_connections_are_killed_again_and_again(workshop: Workshop) -> None:
    def kill() -> None:
        for _ in range(sized(20, 5)):
            for kind in ("normal", "pubsub"):
                workshop.client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
            wait_until(time.monotonic() + 0.5)

    work_through(workshop, "all connections killed every 0.5 s", sized(14.0, 4.0), kill)


@pytest.mark.parametrize("killed", [False, True])
def test_redis_is_restarted(
    lasting_redis: RedisServer, start_process: Callable[..., Process], tmp_path: Path, killed: bool
) -> None:
    workshop = Workshop(Site("redis", lasting_redis.url, start_process, config=dict(ROOMY)), tmp_path)

    def restart() -> None:
        (lasting_redis.kill if killed else lasting_redis.stop)()
        wait_until(time.monotonic() + 1)
        lasting_redis.start()

    traffic = work_through(workshop, f"Redis {'killed' if killed else 'stopped'} and started again", 4.0, restart)
    assert traffic.unknown, "nothing was sent while Redis was away"
    workshop.client.close()


def test_redis_is_out_of_memory_for_a_while(workshop: Workshop) -> None:
    def fill() -> None:
        workshop.client.execute_command("CONFIG", "SET", "maxmemory", "1")
        wait_until(time.monotonic() + sized(10.0, 2.0))
        workshop.client.execute_command("CONFIG", "SET", "maxmemory", "0")

    traffic = work_through(workshop, "Redis out of memory", sized(14.0, 4.0), fill)
    assert traffic.unknown, "nothing was sent meanwhile"


def test_leases_are_kept_while_redis_is_out_of_memory(workshop: Workshop) -> None:
    """For longer than a lease, beside another worker that would take what nobody keeps."""
    workshop.site.rundelay()
    workshop.send("work", probes(range(5), ms=5_000))
    workshop.send_later("work", probes(range(5, 10), ms=5_000))
    workshop.workers(2, "work", lease=3)
    workshop.wait_for("began", range(10))
    workshop.client.execute_command("CONFIG", "SET", "maxmemory", "1")
    workshop.wait_for("ended", range(10))
    workshop.wait_until_nothing_is_left()
    workshop.client.execute_command("CONFIG", "SET", "maxmemory", "0")
    assert workshop.journal.times("began") == dict.fromkeys(range(10), 1)


def test_a_lease_that_runs_out_while_redis_is_away_is_still_its_owners(
    lasting_redis: RedisServer, start_process: Callable[..., Process], tmp_path: Path
) -> None:
    workshop = Workshop(Site("redis", lasting_redis.url, start_process, config=dict(ROOMY)), tmp_path)
    workshop.site.rundelay()
    workshop.send("work", probes(range(5), ms=6_000))
    workshop.send_later("work", probes(range(5, 10), ms=6_000))
    workers = workshop.workers(2, "work", lease=2)
    workshop.wait_for("began", range(10))
    lasting_redis.stop()
    wait_until(time.monotonic() + 3)
    lasting_redis.start()
    workshop.wait_for("ended", range(10))
    workshop.wait_until_nothing_is_left()
    assert workshop.journal.times("began") == dict.fromkeys(range(10), 1)
    assert all(worker.running for worker in workers)
    workshop.client.close()
