"""Workers are killed with ``kill -9``, again and again: every message is handled, and only what was in hand twice.

All kills come first, and then one wait for the last lease.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from delayserver.suspects import MAX_DEATHS

from ..process.conftest import Site
from ..process.working.journal import Note
from ..process.working.workshop import LATE_SECONDS, Workshop
from .crew import Crew, Traffic, is_plain, told
from .ledger import figures, sized

KILLS = sized(50, 10)
MESSAGES = sized(5_000, 1_000)
SECONDS = sized(40.0, 6.0)
SLOTS, CONCURRENCY, MS = 4, 20, 100
SETTLE_SECONDS = LATE_SECONDS + 10
SETTLED_SECONDS = 3.0  # after a handler's end its message is out of the hand, even on a machine with much to do

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def on_postgres(postgres_site: Site, tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(postgres_site, tmp_path)
    yield workshop
    workshop.client.close()


def kill_and_check(workshop: Workshop, what: str, kills: int, messages: int, lease: float | None = None) -> None:
    workshop.site.rundelay()
    crew = Crew(workshop, SLOTS, CONCURRENCY, lease)
    with Traffic(workshop, messages, SECONDS, MS) as traffic:
        crew.kill_at_random(kills, SECONDS)
        traffic.join(150)  # PostgreSQL commits each by itself
    assert len(traffic.accepted) == messages
    workshop.wait_until_nothing_is_left(SETTLE_SECONDS)
    figures.append(f"workers killed at random, {what} store: {told(workshop, traffic, list(crew.killed))}")
    crew.assert_running()
    assert len(crew.killed) == kills
    check_ledger(workshop, crew, traffic.accepted)
    check_repeats(workshop, crew)


def check_ledger(workshop: Workshop, crew: Crew, accepted: Iterable[int]) -> None:
    """What was accepted is done, or a dead letter: and that is only what three workers died with."""
    runs = workshop.journal.by_message("began")
    deadly = {number for number, notes in runs.items() if sum(one.pid in crew.killed for one in notes) >= MAX_DEATHS}
    missing = set(accepted) - workshop.journal.times("ended").keys()
    assert missing <= deadly
    assert len(missing) <= workshop.dead() <= len(deadly)


def check_repeats(workshop: Workshop, crew: Crew) -> None:
    """Each message that ran twice was in the hand of a worker that was killed; it came soon, with another attempt."""
    ended = {(one.n, one.pid): one.at for one in workshop.journal.of("ended")}
    runs = workshop.journal.by_message("began")
    repeats = [pair for notes in runs.values() for pair in itertools.pairwise(notes)]
    assert 0 < len(repeats) <= len(crew.killed) * CONCURRENCY
    for earlier, later in repeats:
        killed_at = crew.killed.get(earlier.pid)
        assert killed_at is not None, f"it ran again, and its worker lives: {earlier} {later}"
        assert later.at - killed_at <= LATE_SECONDS
        end = ended.get((earlier.n, earlier.pid))
        assert end is None or killed_at - end <= SETTLED_SECONDS, f"it was done long before: {earlier} {later}"
    for number, notes in runs.items():
        check_attempts(number, notes)


def check_attempts(number: int, notes: Sequence[Note]) -> None:
    attempts = [one.attempt for one in notes]
    if is_plain(number):
        assert set(attempts) == {0}
    else:
        assert attempts == sorted(set(attempts)), f"each run has an attempt of its own: {notes}"


def test_random_kills_with_the_redis_store(workshop: Workshop) -> None:
    kill_and_check(workshop, "Redis", KILLS, MESSAGES)


def test_random_kills_with_the_database_store(on_postgres: Workshop) -> None:
    """A shorter lease, for here is another store to look at, and no other hand."""
    kill_and_check(on_postgres, "PostgreSQL", sized(50, 5), sized(5_000, 500), lease=4)
