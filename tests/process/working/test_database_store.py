"""Store and layer are not one: a server delivers first, and says so to its store afterwards."""

from __future__ import annotations

import time

from .workshop import Workshop, probes

NUMBER, PAUSE_SECONDS = 150, 0.01  # one by one: a worker that waits takes each at once


def test_a_worker_that_is_faster_than_the_server_runs_each_once(postgres_workshop: Workshop) -> None:
    """And at its first attempt: none has to wait for its ack timeout."""
    workshop = postgres_workshop
    workshop.site.rundelay()
    workshop.workers(2, "work")
    for number in range(NUMBER):
        workshop.send_later("work", probes([number]))
        time.sleep(PAUSE_SECONDS)
    workshop.wait_for("ended", range(NUMBER))
    workshop.wait_until_nothing_is_left()
    assert workshop.journal.times("began") == dict.fromkeys(range(NUMBER), 1)
    assert {one.attempt for one in workshop.journal.all()} == {1}
