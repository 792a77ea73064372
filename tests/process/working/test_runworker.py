"""Channels' own ``runworker``, with consumers that ack."""

from __future__ import annotations

from datetime import timedelta

import pytest

from delayserver.backoff import Retry

from .workshop import LATE_SECONDS, Workshop, probes

QUICKLY = Retry(max_attempts=5, backoff=timedelta(milliseconds=10), ack_timeout=timedelta(seconds=10))


@pytest.fixture
def runworker(workshop: Workshop) -> None:
    workshop.site.rundelay()
    workshop.start("runworker", "acking")


def test_a_handler_that_raises_loses_no_backlog(workshop: Workshop, runworker: None) -> None:
    workshop.send_later("acking", [{"type": "raises_twice", "n": 0}, *probes(range(1, 51))], QUICKLY)
    workshop.wait_for("ended", range(51), LATE_SECONDS)
    workshop.wait_until_nothing_is_left()
    began = workshop.journal.by_message("began")
    assert [one.attempt for one in began.pop(0)] == [1, 2, 3]
    assert [len(notes) for notes in began.values()] == [1] * 50


def test_again_and_fail_are_heard(workshop: Workshop, runworker: None) -> None:
    workshop.send_later("acking", [{"type": "waits_once", "n": 0}, {"type": "fails", "n": 1}], QUICKLY)
    workshop.send("acking", [{"type": "waits_once", "n": 2}])
    workshop.wait_for("ended", [0, 2])
    letter = workshop.wait_for_dead_letter()
    assert letter.reason == "failed: it can never be done"
    workshop.wait_until_nothing_is_left()
    began = workshop.journal.by_message("began")
    assert {n: [one.attempt for one in notes] for n, notes in began.items()} == {0: [1, 1], 1: [1], 2: [0, 0]}
