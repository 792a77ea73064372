"""Celery's tasks, shown as any other work: their signals are progress.

::

    app = Celery("mysite")
    show_progress(app)

==================  ==========================================================
`celery_signals`    what each of Celery's signals says of a task
`celery_states`     what ``update_state`` says
`celery_shown`      which tasks are shown, and what of them
`celery_saying`     how it gets into the store, and for how long that is waited for
==================  ==========================================================
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from ..errors import ConfigurationError, InvalidMessage
from ..message import new_id
from ..progress import Progress
from ..progress.record import Record

try:
    from celery import current_task
    from celery._state import get_current_worker_task
    from celery.result import ResultSet
except ModuleNotFoundError as missing:
    if missing.name != "celery":
        raise
    raise ConfigurationError(
        "expected celery to be installed, since delayserver.contrib.celery shows its tasks, got none:"
        " install delayserver[celery]"
    ) from None

from .celery_saying import progress_id
from .celery_shown import Shown, choose
from .celery_signals import listen
from .celery_states import run_of

__all__ = ["aprogress_of", "current_progress", "progress_id", "progress_of", "show_progress"]


def show_progress(
    app: Any, *, tasks: Collection[str] | Callable[[str], bool] | None = None, results: bool = True
) -> None:
    """Show the progress of a Celery app's tasks; called beside ``app = Celery(...)``, by web servers and workers alike.

    tasks
        the names of those to be shown, or a function that says it of a name; all if left out, but for Celery's own
    results
        whether what a task returns is shown, where JSON can hold it. That of a task with ``ignore_result`` never is

    A store that is away never makes a task fail, and holds up who sends one for a second at most. Called again, it
    changes the options.
    """
    choose(app, Shown(tasks, results))
    listen()


def current_progress() -> Progress:
    """That of the Celery task which runs in this thread; nothing is read for it.

    Of a task that is not shown, or was called as a function, `update` shows nothing to nobody. `InvalidMessage` outside
    of tasks.
    """
    task = get_current_worker_task()
    if task is not None:
        run = run_of(task.request)
        record = Record(progress_id(task.request.id), "running", attempt=run.attempt, run=run, failures=run.attempt - 1)
        return Progress(record, run=run)
    if current_task:
        return Progress(Record(new_id(0), "running"))
    raise InvalidMessage("expected current_progress() to be called in a Celery task's thread, got a call elsewhere")


def progress_of(work: Any, user: object = None) -> Progress:
    """The progress of a task, by its `AsyncResult` or its id; pending, where nothing is known of it yet.

    `user` is whom its `token` is for: whoever has it if left out. `StoreUnavailable` where the store is away.
    """
    return Progress.create(id=progress_id(_task_id(work)), user=user)


async def aprogress_of(work: Any, user: object = None) -> Progress:
    """As `progress_of`."""
    return await Progress.acreate(id=progress_id(_task_id(work)), user=user)


def _task_id(work: Any) -> str:
    id = work if isinstance(work, str) else getattr(work, "id", None)
    if isinstance(work, ResultSet) or not isinstance(id, str) or not id:
        raise InvalidMessage(
            f"expected a task's AsyncResult or id, got {type(work).__name__}; of a group, show each of its results"
        )
    return id
