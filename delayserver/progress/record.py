"""The last known state of a piece of work, and how it changes: pure functions on values.

A record is an entry of the store: no change is made to anything but the newest. Whoever watches sees fewer changes,
each with the next version.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from typing import Any, Literal, NamedTuple

from ..content import shown
from ..errors import InvalidMessage
from ..stores.entries import Entry
from ..telling import one_line

State = Literal["pending", "running", "succeeded", "failed", "timed_out", "cancelled"]
OVER: tuple[State, ...] = ("succeeded", "failed", "timed_out", "cancelled")
STATES: tuple[State, ...] = ("pending", "running", *OVER)
Number = int | float

MAX_TEXT_LENGTH = 500
MAX_RESULT_BYTES = 65_536
SHOWN = ("state", "current", "total", "text", "result", "error", "attempt")  # in a frame, beside id and version


class Run(NamedTuple):
    """One run of a poller's step: which step, and which hand-over of it. Runs are in order."""

    step: int = 0
    attempt: int = 0


NO_RUN = Run()


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a piece of work. `created` and `changed` are ms since the epoch by the store's clock.

    poller, pauses, paused
        whether steps of a poller move it; whether these wait while nobody watches; and whether the next one does
    cut
        whether its next step was found to be nowhere, so that it has failed
    run, failures
        which run of a step began last, and how many of that step's have failed
    version, entry
        how often it was shown as something else; and the version of the store's entry
    """

    id: str
    state: State = "pending"
    current: Number | None = None
    total: Number | None = None
    text: str = ""
    result: object = None
    error: str = ""
    attempt: int = 1
    created: int = 0
    changed: int = 0
    poller: bool = False
    pauses: bool = False
    paused: bool = False
    cut: bool = False
    run: Run = NO_RUN
    failures: int = 0
    version: int = 1
    entry: int = field(default=0, compare=False)

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    def frame(self) -> dict[str, Any]:
        """As browsers get it."""
        return {"id": self.id, **{name: getattr(self, name) for name in (*SHOWN, "version")}}

    def shows_as(self, other: Record) -> bool:
        """Whether nobody who looks at it sees a difference."""
        return all(getattr(self, name) == getattr(other, name) for name in SHOWN)

    def pack(self) -> bytes:
        kept = {name: getattr(self, name) for name in _NAMES}
        return json.dumps(kept, separators=(",", ":")).encode()

    @classmethod
    def unpack(cls, id: str, entry: Entry) -> Record:
        """Any exception where it is none."""
        kept = json.loads(entry.body)
        kept["run"] = Run(*kept["run"])
        record = cls(id, **{name: value for name, value in kept.items() if name in _NAMES}, entry=entry.version)
        if record.state not in STATES or any(type(number) is not int for number in record._counts()):
            raise ValueError("expected a record, got something else")
        return record

    def _counts(self) -> tuple[object, ...]:
        return self.version, self.attempt, self.failures, self.created, self.changed, *self.run


_NAMES = [one.name for one in fields(Record) if one.name not in ("id", "entry")]


@dataclass(slots=True)
class Update:
    """What shall be different: of a record's fields, those that are named.

    run
        whose word it is: that of a run after which another has begun counts no more
    again
        whether what has failed may go on: the work itself begins anew
    """

    changes: dict[str, Any]
    run: Run | None = None
    again: bool = False

    def and_then(self, later: Update) -> Update:
        """Both, as one; what another run said before is nobody's word now. What no run said counts with it."""
        if self.run is not None and later.run is not None and self.run != later.run:
            return later
        run = self.run if later.run is None else later.run
        return Update(self.changes | later.changes, run, self.again or later.again)


def updated(record: Record, update: Update, now: int) -> Record | None:
    """The record after it; None where it comes too late: the work is over, or in other hands."""
    if update.run is not None and record.run > update.run:
        return None
    if record.is_over and not (update.again and record.state == "failed"):
        return None
    changes = dict(update.changes)
    if update.again and record.state == "failed":
        changes = {"error": "", **changes}
    return changed(record, now, **changes)


def changed(record: Record, now: int, **changes: Any) -> Record:
    """The record with these changes; the next version, if anybody sees them."""
    after = replace(record, **changes)
    return after if after.shows_as(record) else replace(after, changed=now, version=record.version + 1)


# -- what may be said ----------------------------------------------------------------------------------------


def steps(current: object, total: object, text: object) -> dict[str, Any]:
    """How far it is, as changes; what is None stays as it was. `InvalidMessage` for what cannot be shown."""
    changes: dict[str, Any] = {}
    for name, value in (("current", current), ("total", total)):
        if value is not None:
            changes[name] = _number(name, value)
    if text is not None:
        if not isinstance(text, str):
            raise InvalidMessage(f"expected text to be a str, got {type(text).__name__}")
        changes["text"] = short(text)
    return changes


def reason(text: object) -> str:
    """Why it failed, as it is shown; `InvalidMessage` for what is no text."""
    if not isinstance(text, str):
        raise InvalidMessage(f"expected a reason to be a str, got {type(text).__name__}")
    return short(text)


def _number(name: str, value: object) -> Number:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise InvalidMessage(f"expected {name} to be a number, 0 or more, got {shown(value)}")
    if value > 2**53:
        raise InvalidMessage(
            f"expected {name} to be at most 2**53, which is as far as browsers count, got {shown(value)}"
        )
    return value


def shown_result(result: object) -> object:
    """The result as JSON has it; `InvalidMessage` for what JSON cannot hold, or is too long."""
    try:
        text = json.dumps(result, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidMessage(
            f"expected a result that JSON can hold, got {type(result).__name__} ({_cause(error)})"
        ) from None
    if len(text) > MAX_RESULT_BYTES:
        raise InvalidMessage(f"expected a result of at most {MAX_RESULT_BYTES} bytes as JSON, got {len(text)}")
    return json.loads(text)


def _cause(error: Exception) -> str:
    return str(error)[:80]


def short(text: str) -> str:
    """On one line, and no longer than is kept."""
    return one_line(text[:MAX_TEXT_LENGTH])[:MAX_TEXT_LENGTH]
