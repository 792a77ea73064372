"""Redis is in trouble while messages flow: nothing accepted is lost or doubled, no server ends, soon all is normal.

A `put` that raised `StoreUnavailable` is unknown: the message may have been stored or not, and never comes twice.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.sentinel
from redis.exceptions import RedisError

from delayserver.conf import LayerSettings
from delayserver.stores.redis import RedisStore

from ..process.conftest import Site
from ..support.process import Process
from ..support.servers import HOST, RedisServer, SentinelServer
from ..support.wait import wait_for
from .conftest import assert_no_leak
from .ledger import ROOMY, Scene, Sender, sized, wait_until

RATE = 100

pytestmark = pytest.mark.timeout(180)


def finish(scene: Scene, sender: Sender, what: str) -> None:
    """All is normal again, and the ledger is in order."""
    took = scene.normal_again()
    sender.join(60)
    arrivals = scene.settle(20)
    scene.tell(f"{what} (normal after {took:.1f} s)", arrivals)
    scene.ledger.check(arrivals)
    scene.fleet.assert_running()


def test_all_connections_are_killed_every_two_seconds(redis_site: Site, own_redis: RedisServer) -> None:
    seconds = sized(60.0, 6.0)
    with Scene(redis_site) as scene, own_redis.client() as killer:
        scene.fleet.start(2)
        with Sender(scene, RATE, seconds + 1) as sender:
            start = time.monotonic()
            for turn in range(int(seconds / 2) + 1):
                wait_until(start + turn * 2)
                for kind in ("normal", "pubsub"):
                    killer.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
            finish(scene, sender, "all connections killed every 2 s")
        for server in scene.fleet.servers:
            server.wait_for_line("no wake-up connection")
        assert len(scene.ledger.accepted) >= 0.5 * RATE * seconds


@pytest.fixture
def lasting_redis() -> Iterator[RedisServer]:
    """A Redis that has on its disk what it answered for."""
    with RedisServer("--appendfsync", "always", aof=True) as server:
        yield server
        assert_no_leak(server)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_redis_is_restarted(
    lasting_redis: RedisServer, start_process: Callable[..., Process], number: signal.Signals
) -> None:
    seconds = sized(10.0, 3.0)
    site = Site("redis", lasting_redis.url, start_process, config=dict(ROOMY))
    with Scene(site) as scene:
        scene.fleet.start(2)
        with Sender(scene, RATE, seconds) as sender:
            scene.reader.wait_for_more(5)
            wait_until(time.monotonic() + 1)
            (lasting_redis.stop if number == signal.SIGTERM else lasting_redis.kill)()
            wait_until(time.monotonic() + sized(3.0, 1.0))
            lasting_redis.start()
            finish(scene, sender, f"Redis ended by {number.name} and started again")
        assert scene.ledger.unknown, "nothing was sent while Redis was away"


TROUBLES = {
    "out of memory": ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    "read-only": (
        f"REPLICAOF {HOST} 1",
        "REPLICAOF NO ONE",
    ),  # as a replica is; nothing listens there
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_redis_takes_no_writes_for_a_while(redis_site: Site, trouble: str) -> None:
    seconds = sized(10.0, 2.0)
    begin, end = TROUBLES[trouble]
    with Scene(redis_site) as scene:
        scene.fleet.start(2)
        with Sender(scene, RATE, seconds + 2) as sender:
            scene.reader.wait_for_more(5)
            scene.client.execute_command(*begin.split())
            wait_until(time.monotonic() + seconds)
            scene.client.execute_command(*end.split())
            finish(scene, sender, f"Redis {trouble} for {seconds:.0f} s")
        assert scene.ledger.unknown, "nothing was sent meanwhile"


class Pair:
    """A Redis, its replica, and the Sentinel that watches both."""

    def __init__(self, master: RedisServer, replica: RedisServer, sentinel: SentinelServer) -> None:
        self.master, self.replica, self.sentinel = master, replica, sentinel
        self._promoted = False
        self._witness: Any = master.client()

    def client(self) -> redis.Redis:
        """Of whichever is the master."""
        kit: Any = redis.sentinel  # without types
        client: redis.Redis = kit.Sentinel(self.sentinel.host["sentinels"]).master_for(
            self.sentinel.master, socket_timeout=5
        )
        return client

    def is_promoted(self) -> bool:
        with self.replica.client() as client, contextlib.suppress(redis.ConnectionError):
            role: Any = client.role()
            self._promoted = role[0] == b"master"
            return self._promoted
        return False  # it closes all connections when it is

    def has_it(self) -> bool:
        """Whether the replica has all that was written until now. A write of our own marks where "now" is: WAIT knows
        only its own connection's.
        """
        if self._promoted:
            return True  # the master died before that, so the write was the replica's own
        with contextlib.suppress(RedisError, OSError), self._witness.pipeline(transaction=False) as pipe:
            pipe.set("witness", 1, ex=60)
            pipe.execute_command("WAIT", 1, 100)
            return bool(pipe.execute()[1] >= 1)
        return False


@pytest.fixture
def pair() -> Iterator[Pair]:
    with RedisServer("--repl-diskless-sync-delay", "0") as master:
        copy = ("--replicaof", f"{HOST} {master.port}")
        with RedisServer(*copy) as replica, SentinelServer(master.port) as sentinel:
            wait_for(sentinel.sees_replica, 20, "a replica that Sentinel could promote")
            yield Pair(master, replica, sentinel)
            assert_no_leak(replica)


def test_the_master_is_killed_and_its_replica_promoted(pair: Pair, start_process: Callable[..., Process]) -> None:
    """Redis replicates after it has answered, so what it answered for may be lost with the master. A message counts as
    accepted here when the replica has it (WAIT); and what was delivered is what lies in the survivor's journal: what
    the lost master alone knew of never happened. (To ask a Sentinel for a failover leaves two masters for some ten
    seconds, and what the old one took meanwhile is lost, whoever wrote it: there is nothing to test.)
    """
    site = Site("redis", pair.replica.url, start_process, config={**ROOMY, "hosts": [pair.sentinel.host]})
    store = RedisStore(LayerSettings("default", "channels_redis.core.RedisChannelLayer", site.config))
    with Scene(site, store=store, client=pair.client()) as scene:
        scene.fleet.start(2)
        with Sender(scene, RATE, sized(20.0, 6.0), sure=pair.has_it) as sender:
            scene.reader.wait_for_more(5)
            wait_until(time.monotonic() + 1)
            pair.master.kill()
            wait_for(pair.is_promoted, 30, "a promoted replica")
            finish(scene, sender, "the master is killed, its replica promoted")
        assert scene.ledger.unknown, "nothing was sent while there was no master"
        assert len(scene.ledger.accepted) > RATE
