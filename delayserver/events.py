"""What a server can say: each event's sentence, level and rate, in one place.

Rooms call ``emit(EVENT, ...)``; nobody else writes to the log. An event that could flood is limited: a burst
goes through, then one line a second (or in the event's own time), and the next line tells how many were left out.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

from .clock import monotonic
from .telling import told

logger = logging.getLogger("delayserver")

MAX_PAYLOAD_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Event:
    """A sentence with named gaps, and how many lines of it may come at once; then one in so many seconds."""

    name: str
    level: int
    sentence: str
    burst: int = 1
    seconds: float = 1.0


STARTED = Event("started", logging.INFO, "delay server ready: {server}")
STOPPED = Event("stopped", logging.INFO, "delay server stopped")
LOOP_FAILED = Event("loop_failed", logging.ERROR, "{loop}: {error}; trying again in {seconds:.1f} s")
LOOP_RECOVERED = Event("loop_recovered", logging.INFO, "{loop}: working again after {failures} failures")
DOUBT = Event("doubt", logging.WARNING, "{sentence} {hint} ({id})")
LISTENER_LOST = Event("listener_lost", logging.WARNING, "no wake-up connection ({error}); polling until there is one")
TAKEN_IN = Event("taken_in", logging.DEBUG, "took in a message")
REFUSED = Event(
    "refused",
    logging.WARNING,
    "refused a message on {channel}, kept as dead letter {id}: {reason}; payload {payload}",
    burst=200,
)
SET_ASIDE = Event(
    "set_aside",
    logging.ERROR,
    "{key} held a Redis {type} where a channel's sorted set should be; renamed to {aside}, expires in a week",
    burst=5,
)
HANDED_OVER = Event("handed_over", logging.DEBUG, "handed over a message")
CHANNEL_FULL = Event("channel_full", logging.WARNING, "channel {target} takes no more; its messages wait")
DELIVERY_FAILED = Event("delivery_failed", logging.ERROR, "could not deliver to {target}: {error}; it waits")
UNDELIVERABLE = Event(
    "undeliverable",
    logging.WARNING,
    "message {id} for {target} became a dead letter: {reason}",
    burst=20,
)
EXPIRED = Event("expired", logging.INFO, "message {id} for {target} expired and was dropped", burst=20)
TAKEN = Event("taken", logging.DEBUG, "took a message off a worker channel")
HANDLED = Event("handled", logging.DEBUG, "a handler is done")
HANDLER_FAILED = Event(
    "handler_failed", logging.ERROR, "a handler on channel {channel} raised {error}; {then}", burst=20
)
HANDLED_NOT = Event(
    "handled_not", logging.WARNING, "a message on channel {channel} became dead letter {id}: {reason}", burst=20
)
ACK_REFUSED = Event(
    "ack_refused",
    logging.WARNING,
    "message {id} was handled too late: attempt {attempt} had run into its ack_timeout, or was taken back",
    burst=20,
)
WORKER_STARTED = Event("worker_started", logging.INFO, "worker ready: {worker}")
WORKER_STOPPING = Event(
    "worker_stopping", logging.INFO, "worker stopping: {number} handlers have {seconds:.0f} s to end"
)
WORKER_GAVE_BACK = Event(
    "worker_gave_back", logging.WARNING, "{number} messages were not done in time, and given back: they run elsewhere"
)
WORKER_STOPPED = Event("worker_stopped", logging.INFO, "worker stopped")
WORKER_STALE = Event(
    "worker_stale",
    logging.WARNING,
    "left out a copy of message {id} on channel {channel}: its attempt {attempt} is done, or was handed over again",
    burst=5,
)
LOOP_BLOCKED = Event(
    "loop_blocked",
    logging.WARNING,
    "a handler on channel {channel} has blocked the event loop for {seconds:.1f} s, at {place}:"
    " what waits or computes that long belongs in a sync consumer, or in sync_to_async",
    burst=5,
)
HAND_LOST = Event(
    "hand_lost",
    logging.WARNING,
    "a message on channel {channel} was no longer this worker's when it was handled: another may have run it, too",
    burst=5,
)
RESUMED = Event(
    "resumed",
    logging.WARNING,
    "a message on channel {channel} was in the hand of a worker that died; it is taken up",
    burst=20,
)
OCCURRENCE_PUT = Event("occurrence_put", logging.DEBUG, "put an occurrence of a schedule")
SCHEDULE_STARTED = Event(
    "schedule_started", logging.INFO, "schedule {name}: new or changed, {recurrence} from now on", burst=20
)
SCHEDULE_BROKEN = Event("schedule_broken", logging.ERROR, "schedule {name} does not run: {reason}", seconds=60)
SCHEDULE_CLASH = Event(
    "schedule_clash", logging.WARNING, "schedule {name}: the name is used twice: {reason}", seconds=60
)
CONSUMERS_UNREAD = Event(
    "consumers_unread",
    logging.WARNING,
    "{app}.consumers cannot be imported ({error}); schedules that it declares are not known",
    seconds=600,
)
SCHEDULES_UNREAD = Event(
    "schedules_unread",
    logging.WARNING,
    "the rows of schedules cannot be read ({error}); what is known goes on. Their table comes with manage.py migrate",
    seconds=600,
)
OCCURRENCE_ELSEWHERE = Event(
    "occurrence_elsewhere",
    logging.WARNING,
    "occurrence {id} waits on another layer of this database, and not on this one",
)
OCCURRENCES_MISSED = Event(
    "occurrences_missed",
    logging.WARNING,
    "schedule {name}: {number} missed while no server ran, and not sent, from {first} to {last}",
)
OCCURRENCES_TOO_OLD = Event(
    "occurrences_too_old",
    logging.WARNING,
    "schedule {name}: {number} missed, and longer ago than its catch_up_window, from {first} to {last}",
)
OCCURRENCES_EXPIRED = Event(
    "occurrences_expired",
    logging.WARNING,
    "schedule {name}: {number} missed, and expired by now, from {first} to {last}",
)
OCCURRENCES_OVERLAPPED = Event(
    "occurrences_overlapped",
    logging.WARNING,
    "schedule {name}: {number} not sent, for the one before was not done, from {first} to {last}",
)
PRUNING_FAILED = Event(
    "pruning_failed",
    logging.WARNING,
    "old {what} could not be deleted from database {using} ({error}); trying again in a minute",
)
WORKER_DIED = Event(
    "worker_died",
    logging.ERROR,
    "worker process {number} (pid {pid}) died: {reason}; starting it anew in {seconds:.1f} s",
    burst=20,
)
WORKER_ENDED = Event(
    "worker_ended",
    logging.INFO,
    "worker process {number} (pid {pid}) ended by itself; starting it anew in {seconds:.1f} s",
    burst=20,
)
WORKER_FAILED = Event("worker_failed", logging.ERROR, "worker process {number} raised {error}")
WORKER_NOT_STARTED = Event(
    "worker_not_started",
    logging.ERROR,
    "worker process {number} could not be started: {error}; trying again in {seconds:.1f} s",
    burst=20,
)
WORKERS_GIVEN_UP = Event(
    "workers_given_up",
    logging.ERROR,
    "every worker process ended within {seconds:.0f} s of its start, {times} times in a row; giving up",
)
OFFLOAD_REFUSED = Event("offload_refused", logging.WARNING, "refused an offload ({kind}): {reason}", burst=20)
OFFLOAD_FAILED = Event("offload_failed", logging.WARNING, "an offload ({kind}) failed: {reason}", burst=20)
OFFLOAD_RAISED = Event("offload_raised", logging.ERROR, "offloaded function {path} raised {error}", burst=20)
OFFLOAD_EXPIRED = Event("offload_expired", logging.DEBUG, "dropped an offload ({kind}) that nobody waits for any more")
OFFLOAD_LATE = Event("offload_late", logging.DEBUG, "dropped an offload's answer that came too late")
OFFLOAD_UNANSWERED = Event(
    "offload_unanswered", logging.WARNING, "the answer of an offload ({kind}) did not reach {target}: {reason}", burst=5
)
TASK_UNSHOWN = Event(
    "task_unshown", logging.WARNING, "progress of a Celery task cannot be shown at present: {error}", seconds=10
)
UNKNOWN_LAYER = Event(
    "unknown_layer",
    logging.WARNING,
    "channels_redis {version} is not a version we know; using its public API",
)

PROGRESS_UNHEARD = Event(
    "progress_unheard",
    logging.WARNING,
    "the channel layer could not be reached ({error}); who watches progress sees it twice a second",
)

TRACED = (HANDLER_FAILED, WORKER_FAILED, OFFLOAD_RAISED)  # errors in a project's own code, whose place one wants to see
counts: Counter[str] = Counter()  # how often each event happened in this process, for metrics


def count(event: Event, times: int = 1) -> None:
    """Count what happens too often for a line in the log."""
    counts[event.name] += times


class _Allowance:
    """How many more lines an event may write at present."""

    __slots__ = ("left", "suppressed", "updated")

    def __init__(self, burst: int) -> None:
        self.left = float(burst)
        self.suppressed = 0
        self.updated = monotonic()


MAX_ALLOWANCES = 1_000
_allowances: dict[tuple[str, str], _Allowance] = {}


def emit(event: Event, *, of: str = "", error: BaseException | None = None, **gaps: object) -> None:
    """Count the event, and log it unless its allowance (one for each `of`, such as a channel) is spent."""
    counts[event.name] += 1
    if len(_allowances) >= MAX_ALLOWANCES and (event.name, of) not in _allowances:
        of = "others"  # names come from outside: what is too much for a line each shares one
    allowance = _allowances.setdefault((event.name, of), _Allowance(event.burst))
    now = monotonic()
    allowance.left = min(event.burst, allowance.left + (now - allowance.updated) / event.seconds)
    allowance.updated = now
    if allowance.left < 1:
        allowance.suppressed += 1
        return
    allowance.left -= 1
    sentence = event.sentence.format(error=told(error), **gaps)
    if allowance.suppressed:
        sentence += f" ({allowance.suppressed} more such lines were left out)"
        allowance.suppressed = 0
    trace = error if event in TRACED else None
    logger.log(event.level, "%s", sentence, extra={"event": event.name}, exc_info=trace)


def payload(raw: bytes) -> str:
    """A payload for the log: at most 500 characters, control characters escaped."""
    return repr(raw[:MAX_PAYLOAD_CHARACTERS])[:MAX_PAYLOAD_CHARACTERS]
