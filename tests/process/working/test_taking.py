"""Each message runs, once, whoever takes it; what is slow or broken holds up nothing else."""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta

import pytest

from delayserver.backoff import Retry

from ..conftest import cpu_seconds
from .workshop import SOON_SECONDS, Workshop, probes

MANY = 3_000
QUICKLY = Retry(max_attempts=3, backoff=timedelta(milliseconds=10))


def test_of_four_workers_one_runs_each_plain_message(workshop: Workshop) -> None:
    workshop.workers(4, "work")
    workshop.send("work", probes(range(MANY)))
    workshop.wait_for("ended", range(MANY))
    workshop.wait_until_nothing_is_left()
    assert workshop.journal.times("began") == dict.fromkeys(range(MANY), 1)
    assert len({one.pid for one in workshop.journal.all()}) > 1


def test_of_four_workers_one_runs_each_message_with_retry(workshop: Workshop) -> None:
    workshop.workers(4, "work")
    workshop.site.rundelay()
    workshop.send_later("work", probes(range(MANY)))
    workshop.wait_for("ended", range(MANY))
    workshop.wait_until_nothing_is_left()
    assert workshop.journal.times("began") == dict.fromkeys(range(MANY), 1)
    assert {one.attempt for one in workshop.journal.all()} == {1}
    assert len({one.pid for one in workshop.journal.all()}) > 1


def test_a_handler_that_raises_takes_no_other_message_along(workshop: Workshop) -> None:
    workshop.send("work", [{"type": "raises", "n": 0}, *probes(range(1, 51))])
    workshop.worker("work")
    workshop.wait_for("ended", range(1, 51))
    letter = workshop.wait_for_dead_letter()
    assert letter.reason.startswith("raised RuntimeError: broken on purpose (in tests.process.working.consumers.")
    assert workshop.journal.times("began") == dict.fromkeys(range(51), 1)
    workshop.wait_until_nothing_is_left()


def test_a_handler_that_raises_comes_again_as_its_retry_says(workshop: Workshop) -> None:
    workshop.send_later("work", [{"type": "raises", "n": 0}, *probes(range(1, 51))], QUICKLY)
    workshop.worker("work")
    workshop.site.rundelay()
    workshop.wait_for("ended", range(1, 51))
    letter = workshop.wait_for_dead_letter()
    assert letter.reason.startswith("out of attempts: 3, and the last raised RuntimeError: broken on purpose")
    began = workshop.journal.by_message("began")
    assert [one.attempt for one in began.pop(0)] == [1, 2, 3]
    assert [len(notes) for notes in began.values()] == [1] * 50
    workshop.wait_until_nothing_is_left()


def test_slow_messages_hold_up_no_fast_ones(workshop: Workshop) -> None:
    workshop.send("work", [*probes(range(100), ms=5_000), *probes(range(100, 200), ms=10)])
    workshop.worker("work", "--concurrency", "200")
    workshop.wait_for("ended", range(200))
    ended = [one.n for one in workshop.journal.of("ended")]
    assert set(ended[:100]) == set(range(100, 200)), "each fast one before any slow one"


def test_a_limit_of_a_channel_is_never_passed_and_holds_up_no_other(workshop: Workshop) -> None:
    workshop.send("slow", probes(range(40), ms=400))
    workshop.send("fast", probes(range(40, 140), ms=10))
    workshop.worker("slow:10", "fast", "--concurrency", "200")
    workshop.wait_for("ended", range(140))
    assert max(one.together for one in workshop.journal.of("began", channel="slow")) == 10
    assert max(one.together for one in workshop.journal.of("began", channel="fast")) > 10
    last_fast = max(one.at for one in workshop.journal.of("ended", channel="fast"))
    assert last_fast < max(one.at for one in workshop.journal.of("began", channel="slow"))


def test_sync_consumers_run_in_as_many_threads_as_there_are(workshop: Workshop) -> None:
    workshop.send("blocking", probes(range(12), ms=200))
    workshop.worker("blocking", "--threads", "4")
    workshop.wait_for("ended", range(12))
    assert max(one.together for one in workshop.journal.of("began")) == 4


def test_an_idle_worker_costs_nothing_and_wakes_at_once(workshop: Workshop) -> None:
    worker = workshop.worker("work")
    workshop.send("work", probes([0]))
    workshop.wait_for("ended", [0])
    workshop.wait_until_nothing_is_left()
    before, seconds = cpu_seconds(worker.pid), 3.0
    time.sleep(seconds)
    assert cpu_seconds(worker.pid) - before <= 0.02 * seconds
    sent = time.monotonic()
    workshop.send("work", probes([1]))
    workshop.wait_for("ended", [1], SOON_SECONDS)
    assert workshop.journal.of("began")[1].at - sent <= 1.0


@pytest.mark.parametrize("content", [{"type": "unheard.of", "n": 0}, {"n": 0}, {"type": 1, "n": 0}, {"type": "_x"}])
def test_what_no_handler_takes_is_a_dead_letter_and_ends_nothing(
    workshop: Workshop, content: dict[str, object]
) -> None:
    worker = workshop.worker("work")
    workshop.send("work", [content, *probes([1])])
    workshop.wait_for("ended", [1])
    letter = workshop.wait_for_dead_letter()
    assert letter.source == "work"
    assert Counter(one.n for one in workshop.journal.of("began")) == {1: 1}
    workshop.wait_until_nothing_is_left()
    assert worker.running
