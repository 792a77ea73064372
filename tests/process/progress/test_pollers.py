"""Pollers on a clock that everybody sees: exact, on time, and each by itself."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from .consumers import EVERY_MS
from .stage import Stage, Watched

POLLERS, STEPS, BREAKS_AT = 50, 25, 14
THEORY = (STEPS - 1) * EVERY_MS / 1000
ALLOWED = 1.2  # times theory
MAX_LATE_P99_MS = 25.0


def check_frames(watched: Watched, name: str, steps: int = STEPS) -> None:
    """Each step once, in order, and the end."""
    versions = [frame["version"] for frame in watched.frames]
    assert versions == sorted(set(versions))
    assert watched.steps == list(range(1, steps + 1))
    assert {frame["text"] for frame in watched.frames if frame["current"]} == {
        f"{name}, step {step}" for step in range(1, steps + 1)
    }
    assert (watched.last["state"], watched.last["result"], watched.code) == ("succeeded", name, 1000)
    assert [frame["state"] for frame in watched.frames[:-1]].count("succeeded") == 0


async def test_one_poller_is_exact(stage: Stage) -> None:
    started = await stage.start_export(steps=10, name="alone")
    watched = await stage.watch(started.token)
    check_frames(watched, "alone", 10)
    assert {frame["id"] for frame in watched.frames} == {started.id}
    assert set(watched.last) == {
        "id", "state", "current", "total", "text", "result", "error", "attempt", "version"
    }  # fmt: skip


async def test_fifty_pollers_at_once_are_on_time_and_each_by_itself(stage: Stage) -> None:
    """One of them breaks, and none of the others notices."""
    before = time.monotonic()
    started = [await stage.start_export(steps=STEPS, name=f"export {n}") for n in range(POLLERS - 1)]
    broken = await stage.start_export(steps=STEPS, name="broken", breaks_at=BREAKS_AT)
    starting = time.monotonic() - before
    *others, failed = await asyncio.gather(*(stage.watch(one.token) for one in (*started, broken)))
    took = time.monotonic() - before

    for n, (one, watched) in enumerate(zip(started, others, strict=True)):
        assert {frame["id"] for frame in watched.frames} == {one.id}
        assert (watched.last["state"], watched.last["result"]) == ("succeeded", f"export {n}")
        assert watched.steps == sorted(set(watched.steps))
        assert watched.steps[-1] == STEPS
    assert took <= THEORY * ALLOWED + starting
    ours = {one.id for one in started}
    late = sorted(step.late for step in stage.steps() if step.id in ours)
    assert len(late) == len(ours) * STEPS
    assert late[len(late) * 99 // 100] <= MAX_LATE_P99_MS, f"{late[-50:]}"
    assert set(Counter((step.id, step.step) for step in stage.steps() if step.id in ours).values()) == {1}
    check_failed(failed)


def check_failed(watched: Watched) -> None:
    """One frame says so, with a reason and no more."""
    states = [frame["state"] for frame in watched.frames]
    assert states.count("failed") == 1
    assert (watched.last["state"], watched.code) == ("failed", 1000)
    assert watched.last["error"] == "RuntimeError: disk full, password=***"
    assert watched.last["attempt"] == 2
    assert watched.steps[-1] == BREAKS_AT - 1
