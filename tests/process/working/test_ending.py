"""SIGTERM: handlers may go on for the grace; what they do not finish then, others run at once, not after a lease."""

from __future__ import annotations

import signal
import time

import pytest

from ...support.process import Process
from ...support.wait import wait_for
from .workshop import SOON_SECONDS, Workshop, probes

LONG_MS = 60_000
PLAIN, KEPT = range(5), range(5, 10)


def began_by(workshop: Workshop, worker: Process) -> set[int]:
    return {one.n for one in workshop.journal.of("began", pid=worker.pid)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_within_a_second_when_idle(workshop: Workshop, number: signal.Signals) -> None:
    worker = workshop.worker("work")
    start = time.monotonic()
    worker.signal(number)
    assert worker.wait() == 0
    assert time.monotonic() - start <= 1.0
    assert "Traceback" not in worker.output


def test_what_the_grace_cuts_off_another_runs_at_once(workshop: Workshop) -> None:
    workshop.site.rundelay()
    workshop.send("work", probes(PLAIN, ms=LONG_MS))
    workshop.send_later("work", probes(KEPT, ms=LONG_MS))
    first = workshop.worker("work", "--grace", "0.5")
    workshop.wait_for("began", [*PLAIN, *KEPT])
    second = workshop.worker("work", "--grace", "0")
    first.terminate()
    assert first.wait() == 0
    wanted = {*PLAIN, *KEPT}
    wait_for(lambda: began_by(workshop, second) == wanted, SOON_SECONDS, "all of them in the other worker")
    assert {one.n for one in workshop.journal.of("cut", pid=first.pid)} == wanted
    attempts = {one.n: one.attempt for one in workshop.journal.of("began", pid=second.pid)}
    assert attempts == {**dict.fromkeys(PLAIN, 0), **dict.fromkeys(KEPT, 2)}
    assert "Traceback" not in first.output


def test_what_was_not_begun_is_given_back_too(workshop: Workshop) -> None:
    """Sync consumers that wait for a thread."""
    workshop.send("blocking", probes(range(10), ms=6_000))
    first = workshop.worker("blocking", "--threads", "2", "--grace", "0")
    workshop.wait_for("began", range(1))
    second = workshop.worker("blocking", "--threads", "10")
    first.terminate()
    assert first.wait() == 0
    workshop.wait_for("ended", range(10))
    assert began_by(workshop, second) == set(range(10))
    workshop.wait_until_nothing_is_left()


def test_within_the_grace_handlers_end_and_nothing_new_is_taken(workshop: Workshop) -> None:
    workshop.site.rundelay()
    workshop.send("work", probes(PLAIN, ms=1_500))
    workshop.send_later("work", probes(KEPT, ms=1_500))
    worker = workshop.worker("work", "--grace", "20")
    workshop.wait_for("began", [*PLAIN, *KEPT])
    worker.terminate()
    workshop.send("work", probes([10]))
    assert worker.wait() == 0
    assert workshop.journal.times("ended") == dict.fromkeys([*PLAIN, *KEPT], 1)
    assert workshop.left() == {"asgiwork": 1}
    workshop.worker("work")
    workshop.wait_for("ended", [10], SOON_SECONDS)
    workshop.wait_until_nothing_is_left()
    assert set(workshop.journal.times("began").values()) == {1}


def test_a_second_signal_ends_it_at_once_and_what_it_had_runs_elsewhere(workshop: Workshop) -> None:
    workshop.send("work", probes(PLAIN, ms=2_500))
    first = workshop.worker("work", "--grace", "60", lease=3)
    workshop.wait_for("began", PLAIN)
    second = workshop.worker("work", lease=3)
    ends = time.monotonic() + 2.0
    first.terminate()
    wait_for(lambda: first.terminate() or not first.running, 2.0, "its end")  # type: ignore[func-returns-value]
    assert first.wait() == 1
    assert time.monotonic() < ends
    assert not workshop.journal.of("ended")
    workshop.wait_for("ended", PLAIN)
    assert began_by(workshop, second) == set(PLAIN)
    workshop.wait_until_nothing_is_left()


def test_sync_code_that_goes_on_does_not_hold_up_the_end(workshop: Workshop) -> None:
    workshop.send("blocking", probes([0], ms=LONG_MS))
    first = workshop.worker("blocking", "--grace", "0")
    workshop.wait_for("began", [0])
    second = workshop.worker("blocking", "--grace", "0")
    first.terminate()
    assert first.wait(SOON_SECONDS) == 0
    wait_for(lambda: began_by(workshop, second) == {0}, SOON_SECONDS, "it in the other worker")


def test_nor_does_what_a_handler_has_left_to_the_event_loops_threads(workshop: Workshop) -> None:
    workshop.send("work", probes([0], type="in_thread", ms=LONG_MS))
    first = workshop.worker("work", "--grace", "0")
    workshop.wait_for("began", [0])
    first.terminate()
    assert first.wait(SOON_SECONDS) == 0
    assert workshop.left() == {"asgiwork": 1}
