"""What Celery's workers do."""

from __future__ import annotations

import os

from django.db import transaction

from delayserver import send_later

from . import opened
from .celery import app
from .models import Order


@app.task  # type: ignore[untyped-decorator]
def remind(number: int) -> None:
    send_later("sink", {"type": "probe", "n": number, "pid": os.getpid(), "opened": opened.so_far()}, delay=0)


@app.task  # type: ignore[untyped-decorator]
def order_and_fail(number: int) -> None:
    with transaction.atomic():
        Order.objects.create(number=number)
        send_later("sink", {"type": "probe", "n": number}, delay=0)
        raise ValueError("the order is refused")
