"""Workers that die with messages in hand: what they had runs elsewhere, but for what kills whoever runs it."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path

from delayserver.backoff import Retry

from ...support.process import Process
from ...support.wait import wait_for
from ..supervising.seen import is_gone
from .workshop import READY, SOON_SECONDS, Workshop, press_ctrl_c, probes

LEASE = 3.0
DEATHS = 3
INNOCENTS, OTHERS = range(1, 21), range(101, 121)
PATIENT = Retry(max_attempts=10, backoff=timedelta(milliseconds=10))


class Undying:
    """A worker that is started again whenever it has died."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop, self.deaths = workshop, 0
        self._worker = self._new()

    def _new(self) -> Process:
        return self._workshop.start("runtasks", "work", lease=LEASE)

    def watch(self) -> int:
        """How often it has died."""
        if not self._worker.running:
            self.deaths += 1
            self._worker = self._new()
        return self.deaths


def test_what_kills_three_workers_is_a_dead_letter_and_what_ran_beside_it_is_not(workshop: Workshop) -> None:
    """Plain messages in a worker that the test starts anew, and such with `retry` in processes that a parent does."""
    workshop.site.rundelay()
    workshop.send("work", [*probes(INNOCENTS, ms=300), {"type": "exits", "n": 0}])
    workshop.send_later("fast", [*probes(OTHERS, ms=300), {"type": "kills", "n": 100}], PATIENT)
    worker = Undying(workshop)
    parent = workshop.start("runtasks", "fast", "--processes", "2", lease=LEASE)
    wait_for(lambda: (worker.watch(), workshop.dead())[1] == 2, 60, "both dead letters")
    workshop.wait_for("ended", [*INNOCENTS, *OTHERS], 30)
    workshop.wait_until_nothing_is_left()
    reasons = {letter.reason for letter in workshop.dead_letters()}
    assert reasons == {f"{DEATHS} workers died while they ran it"}
    began = workshop.journal.by_message("began")
    assert [one.attempt for one in began[0]] == [0] * DEATHS
    assert [one.attempt for one in began[100]] == [1, 2, 3]
    assert set(workshop.journal.times("ended").values()) == {1}, "no innocent ended twice"
    assert worker.deaths == DEATHS
    assert parent.output.count("died: SIGKILL; starting it anew") == DEATHS


def test_who_is_cut_off_by_deploys_is_no_murderer(workshop: Workshop) -> None:
    """It was in hand when a worker died, and then again and again when one was stopped."""
    workshop.site.rundelay()
    workshop.send_later("work", probes([0], ms=60_000), PATIENT)
    first = workshop.worker("work", lease=LEASE)
    workshop.wait_for("began", [0])
    first.kill()
    for turn in range(2, 5):
        worker = workshop.worker("work", "--grace", "0", lease=LEASE)
        wait_for(lambda turn=turn: workshop.dead() or workshop.journal.times("began")[0] == turn, 30, f"turn {turn}")  # type: ignore[misc]
        assert not workshop.dead(), workshop.dead_letters()
        worker.terminate()
        assert worker.wait() == 0


def children(parent: Process) -> set[int]:
    told = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text()
    return set(map(int, told.split()))


def started(workshop: Workshop, *args: str) -> Process:
    """A parent whose children are ready."""
    parent = workshop.start("runtasks", "work", "--processes", "2", *args, lease=LEASE)
    wait_for(lambda: parent.output.count(READY[1:]) == 2, 20, f"two workers; {parent}")
    return parent


def test_each_of_several_processes_works_and_one_that_is_killed_is_replaced(workshop: Workshop) -> None:
    parent = started(workshop, "--concurrency", "2")
    both = children(parent)
    workshop.send("work", probes(range(4), ms=2_000))
    workshop.wait_for("began", range(4))
    assert {one.pid for one in workshop.journal.all()} == both
    killed = min(both)
    os.kill(killed, signal.SIGKILL)
    workshop.wait_for("ended", range(4))
    workshop.wait_until_nothing_is_left()
    had = {one.n for one in workshop.journal.of("began", pid=killed)}
    began = workshop.journal.times("began")
    assert {n for n, times in began.items() if times > 1} == had, "what it had in hand, and nothing else, runs again"
    parent.wait_for_line(rf"worker process \d .pid {killed}. died: SIGKILL; starting it anew")
    assert len(children(parent)) == 2
    parent.terminate()
    assert parent.wait() == 0


def test_when_the_parent_is_killed_the_processes_finish_and_end(workshop: Workshop) -> None:
    parent = started(workshop, "--concurrency", "2")
    both = children(parent)
    workshop.send("work", probes(range(4), ms=1_000))
    workshop.wait_for("began", range(4))
    parent.kill()
    wait_for(lambda: all(map(is_gone, both)), SOON_SECONDS, "the end of both")
    assert workshop.journal.times("ended") == dict.fromkeys(range(4), 1)
    workshop.wait_until_nothing_is_left()


def test_ctrl_c_is_one_request_to_all_processes(workshop: Workshop) -> None:
    parent = started(workshop, "--concurrency", "2")
    workshop.send("work", probes(range(4), ms=1_000))
    workshop.wait_for("began", range(4))
    press_ctrl_c(parent)
    assert parent.wait() == 0
    assert workshop.journal.times("ended") == dict.fromkeys(range(4), 1)
    assert "Traceback" not in parent.output
    workshop.wait_until_nothing_is_left()
