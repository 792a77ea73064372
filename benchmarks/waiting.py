"""What messages cost while they wait: memory, and the CPU of processes that have nothing to do.

The systems wait side by side, so that one minute measures all of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from delayserver.conf import LayerSettings
from delayserver.stores.database import DatabaseStore
from tests.support.databases import add_database, remove_database
from tests.support.process import Process
from tests.support.servers import PostgresServer, RedisServer

from .contenders import PYTHON, Contender, now_ms, project, rundelay
from .parts import (
    YEAR_MS,
    Goal,
    Row,
    Run,
    against,
    bare_members,
    client_of,
    cpu_seconds,
    memory_bytes,
    new_store,
    settle,
    tree,
)
from .peers import contenders
from .schedule import fill
from .stamps import Stamps


@dataclass
class Held:
    """One system with messages that wait: bytes a message in Redis and in its processes, and those processes."""

    name: str
    title: str
    redis_bytes: float
    process_bytes: float
    pids: list[list[int]]  # of each process that was started, with its children


def rows(run: Run) -> Iterator[Row]:
    number = run.size(10_000, 2_000)
    with ExitStack() as ending:
        bare = _bare_bytes(run, number)
        folder = Path(ending.enter_context(TemporaryDirectory()))
        held = [
            _hold(run, contender, Stamps(folder / contender.name), number, ending)
            for contender in contenders(run.redis, run.peers)
        ]
        yield _memory_row(run, number, held, bare)
        alone = _alone(run, folder, ending)
        yield from _idle_rows(run, number, held, _idle_runworker(run, ending), alone)


# -- memory ----------------------------------------------------------------------------------------------------


def _hold(run: Run, contender: Contender, stamps: Stamps, number: int, ending: ExitStack) -> Held:
    processes = ending.enter_context(contender.running(stamps))
    pids = [tree(process.pid) for process in processes]
    every = [pid for one in pids for pid in one]
    settle(every)
    in_redis, in_processes = _used(run), memory_bytes(every)
    due = round(now_ms()) + YEAR_MS
    for _ in range(number):
        contender.schedule(due)
    settle(every, 60)
    in_redis, in_processes = _used(run) - in_redis, memory_bytes(every) - in_processes
    return Held(contender.name, contender.title, in_redis / number, max(0, in_processes) / number, pids)


def _bare_bytes(run: Run, number: int) -> float:
    """A member of a sorted set, with as many bytes of payload and 12 random ones beside it."""
    before = _used(run)
    with client_of(run.redis) as client:
        for member in bare_members(number):
            client.zadd("bare", {member: now_ms()})
    figure = (_used(run) - before) / number
    client_of(run.redis).close()
    return figure


def _used(run: Run) -> int:
    """What all keys take, by Redis's own account; what connections take is not in it."""
    with client_of(run.redis, empty=False) as client:
        sizes: list[Any] = [client.memory_usage(key, samples=0) for key in client.scan_iter()]
    return sum(int(size) for size in sizes)


def _memory_row(run: Run, number: int, held: Sequence[Held], bare: float) -> Row:
    ours = held[0]
    cells = {one.name: f"{one.redis_bytes:,.0f} B, {one.process_bytes:,.0f} B in its processes" for one in held}
    both = {one.title: one.redis_bytes + one.process_bytes for one in held}
    what = "Memory of a pending message, in Redis and in the processes"
    run.facts.append(against(what, both.pop(ours.title), both, "B"))
    return Row(
        f"memory of a pending message, 97 bytes of payload, {number:,} of them",
        cells.pop("ours"),
        f"member of a sorted set: {bare:,.0f} B",
        f"{ours.redis_bytes / bare:.2f}x",
        cells,
        Goal("≤ 265 B of Redis", ours.redis_bytes <= 265),
    )


# -- idle ------------------------------------------------------------------------------------------------------


def _alone(run: Run, folder: Path, ending: ExitStack) -> dict[str, int]:
    """A `rundelay` each with nothing, and with many messages in several places; the pid of each."""
    many = run.size(100_000, 5_000)
    pids = {}
    for place, number in (("Redis", 0), ("Redis", many)):
        server = ending.enter_context(RedisServer())
        fill(new_store(server), number)
        pids[f"{number:,} pending in {place}"] = ending.enter_context(rundelay(server)).pid
    for place, settings in _databases(folder, ending).items():
        add_database(place, settings)
        ending.callback(remove_database, place)
        fill(DatabaseStore(LayerSettings("default", "", {}), using=place), many)
        pids[f"{many:,} pending in {place}"] = ending.enter_context(rundelay(server, settings)).pid
    return pids


def _idle_runworker(run: Run, ending: ExitStack) -> int:
    """A stock worker on the same Redis, of a channel that nobody sends to; its pid."""
    command = [PYTHON, "-m", "django", "runworker", "idle"]
    return ending.enter_context(Process(command, env=project(run.redis))).pid


def _databases(folder: Path, ending: ExitStack) -> dict[str, dict[str, Any]]:
    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "idle.sqlite3")}
    return {"PostgreSQL": ending.enter_context(PostgresServer()).settings, "SQLite": sqlite}


def _idle_rows(run: Run, number: int, held: Sequence[Held], runworker: int, alone: dict[str, int]) -> Iterator[Row]:
    groups = {one.name: [pid for pids in one.pids for pid in pids] for one in held}
    groups |= {"rundelay": held[0].pids[0], "runworker": [runworker]} | {name: [pid] for name, pid in alone.items()}
    settle([pid for pids in groups.values() for pid in pids], 60)
    used = _used_a_minute(groups, run.size(60, 3))
    cells = {one.name: f"{used[one.name]:.2f} CPU s/min" for one in held}
    del cells["ours"]
    what = f"Idle with {number:,} pending, `rundelay` and `runtasks` together"
    stock = used["rundelay"] + used["runworker"]
    others = {"with `runworker` in its place": stock} | {one.title: used[one.name] for one in held[1:]}
    run.facts.append(against(what, used["ours"], others, "CPU s a minute"))
    figure = f"{used['rundelay']:.2f} CPU s/min; with `runtasks` {used['ours']:.2f}, with `runworker` {stock:.2f}"
    goal = Goal("≤ 0.1 CPU s/min", used["rundelay"] <= 0.1)
    yield Row(f"idle, {number:,} pending in Redis", figure, peers=cells, goal=goal)
    for name, pid in alone.items():
        yield Row(f"idle, {name}", f"{used[name]:.2f} CPU s/min, {memory_bytes([pid]) / 2**20:.1f} MiB")


def _used_a_minute(groups: dict[str, list[int]], seconds: float) -> dict[str, float]:
    start = time.monotonic()
    before = {name: cpu_seconds(pids) for name, pids in groups.items()}
    time.sleep(seconds)
    minutes = (time.monotonic() - start) / 60
    return {name: (cpu_seconds(pids) - before[name]) / minutes for name, pids in groups.items()}
