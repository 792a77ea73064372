"""A Celery app as a user would have it, without a result backend: its tasks wait at gates, which tests open.

``celery -A tests.contrib.shown worker`` runs it; the Redis of `tests.settings` is its broker, too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, cast

import redis
from celery import Celery, Task, shared_task
from celery.exceptions import Ignore, Reject

from delayserver.contrib.celery import current_progress, show_progress

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
GATE_SECONDS = 30

app = Celery("shown", set_as_current=True)
app.conf.update(
    task_default_queue="prefork",
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    task_serializer="json",
)
show_progress(app)


def serve_from(url: str, database: int = 1) -> None:
    """The broker: another database of that Redis."""
    app.conf.broker_url = f"{url.removesuffix('/0')}/{database}"


if "DELAYSERVER_TEST_REDIS" in os.environ:
    serve_from(os.environ["DELAYSERVER_TEST_REDIS"], int(os.environ["SHOWN_BROKER"]))
    if (
        os.environ["SHOWN_BROKER"] != "1"
    ):  # where workers are killed: another takes over what was not acked for a second
        app.conf.broker_transport_options = {
            "visibility_timeout": 1,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
        }


def _gates() -> redis.Redis:
    return redis.Redis.from_url(f"{app.conf.broker_url.rpartition('/')[0]}/3")


def at_gate(id: str) -> None:
    """Until the test opens it."""
    with _gates() as client:
        assert client.blpop([f"gate {id}"], GATE_SECONDS), "the gate was not opened"


def open_gate(id: str) -> None:
    with _gates() as client:
        client.rpush(f"gate {id}", "open")


Decorator = Callable[[Callable[..., Any]], Any]


def task(**options: Any) -> Decorator:
    """As ``app.task``, which has no types."""
    return cast(Decorator, app.task(**options))


def shared(**options: Any) -> Decorator:
    """As ``shared_task``."""
    return cast(Decorator, shared_task(**options))


@task(bind=True)
def steps(self: Any, result: Any = None) -> Any:
    p = current_progress()
    p.update(1, 3, text="one of three")
    at_gate(self.request.id)
    p.update(3, text="three of three")
    at_gate(self.request.id)
    return result


@task()
def counts(to: int) -> int:
    for n in range(to):
        current_progress().update(n + 1, to)
    return to


@task()
def returns_an_object() -> object:
    return object()


@task(ignore_result=True)
def returns_in_vain() -> str:
    return "for nobody"


@task()
def raises() -> None:
    raise ValueError("no such customer, password=hunter2")


@task(bind=True)
def tries_again(self: Any, countdown: float) -> int:
    current_progress().update(5, 10, text="half of it")
    if self.request.retries == 0:
        raise self.retry(exc=ConnectionError("refused"), countdown=countdown)
    at_gate(self.request.id)
    return int(self.request.retries)


@task()
def ignores() -> None:
    raise Ignore


@task()
def rejects() -> None:
    raise Reject("not today", requeue=False)


@task(bind=True)
def is_replaced(self: Any) -> None:
    raise self.replace(counts.s(3).set(queue=self.request.delivery_info["routing_key"]))


@task(bind=True, acks_late=True, reject_on_worker_lost=True)
def dies_once(self: Any) -> str:
    """The first time as by the kernel, out of memory."""
    p = current_progress()
    p.refresh()  # nothing to wait for is left behind
    if not self.request.delivery_info["redelivered"]:
        p.update(1, 2, text="half")
        p.refresh()
        os.kill(os.getpid(), signal.SIGKILL)
    at_gate(self.request.id)
    return "done after all"


@task(bind=True, acks_late=True)
def is_acked_late(self: Any) -> str:
    current_progress().update(1, 2)
    at_gate(self.request.id)
    return "by another worker"


@task()
def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task(bind=True, soft_time_limit=1)
def takes_too_long(self: Any) -> None:
    at_gate(self.request.id)


@shared(bind=True)
def tells_by_state(self: Any) -> str:
    self.update_state(state="PROGRESS", meta={"current": 4, "total": 9, "description": "four of nine"})
    at_gate(self.request.id)
    self.update_state(state="LOADING", meta={"percent": 80, "status": "loading"})
    at_gate(self.request.id)
    self.update_state(meta={"current": object(), "total": -1})
    return "told"


class Export(Task):  # type: ignore[misc]
    """A class of a project's own, which fails by its state alone."""

    name = "tests.contrib.shown.export"

    def run(self) -> None:
        self.update_state(state="PROGRESS", meta={"current": 1, "total": 2})
        self.update_state(state="FAILURE", meta={"exc_type": "Odd", "exc_message": "odd", "text": "it was odd"})
        raise Ignore


export = app.register_task(Export())
