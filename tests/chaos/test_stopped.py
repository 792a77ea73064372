"""A server is stopped past its lease and goes on: what it had in hand is another's by then, and it notices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from signal import SIGCONT, SIGSTOP

import pytest
from django.db.models import QuerySet

from delayserver.content import unpack
from delayserver.loops.dispatch import BATCH, LEASE_MS
from delayserver.models import DelayedMessage

from ..process.conftest import Site
from .ledger import Scene, Sender, sized, wait_until

STOPPED_SECONDS = LEASE_MS / 1000 + 2
RATE = sized(200, 50)
BURST = 250  # what a server claims at once
TRIES = 30

pytestmark = pytest.mark.timeout(300)


def claimed(scene: Scene) -> QuerySet[DelayedMessage]:
    return DelayedMessage.objects.using(scene.site.database).exclude(generation=0)


def stop_with_claims_in_hand(scene: Scene) -> set[int]:
    """Stop the first server when it has claimed messages and not yet delivered them; their numbers.

    The other is stopped meanwhile, so that we know whose claims we see.
    """
    server, other = scene.fleet.servers
    for _ in range(TRIES):
        other.signal(SIGSTOP)
        scene.load_now(BURST)
        deadline = time.monotonic() + 10
        while not claimed(scene).exists():  # no pause: it delivers some milliseconds later
            assert time.monotonic() < deadline, "expected a claim"
        server.signal(SIGSTOP)
        before = set(claimed(scene).values_list("id", "generation"))
        other.signal(SIGCONT)
        scene.normal_again()  # what the other had in hand, it has finished
        rows = [row for row in claimed(scene) if (row.id, row.generation) in before]
        held = {unpack(bytes(row.body))["n"] for row in rows}
        if held and not held & {one.number for one in scene.reader.arrivals()}:
            return held
        server.signal(SIGCONT)
    raise AssertionError(f"the server was not met with claims in hand, in {TRIES} tries")


@pytest.fixture
def scenes(redis_site: Site, postgres_site: Site) -> Iterator[tuple[Scene, Scene]]:
    """Both at once, since it takes the length of a lease."""
    with ExitStack() as ending:
        pair = Scene(redis_site), Scene(postgres_site)
        for scene in pair:
            ending.enter_context(scene)
            scene.fleet.start(2)
        yield pair


def test_a_server_that_was_stopped_past_its_lease_sends_nothing_twice(scenes: tuple[Scene, Scene]) -> None:
    on_redis, on_postgres = scenes
    stopped = [scene.fleet.servers[0] for scene in scenes]
    with ExitStack() as ending:
        senders = [ending.enter_context(Sender(scene, RATE, STOPPED_SECONDS + 5)) for scene in scenes]
        held = stop_with_claims_in_hand(on_postgres)
        on_redis.reader.wait_for_more(1)
        stopped[0].signal(SIGSTOP)
        wait_until(time.monotonic() + STOPPED_SECONDS)
        came = {one.number for one in on_postgres.reader.arrivals()}
        for server in stopped:
            server.signal(SIGCONT)
        for sender in senders:
            sender.join(60)
    assert held <= came, "what the stopped server had claimed was due again for the other"

    arrivals = on_redis.settle(10)
    on_redis.tell("stopped past its lease, Redis store", arrivals)
    on_redis.ledger.check(arrivals)
    arrivals = on_postgres.settle(10)
    doubled = on_postgres.ledger.doubled(arrivals)
    on_postgres.tell(f"stopped past its lease with {len(held)} in hand, PostgreSQL store", arrivals)
    on_postgres.ledger.check(arrivals, may_double=held)
    assert sum(doubled.values()) - len(doubled) <= BATCH

    for scene in scenes:  # the one that was stopped works again, alone
        scene.fleet.assert_running()
        scene.fleet.servers[1].terminate()
        assert scene.fleet.servers[1].wait() == 0
        scene.normal_again()
