"""Tests wait for a fact, never for a time; when it does not come, they print what they saw instead."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

LOOK_SECONDS = 0.01


def wait_for(predicate: Callable[[], T], timeout: float, what: str) -> T:
    """Call `predicate` until it is true, and return what it said."""
    deadline = time.monotonic() + timeout
    while not (seen := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(_not_seen(timeout, what, seen))
        time.sleep(LOOK_SECONDS)
    return seen


async def await_for(predicate: Callable[[], Any], timeout: float, what: str) -> Any:
    """As `wait_for`, in an event loop; `predicate` may be async too."""
    deadline = time.monotonic() + timeout
    while not (seen := await _called(predicate)):
        if time.monotonic() > deadline:
            raise AssertionError(_not_seen(timeout, what, seen))
        await asyncio.sleep(LOOK_SECONDS)
    return seen


async def _called(predicate: Callable[[], Any]) -> Any:
    seen = predicate()
    return await seen if inspect.isawaitable(seen) else seen


def _not_seen(timeout: float, what: str, seen: object) -> str:
    return f"waited {timeout} s for {what}; last saw {seen!r}"
