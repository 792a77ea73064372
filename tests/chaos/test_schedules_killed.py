"""Servers with schedules are killed at random, one or both, and come back at once or later: each occurrence arrives
once, and what was missed while there was no server is what the policy says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NamedTuple

import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker

from delayserver.loops.dispatch import LEASE_MS
from delayserver.models import DelayedMessage

from ..process.conftest import READY
from ..process.scheduling.scene import (
    MESSAGE,
    Diary,
    Fired,
    Planned,
    doubled,
    early,
    emptied,
    holes,
    now_ms,
    off_grid,
    planned,
    wait_past,
)
from ..support.process import Process
from ..support.servers import RedisServer
from ..support.wait import wait_for
from .ledger import SEED, figures, sized

KILLS = sized(100, 12)
PAUSE = (0.2, sized(3.0, 0.8))  # between two kills, in seconds
AWAY = sized(3.0, 1.5)  # how long one stays away at most
GRACE_MS = 500  # as in tick.py
SECOND = {"cron": "* * * * * *"}
POLICIES = ("one", "skip", "all")

pytestmark = pytest.mark.timeout(600)


class Outage(NamedTuple):
    """There was no server: from the death of the last, until the next was launched, and ready, in ms since the epoch.

    `calm` is whether none was killed on its way up.
    """

    start: int
    launched: int
    ready: int
    calm: bool


class Crew:
    """Two slots for servers, and the times at which there was none."""

    def __init__(self, site: Planned, random: Random) -> None:
        self._site, self._random = site, random
        self.slots: list[Process | None] = [None, None]
        self._back_at = [0.0, 0.0]
        self._ready: set[int] = set()
        self.kills = 0
        self.outages: list[Outage] = []
        self._down: int | None = None
        self._launched: int | None = None
        self._calm = True

    def tend(self) -> None:
        """Launch whose time has come, and note who is ready."""
        for slot, server in enumerate(self.slots):
            if server is None and time.monotonic() >= self._back_at[slot]:
                if self._launched is None:
                    self._launched = now_ms()
                self.slots[slot] = self._site.launch()
            elif server is not None and server.pid not in self._ready:
                assert server.running, f"it ended by itself:\n{server}"
                if any(line.text.startswith(READY[1:20]) for line in list(server.lines)):
                    self._ready.add(server.pid)
                    self._up()

    def _up(self) -> None:
        if self._down is not None and self._launched is not None:
            self.outages.append(Outage(self._down, self._launched, now_ms(), self._calm))
        self._down, self._calm = None, True

    def kill(self, slot: int, away: float) -> None:
        server = self.slots[slot]
        if server is None:
            return
        before = now_ms()
        server.kill()
        server.wait()
        if server.pid not in self._ready:
            self._calm = False
        self.slots[slot], self._back_at[slot] = None, time.monotonic() + away
        self.kills += 1
        if self._down is None and not any(one is not None and one.pid in self._ready for one in self.slots):
            self._down, self._launched = before, None
            if any(one is not None for one in self.slots):
                self._launched = before  # it is on its way

    def trouble(self, kills: int) -> None:
        """Kill so many, at random moments; a third of the times both at once."""
        while self.kills < kills:
            until = time.monotonic() + self._random.uniform(*PAUSE)
            while time.monotonic() < until:
                self.tend()
                time.sleep(0.01)
            away = self._random.choice((0.0, self._random.uniform(0, AWAY)))
            slot = self._random.randrange(2)
            self.kill(slot, away)
            if self._random.random() < 0.4:
                self.kill(1 - slot, away + self._random.choice((0.0, 0.5)))

    def all_up(self) -> None:
        def ready() -> bool:
            self.tend()
            return all(one is not None and one.pid in self._ready for one in self.slots)

        wait_for(ready, 30, "two servers")

    def end(self) -> None:
        for server in self.slots:
            assert server is not None
            server.terminate()
            assert server.wait() == 0, str(server)


def check(name: str, policy: str, period: int, fired: list[Fired], crew: Crew, *, may_double: bool) -> int:
    """The diary of one schedule against what the crew went through; how many were missed and not sent."""
    instants = [one.instant for one in fired]
    assert not off_grid(instants, period, instants[0]), name
    assert not early(fired), (name, early(fired)[:5])
    if not may_double:
        assert not doubled(instants), (name, doubled(instants))
    left_out = 0
    for last, first in holes(instants, period):
        left_out += (first - last) // period - 1
        told = f"{name}: nothing between {last} and {first}, outages {crew.outages}"
        assert policy != "all", told
        around = [one for one in crew.outages if last >= one.start - period - 50 and first <= one.ready + 5_000]
        near = [one for one in crew.outages if one.start - period - 50 <= last <= one.ready]
        assert near, told
        during = [one for one in crew.outages if one.start < first and last < one.ready]
        for instant in range(last + period, first, period):  # each of them while there was no server
            assert any(one.start - 50 <= instant <= one.ready + 1_000 - GRACE_MS for one in during), (instant, told)
        outage = max(during)
        if outage.calm and (len(during) > 1 or (len(near) == 1 and around)):
            came_from, came_to = outage.launched - GRACE_MS, outage.ready + 1_000 - GRACE_MS
            if policy == "one":  # the last that was missed, and all after it
                assert came_from - period < first <= came_to, told
            else:  # the first that was not missed
                assert came_from < first <= came_to + period, told
    if policy != "all":
        long = [one for one in crew.outages if one.calm and one.launched - one.start > 2 * period + GRACE_MS]
        for outage in long:
            inside = [i for i in set(instants) if outage.start + 50 < i <= outage.launched - GRACE_MS - period]
            assert not inside, f"{name}: {sorted(inside)} were sent, though missed in {outage}"
    return left_out


@pytest.fixture
def schedules_on_redis(
    own_redis: RedisServer,
    sqlite_database: str,
    start_process: Callable[..., Process],
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Planned]:
    with django_db_blocker.unblock(), emptied(planned("redis", own_redis.url, start_process, sqlite_database)) as site:
        yield site


@pytest.fixture
def schedules_on_postgres(
    layer_redis: RedisServer,
    postgres_database: str,
    start_process: Callable[..., Process],
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Planned]:
    with django_db_blocker.unblock():
        with emptied(planned("database", layer_redis.url, start_process, postgres_database)) as site:
            yield site
        connections[postgres_database].close()


def spread(site: Planned) -> dict[str, tuple[str, int]]:
    """Schedules of every source, period and policy; their policy and period by name."""
    known: dict[str, tuple[str, int]] = {}
    target: dict[str, Any] = {"channel": "sink", "message": MESSAGE}
    for policy in POLICIES:
        site.code[f"code-{policy}"] = {"every": 0.2, "catch_up": policy, **target}
        site.named[f"named-{policy}"] = {**SECOND, "catch_up": policy, **target}
        site.add(f"row-{policy}", **SECOND, catch_up=policy)
        known |= {f"code-{policy}": (policy, 200), f"named-{policy}": (policy, 1_000), f"row-{policy}": (policy, 1_000)}
        site.named[f"minute-{policy}"] = {"cron": "* * * * *", "catch_up": policy, **target}
    return known


def overdue_claims(site: Planned) -> list[str]:
    time.sleep(0.2)
    claimed = DelayedMessage.objects.using(site.database).exclude(generation=0)
    return list(claimed.values_list("id", flat=True))


def killed_at_random(site: Planned, diary: Diary, kills: int, what: str, *, may_double: bool) -> None:
    known = spread(site)
    crew = Crew(site, Random(SEED))
    with diary:
        crew.all_up()
        wait_past(diary, known, 0, 20)
        begun = now_ms()
        crew.trouble(kills)
        crew.all_up()
        wait_past(diary, known, 1, 20)
        calm = now_ms()
        if may_double:  # what a killed server had claimed comes again when its lease is over
            wait_for(lambda: not overdue_claims(site), LEASE_MS / 1000 + 10, "nothing that a dead server has claimed")
        crew.end()
        fired = diary.fired()
    try:
        left_out = {
            name: check(name, policy, period, fired[name], crew, may_double=may_double)
            for name, (policy, period) in known.items()
        }
        twice = 0
        for name, (policy, period) in known.items():
            each = {one.instant for one in fired[name]}
            twice += len(fired[name]) - len(each)
            assert max(each) >= calm - period - 500, (name, max(each), calm)
            if policy == "all":
                assert len(each) == (max(each) - min(each)) // period + 1
        minutes = {policy: sorted({one.instant for one in fired.get(f"minute-{policy}", [])}) for policy in POLICIES}
        for policy, when in minutes.items():
            assert not off_grid(when, 60_000), (policy, when)
            assert not doubled(one.instant for one in fired.get(f"minute-{policy}", [])) or may_double
        assert minutes["all"] == minutes["one"] or len(crew.outages) > 1, minutes
    except AssertionError:
        print(f"seed {SEED}, outages: {crew.outages}")
        raise
    sent = sum(len(one) for one in fired.values())
    late = sorted(one.at - one.instant for one in fired["code-all"])
    figures.append(
        f"schedules, {what}: kills {crew.kills}, outages {len(crew.outages)} in {(calm - begun) / 1000:.0f} s,"
        f" occurrences {sent}, doubled {twice}, left out {left_out}, late p50 {late[len(late) // 2]:.0f} ms"
    )


def test_each_occurrence_once_and_what_was_missed_by_policy_on_redis(schedules_on_redis: Planned) -> None:
    site = schedules_on_redis
    killed_at_random(site, site.diary(), KILLS, "Redis store", may_double=False)


def test_each_occurrence_once_and_what_was_missed_by_policy_on_postgres(schedules_on_postgres: Planned) -> None:
    """Store and layer are two servers: what a killed one had in hand may come twice; nothing else, nothing is lost."""
    site = schedules_on_postgres
    killed_at_random(site, site.diary(), sized(100, 3), "PostgreSQL store", may_double=True)
