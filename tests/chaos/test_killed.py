"""Servers are killed with ``kill -9``, again and again: what was accepted is delivered, and how often is promised."""

from __future__ import annotations

import time

import pytest

from delayserver.loops.dispatch import BATCH, LEASE_MS

from ..process.conftest import Site
from .ledger import Arrival, Scene, Sender, sized, wait_until

KILLS = sized(100, 25)
MESSAGES = sized(5_000, 1_250)
SECONDS = sized(60.0, 10.0)
SLOTS = 3  # a server takes a second to start, so that one slot could not be killed 100 times in 60 s

pytestmark = pytest.mark.timeout(300)


def kill_at_random(scene: Scene, kills: int, seconds: float) -> None:
    """Every other kill waits for a message to arrive: then a server is busy, between two steps if it has several."""
    start = time.monotonic()
    for turn, instant in enumerate(sorted(scene.random.uniform(0, seconds) for _ in range(kills))):
        wait_until(start + instant)
        if turn % 2:
            scene.reader.wait_for_more(0.2)
        scene.fleet.kill_one()


def killed_at_random(scene: Scene, settle_seconds: float, store: str) -> list[Arrival]:
    """All that arrived of a stream during which servers were killed."""
    scene.fleet.start(SLOTS)
    with Sender(scene, MESSAGES / SECONDS, SECONDS) as sender:
        kill_at_random(scene, KILLS, SECONDS)
        sender.join(30)
    arrivals = scene.settle(settle_seconds)
    scene.tell(f"random kills, {store} store", arrivals)
    assert scene.fleet.kills == KILLS
    assert len(scene.ledger.accepted) == MESSAGES
    return arrivals


def test_random_kills_with_the_redis_store(redis_site: Site) -> None:
    """Store and layer share a Redis: nothing is lost, nothing comes twice."""
    with Scene(redis_site) as scene:
        scene.ledger.check(killed_at_random(scene, 20, "Redis"))


def test_random_kills_with_the_database_store(postgres_site: Site) -> None:
    """Three steps: what a killed server had in hand comes again when its lease is over, twice at most for each kill."""
    with Scene(postgres_site) as scene:
        arrivals = killed_at_random(scene, LEASE_MS / 1000 + 20, "PostgreSQL")
        doubled = scene.ledger.doubled(arrivals)
        scene.ledger.check(arrivals, may_double=doubled)
        assert sum(doubled.values()) - len(doubled) <= KILLS * BATCH


def test_five_servers_of_which_one_is_killed_every_few_seconds(redis_site: Site) -> None:
    seconds, pause = sized((120.0, 5.0), (6.0, 1.0))
    with Scene(redis_site) as scene:
        scene.fleet.start(5)
        with Sender(scene, 100, seconds) as sender:
            start = time.monotonic()
            for turn in range(int(seconds / pause)):
                wait_until(start + turn * pause)
                scene.fleet.kill_one()
            sender.join(30)
        arrivals = scene.settle(20)
        scene.tell("one of five killed again and again", arrivals)
        scene.ledger.check(arrivals)
        scene.fleet.assert_running()
