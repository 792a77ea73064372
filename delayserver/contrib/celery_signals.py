"""What each of Celery's signals says of a task. Nothing that goes wrong here is the task's fault, nor its failure."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from celery import Task, signals, states
from celery.exceptions import Retry

from ..clock import SystemClock
from .celery_saying import progress_id, saying, unshown
from .celery_shown import Shown, is_shown_by_any, shown_of
from .celery_states import EXPIRED, cancelled, failed, retrying, run_of, running, succeeded, told_by_task

REPLACED = "Replaced by"  # by which Celery says that another task goes on under the same id

Receiver = Callable[..., None]


def _quietly(receiver: Receiver) -> Receiver:
    """With a line of the log in place of an error."""

    @functools.wraps(receiver)
    def quiet(*args: Any, **named: Any) -> None:
        try:
            receiver(*args, **named)
        except Exception as error:  # noqa: BLE001  whatever it is, the task goes on
            unshown(error)

    return quiet


def _is_shown(task: Any) -> Shown | None:
    return shown_of(task.app, task.name)


# -- where it is sent --------------------------------------------------------------------------------------------


@_quietly
def before_task_publish(*, sender: str, headers: Any, body: Any, **_: Any) -> None:
    said = headers if headers and "id" in headers else body  # the body has it in the older of Celery's two protocols
    if not said.get("retries") and is_shown_by_any(sender):
        saying().sent(progress_id(said["id"]))


# -- where it runs -----------------------------------------------------------------------------------------------


@_quietly
def task_prerun(*, sender: Any, task_id: str, **_: Any) -> None:
    if _is_shown(sender):
        request = sender.request
        anew = bool(request.retries or (request.delivery_info or {}).get("redelivered"))
        saying().say(progress_id(task_id), running(run_of(request), anew=anew))


@_quietly
def task_success(*, sender: Any, result: Any, **_: Any) -> None:
    if options := _is_shown(sender):
        request = sender.request
        wanted = options.results and not (sender.ignore_result or request.ignore_result)
        saying().say(progress_id(request.id), succeeded(result if wanted else None, run_of(request)))


@_quietly
def task_failure(*, sender: Any, task_id: str, exception: Any, **_: Any) -> None:
    if _is_shown(sender):
        saying().say(progress_id(task_id), failed(exception))


@_quietly
def task_retry(*, sender: Any, request: Any, reason: Any = None, **_: Any) -> None:
    """Without a reason it is no retry: a worker that ends at once has put the task back, or given it up."""
    if reason is not None and _is_shown(sender):
        now = datetime.fromtimestamp(SystemClock().now() / 1000, UTC)
        saying().say(progress_id(request.id), retrying(run_of(request), reason, now))


@_quietly
def task_postrun(*, sender: Any, task_id: str, state: str | None, retval: Any, **_: Any) -> None:
    """What Celery has no signal of its own for: `Ignore`, `Reject`, and errors of eager tasks that go on."""
    if not _is_shown(sender):
        return
    error = sys.exc_info()[1]
    if state == states.IGNORED and not str(retval).startswith(REPLACED):
        saying().say(progress_id(task_id), cancelled())
    elif state == states.REJECTED and not retval.requeue:
        saying().say(progress_id(task_id), failed(retval.reason or retval))
    elif state is None and isinstance(error, Exception) and not isinstance(error, Retry):
        saying().say(progress_id(task_id), failed(error))


# -- where it was to run -----------------------------------------------------------------------------------------


@_quietly
def task_revoked(*, sender: Any, request: Any, expired: Any, **_: Any) -> None:
    if _is_shown(sender):
        saying().say(progress_id(request.id), cancelled(EXPIRED if expired else ""))


@_quietly
def task_unknown(*, sender: Any, name: str, id: str, **_: Any) -> None:
    if shown_of(sender.app, name):
        saying().say(progress_id(id), failed(f"no worker knows a task {name}"))


@_quietly
def task_rejected(*, sender: Any, message: Any, **_: Any) -> None:
    headers = message.headers or {}
    if "id" in headers and shown_of(sender.app, headers.get("task", "")):
        saying().say(progress_id(headers["id"]), failed("the worker cannot read its message"))


# -- what it says itself -----------------------------------------------------------------------------------------


def _update_state(
    task: Any, update_state: Any, task_id: str | None = None, state: str | None = None, meta: Any = None, **more: Any
) -> Any:
    """In the place of ``Task.update_state``, which has no signal."""
    _say_state(task, task_id, state, meta)
    return update_state(task, task_id, state, meta, **more)


@_quietly
def _say_state(task: Any, task_id: str | None, state: str | None, meta: Any) -> None:
    options, request = _is_shown(task), task.request
    own = task_id is None or task_id == request.id
    task_id = task_id or request.id
    if options is None or task_id is None:
        return
    update = told_by_task(run_of(request) if own else None, state, meta, results=options.results)
    say = saying().note if update.changes["state"] == "running" else saying().say
    say(progress_id(task_id), update)


# -- all of it ---------------------------------------------------------------------------------------------------

RECEIVERS = (
    before_task_publish,
    task_prerun,
    task_success,
    task_failure,
    task_retry,
    task_postrun,
    task_revoked,
    task_unknown,
    task_rejected,
)


def listen() -> None:
    """From now on; again, it changes nothing."""
    for receiver in RECEIVERS:
        getattr(signals, receiver.__name__).connect(
            receiver, weak=False, dispatch_uid=f"delayserver.{receiver.__name__}"
        )
    if not isinstance(vars(Task)["update_state"], functools.partialmethod):
        Task.update_state = functools.partialmethod(_update_state, Task.update_state)
