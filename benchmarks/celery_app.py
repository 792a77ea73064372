"""The same handler as a task of Celery; its worker loads this module."""

from __future__ import annotations

import os

from celery import Celery

from .stamps import stamp

app = Celery("benchmarks", broker=os.environ["BENCHMARKS_BROKER"])
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=0,  # no limit
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)
handle = app.task(stamp, name="handle")
