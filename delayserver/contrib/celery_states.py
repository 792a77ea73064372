"""What is said of a task, as changes of its progress: pure functions."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import states
from celery.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from django.utils.timezone import localtime

from ..errors import InvalidMessage
from ..progress.record import Number, Run, Update, short, shown_result, steps
from ..telling import told

TEXTS = ("text", "description", "status", "message")  # by which a meta may say what is going on
LIMIT = "it ran into its time limit"
EXPIRED = "it expired before it began"


def run_of(request: Any) -> Run:
    """Which run of a task it is: the message of a retry is sent before the run that asked for it has had its say."""
    return Run(1, (request.retries or 0) + 1)


def running(run: Run, *, anew: bool) -> Update:
    """It runs. `anew`: not for the first time, so how far it had come counts no more."""
    far: dict[str, Any] = {"current": None, "text": ""} if anew else {}
    return Update({"state": "running", "attempt": run.attempt, "run": run, **far}, again=True)


def succeeded(result: object, run: Run | None = None) -> Update:
    """It is done; a result that JSON cannot hold, or that is too long, is left out."""
    try:
        result = shown_result(result)
    except InvalidMessage:
        result = None
    return Update({"state": "succeeded", "result": result, "error": ""}, run, again=True)


def failed(error: object) -> Update:
    """It raised, or died, or says so."""
    if isinstance(error, SoftTimeLimitExceeded | TimeLimitExceeded):
        return Update({"state": "timed_out", "error": LIMIT})
    return Update({"state": "failed", "error": short(told(error) if isinstance(error, BaseException) else str(error))})


def cancelled(text: str = "") -> Update:
    """Nobody wants it any more."""
    return Update({"state": "cancelled", **({"text": text} if text else {})})


def retrying(run: Run, reason: Any, now: datetime) -> Update:
    """This run failed, and there will be another; `reason` is Celery's `Retry`."""
    at, error = _at(getattr(reason, "when", None), now), getattr(reason, "exc", None)
    text = f"tried again at {localtime(at):%Y-%m-%d %H:%M:%S %Z}"
    cause = f" after {told(error)}" if error is not None else ""
    return Update({"state": "running", "attempt": run.attempt + 1, "text": short(text + cause)}, run)


def _at(when: object, now: datetime) -> datetime:
    if isinstance(when, datetime):
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    return now + timedelta(seconds=float(when) if isinstance(when, numbers.Real) else 0.0)


def told_by_task(run: Run | None, state: str | None, meta: object, *, results: bool) -> Update:
    """What a run of a task, or anybody, says by ``update_state``; of its meta, what cannot be shown is left out."""
    match state:
        case states.SUCCESS:
            return succeeded(meta if results else None, run)
        case states.FAILURE:
            return failed(_words(meta) or "it says so" if isinstance(meta, Mapping) else meta or "it says so")
        case states.REVOKED:
            return cancelled()
    return Update({"state": "running", **(_far(meta) if isinstance(meta, Mapping) else {})}, run)


def _far(meta: Mapping[Any, Any]) -> dict[str, Any]:
    current, total = _number(meta.get("current")), _number(meta.get("total"))
    if current is None and total is None and (percent := _number(meta.get("percent"))) is not None:
        current, total = percent, 100
    return steps(current, total, _words(meta))


def _words(meta: Mapping[Any, Any]) -> str | None:
    return next((text for name in TEXTS if isinstance(text := meta.get(name), str)), None)


def _number(value: object) -> Number | None:
    """As far as browsers count; None for anything else."""
    if isinstance(value, bool) or not hasattr(value, "__float__") or isinstance(value, str):
        return None
    try:
        number = value if isinstance(value, int) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and 0 <= number <= 2**53 else None
