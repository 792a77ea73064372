"""Celery's side: the same work in a process of its worker."""

import time

from celery import shared_task

from delayserver.contrib.celery import current_progress


@shared_task
def work(seconds, should_fail):
    """The sleep stands for a second of work."""
    status = current_progress()
    for second in range(seconds):
        status.update(second, seconds, text=f"second {second + 1}")
        time.sleep(1)
    return outcome(seconds, should_fail)


def outcome(seconds, should_fail):
    """What comes of the work, on either worker."""
    if should_fail:
        raise OutOfLuck("it was asked to fail")
    return f"{seconds} s well spent"


class OutOfLuck(Exception):
    """What a task raises that should fail."""
