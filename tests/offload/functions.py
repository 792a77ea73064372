"""What tests offload."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from django.db import connection

HERE = "tests.offload.functions"
RELEASE = threading.Event()  # what `wait` waits for
NO_FUNCTION = 5


async def double(number: int, *, times: int = 2) -> int:
    await asyncio.sleep(0)
    return number * times


def thread_name() -> str:
    return threading.current_thread().name


def query() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 5")
        return list(cursor.fetchone())


def wait() -> str:
    RELEASE.wait(20)
    return "released"


async def sleep() -> None:
    await asyncio.sleep(3600)


def fail() -> None:
    raise ValueError("the password is hunter2")


async def own_timeout() -> None:
    raise TimeoutError("its own")


def unsendable() -> Any:
    return {"a": object()}


def large() -> bytes:
    return b"x" * 2_000_000


async def nested(url: str) -> int:
    from delayserver import offload

    return int((await offload.request(url)).status)


def forbidden() -> None:
    raise AssertionError("it is on no list")


async def exits() -> None:
    raise SystemExit("bye")


def exits_in_thread() -> None:
    raise SystemExit("bye")


async def cancels() -> None:
    raise asyncio.CancelledError


def stops() -> None:
    raise StopIteration("x")
