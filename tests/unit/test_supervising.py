"""When `supervise` starts a worker process anew, when it gives up, and what it refuses; nothing is forked here."""

from __future__ import annotations

import errno
import logging
import os
import signal
from collections.abc import Sequence

import pytest

from delayserver import supervising
from delayserver.errors import ConfigurationError
from delayserver.supervising import Parent, supervise


def test_pauses_grow_with_short_lives_and_begin_again_after_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(supervising, "monotonic", lambda: now)
    worker = supervising._Worker(1)
    paused = []
    for life in (0.0, 0.9, 5, 9.9, 0, 0, 0, 0, 10, 0, 0, 300, 400):
        worker.started = now
        now += life
        paused.append(worker.ended())
        assert worker.start_at == now + paused[-1]
    assert paused == [0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 5.0, 0.0, 0.1, 0.2, 0.0, 0.0]


@pytest.mark.parametrize(
    ("lives", "hopeless"),
    [
        ((0, 0, 0, 0), False),
        ((0, 1, 0, 0, 1), True),
        ((0, 0, 0, 0, 1.1), False),
        ((0, 0, 1.1, 0, 0, 0, 0), False),
        ((9, 0, 0, 0, 0, 0), True),
        ((10, 0, 0, 0, 0, 0, 0), False),
    ],
)
def test_hopeless_is_one_that_only_ever_ends_quickly(
    monkeypatch: pytest.MonkeyPatch, lives: Sequence[float], hopeless: bool
) -> None:
    now = 100.0
    monkeypatch.setattr(supervising, "monotonic", lambda: now)
    worker = supervising._Worker(1)
    for life in lives:
        worker.started = now
        now += life
        worker.ended()
    assert worker.is_hopeless() is hopeless
    worker.started, worker.pid = now, 1
    now += 1.1
    assert not worker.is_hopeless(), "it runs, and has outlived the others"


def never(parent: Parent) -> int:
    raise AssertionError(f"{parent} was started")


def test_where_no_process_can_be_started_it_says_so_and_gives_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # What is ignored, as under nohup, stays ignored.
    supervised = {one for one in (*supervising.STOPS, signal.SIGCHLD) if signal.getsignal(one) != signal.SIG_IGN}

    def fork() -> int:
        assert supervised <= signal.pthread_sigmask(signal.SIG_BLOCK, ()), "a child would tell its own to the parent"
        raise BlockingIOError(errno.EAGAIN, "no more processes")

    monkeypatch.setattr(os, "fork", fork)
    monkeypatch.setattr(supervising, "PAUSES", (0.0,))
    caplog.set_level(logging.INFO, "delayserver")
    before = {number: signal.getsignal(number) for number in supervised}
    assert supervise(2, never) == 1
    *told, last = caplog.messages
    assert len(told) == 10
    assert all("could not be started: BlockingIOError" in line for line in told)
    assert last.endswith("giving up")
    assert {number: signal.getsignal(number) for number in supervised} == before
    assert not supervised & signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.set_wakeup_fd(-1) == -1


def test_it_refuses_with_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="expected the number of worker processes to be 1 or more, got 0"):
        supervise(0, never)
    monkeypatch.delattr(os, "fork")
    with pytest.raises(ConfigurationError, match=r"expected a system with os\.fork"):
        supervise(1, never)
