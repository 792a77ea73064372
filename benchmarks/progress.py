"""Pollers and those who watch: how late steps are, what one costs, and what a web process does for many browsers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from delayserver.progress import Progress
from tests.process.conftest import Site
from tests.process.progress.consumers import EVERY_MS
from tests.process.progress.stage import Stage, Started
from tests.support.process import Process

from .parts import Goal, Row, Run, cpu_seconds, distribution, memory_bytes, new_layer, quantile, rate

POLLERS, WATCHERS, UPDATES, UPDATE_SECONDS = 50, 200, 1_000, 10
LATE_P99_MS = 25.0


def rows(run: Run) -> Iterator[Row]:
    yield _update_row(run)
    with ExitStack() as ending, TemporaryDirectory() as folder:

        def start(*args: object, **options: object) -> Process:
            return ending.enter_context(Process(*args, **options))  # type: ignore[arg-type]

        stage = Stage(Site("redis", run.redis.url, start), Path(folder))
        servers = [stage.start_delay_server().pid, stage.start_worker().pid]
        stage.start_web()
        yield asyncio.run(_pollers_row(run, stage, servers))
        yield asyncio.run(_watchers_row(run, stage))


# -- written often -------------------------------------------------------------------------------------------


def _update_row(run: Run) -> Row:
    """As often as a loop can, beside what hand-written glue does each time."""
    number, sent = run.size(200_000, 2_000), run.size(2_000, 100)
    progress = Progress.create(total=number)
    before = time.perf_counter()
    for n in range(number):
        progress.update(n)
    ours = number / (time.perf_counter() - before)
    progress.succeed()
    bare = asyncio.run(_group_sends(run, sent))
    return Row("`Progress.update` in a loop", rate(ours), f"`group_send`: {rate(bare)}", f"{ours / bare:.0f}x")


async def _group_sends(run: Run, number: int) -> float:
    layer = new_layer(run.redis)
    await layer.group_add("watchers", "specific.watcher!one")
    before = time.perf_counter()
    for n in range(number):
        await layer.group_send("watchers", {"type": "frame", "current": n})
    took = time.perf_counter() - before
    await layer.close_pools()
    return number / took


# -- pollers -------------------------------------------------------------------------------------------------


async def _pollers_row(run: Run, stage: Stage, servers: list[int]) -> Row:
    steps = run.size(50, 5)
    started = [await stage.start_export(steps=steps, name=f"export {n}") for n in range(POLLERS)]
    before = cpu_seconds(servers)
    await asyncio.gather(*(stage.watch(one.token) for one in started))
    each = (cpu_seconds(servers) - before) / (POLLERS * steps)
    late = [step.late for step in stage.steps()]
    goal = Goal(f"p99 ≤ {LATE_P99_MS:.0f} ms", quantile(late, 0.99) <= LATE_P99_MS)
    work = f"lateness of the steps of {POLLERS} pollers, every {EVERY_MS} ms"
    return Row(work, f"{distribution(late)}; {each * 1_000:.2f} CPU ms a step", goal=goal)


# -- watchers ------------------------------------------------------------------------------------------------


async def _watchers_row(run: Run, stage: Stage) -> Row:
    """All of one piece of work, which another process moves on."""
    seconds = run.size(UPDATE_SECONDS, 2)
    begun = Started(**await asyncio.to_thread(stage.ask, "begin/"))
    watching = [asyncio.create_task(stage.watch(begun.token)) for _ in range(WATCHERS)]
    mover = stage.start("tests.process.progress.mover", begun.id, str(UPDATES), str(seconds))
    await stage.watch(begun.token, until=UPDATES // 10)
    before, at, memory = cpu_seconds([stage.web.pid]), time.monotonic(), memory_bytes([stage.web.pid])
    await stage.watch(begun.token, until=9 * UPDATES // 10)
    share = (cpu_seconds([stage.web.pid]) - before) / (time.monotonic() - at)
    grown = memory_bytes([stage.web.pid]) - memory
    seen = await asyncio.gather(*watching)
    mover.wait()
    assert {watched.last["state"] for watched in seen} == {"succeeded"}
    frames = sum(len(watched.frames) for watched in seen) / WATCHERS
    ours = f"{share:.0%} of a core, {frames:.0f} frames each, {grown / 1_048_576:+.1f} MiB"
    return Row(f"{WATCHERS} watchers of {UPDATES:,} updates in {seconds} s, in one web process", ours)
