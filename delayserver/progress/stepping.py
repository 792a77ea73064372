"""How a poller's steps change its progress: pure decisions, for `Board.write`.

Runs of steps are in order: a run begins if it is after the one that began last, and what a run says counts until
another has begun. So however often a step is delivered, one run of it moves the work on.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from .record import Record, Run, Update, changed, updated


class Refused(Enum):
    """Why a run does not begin."""

    COPY = "this very run has begun, or a later one of its step: an ack of this one might end that one's message"
    OVER = "the work is over, or has come further"


class Beginning:
    """A run begins; `refused` says why not.

    What has failed begins again where its very step is run again, or the step that was found to be nowhere.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.refused = Refused.OVER

    def __call__(self, record: Record, now: int) -> Record | None:
        self.refused = Refused.OVER  # it may be asked again, of a newer record
        steps = (record.run.step, record.run.step + record.cut)
        revived = record.state == "failed" and self.run.step in steps
        if record.is_over and not revived:
            return None
        if not revived and record.run >= self.run:
            self.refused = Refused.COPY if record.run.step == self.run.step else Refused.OVER
            return None
        again = record.run.step == self.run.step and not revived
        failures = record.failures if again else 0
        changes = {"failures": failures, "attempt": failures + 1, "paused": False, "cut": False}
        return changed(record, now, state="running", error="", run=self.run, **changes)


def goes_on(run: Run, record: Record, now: int) -> Record | None:
    """Nothing changes; None where the work is over, or in other hands."""
    return None if record.is_over or record.run != run else record


def ended(run: Run | None, changes: Mapping[str, Any], record: Record, now: int) -> Record | None:
    """The work is over."""
    return updated(record, Update({**changes, "paused": False}, run), now)


def failed(run: Run, failures: int, record: Record, now: int) -> Record | None:
    """A run has failed; the same hand-over's number may come again, since waiting spends no attempt."""
    before = Run(run.step, run.attempt - 1)
    return updated(record, Update({"failures": failures, "run": before, "attempt": failures + 1}, run), now)


def parked(run: Run, record: Record, now: int) -> Record | None:
    """Its next step waits for somebody to watch."""
    return updated(record, Update({"paused": True}, run), now)
