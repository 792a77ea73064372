"""The worker alone, with what `channel_layer.send` put on its channel: a backlog, and handlers that wait."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.process import Process

from . import bullmq
from .contenders import now_ms, runtasks, runworker
from .handing import lay_on_channel
from .parts import CHANNEL_KEY, Goal, Rounds, Row, Run, client_of, in_turn, payload, per_second, rate
from .stamps import Stamp, Stamps

ASIDE = "aside"
WARM = 200


def rows(run: Run) -> Iterator[Row]:
    with TemporaryDirectory() as folder:
        stamps = Stamps(Path(folder) / "stamps")
        yield from _backlog_rows(run, stamps)
        yield _sleeping_row(run, stamps)
        yield _mixed_row(run, stamps)


# -- a backlog -------------------------------------------------------------------------------------------------


def _backlog_rows(run: Run, stamps: Stamps) -> Iterator[Row]:
    number = run.size(10_000, 500)
    acts = {
        "stock": lambda: worked_off(run, stamps, number, runworker(run.redis, stamps)),
        "one": lambda: worked_off(run, stamps, number, runtasks(run.redis, stamps)),
        "two": lambda: worked_off(run, stamps, number, runtasks(run.redis, stamps, processes=2)),
    }
    if bullmq.is_there():
        run.versions["bullmq"] = bullmq.version()
        acts["bullmq"] = lambda: _worked_off_by_bullmq(run, stamps, number, 1)
        acts["bullmq two"] = lambda: _worked_off_by_bullmq(run, stamps, number, 2)
    rounds = in_turn(run.rounds, acts)
    yield _one_process_row(number, rounds)
    yield _two_processes_row(number, rounds)


def _one_process_row(number: int, rounds: Rounds) -> Row:
    ratio = rounds.ratio("one", "stock")
    goal = Goal("≥ 7,000/s, ≥ 3x", rounds.median("one") >= 7_000 and ratio >= 3)
    what = f"`runworker`: {rate(rounds.median('stock'))}"
    return Row(f"backlog of {number:,} to `runtasks`", rate(rounds.median("one")), what, f"{ratio:.1f}x", goal=goal)


def _two_processes_row(number: int, rounds: Rounds) -> Row:
    work, ours = f"backlog of {number:,} to `runtasks --processes 2`", rate(rounds.median("two"))
    if "bullmq" not in rounds.rates:
        return Row(work, ours, f"BullMQ: {bullmq.MISSING}")
    ratio = rounds.ratio("two", "bullmq", "bullmq two")
    one, two = rate(rounds.median("bullmq")), rate(rounds.median("bullmq two"))
    what = f"BullMQ, one process: {one}, two: {two}"
    return Row(work, ours, what, f"{ratio:.1f}x", goal=Goal("ahead of BullMQ, one process or two", ratio > 1))


def worked_off(run: Run, stamps: Stamps, number: int, worker: AbstractContextManager[Process]) -> float:
    """Messages a second to a warm worker, from the instant at which all are on its channel to the last handler."""
    client_of(run.redis).close()
    stamps.clear()
    with worker:
        _lay_at_once(run, (payload(), WARM))
        stamps.wait(WARM, 30)
        stamps.clear()
        start = _lay_at_once(run, (payload(), number))
        return _rate_since(start, stamps.wait(number, 120))


def _lay_at_once(run: Run, *batches: tuple[dict[str, Any], int]) -> float:
    """So many of each message on a channel, and that renamed, so that no worker has a start; the instant, in ms."""
    for message, number in batches:
        lay_on_channel(run.redis, ASIDE, message, number)
    with client_of(run.redis, empty=False) as client:
        start = now_ms()
        client.rename(f"asgi{ASIDE}", CHANNEL_KEY)
    return start


def _worked_off_by_bullmq(run: Run, stamps: Stamps, number: int, processes: int) -> float:
    client_of(run.redis).close()
    stamps.clear()
    with ExitStack() as ending:
        for _ in range(processes):
            ending.enter_context(bullmq.worker(run.redis, stamps))
        bullmq.add(run.redis, WARM)
        stamps.wait(WARM, 30)
        stamps.clear()
        start = bullmq.add(run.redis, number)
        return _rate_since(start, stamps.wait(number, 120))


def _rate_since(start: float, found: list[Stamp]) -> float:
    return len(found) * 1_000 / (max(stamp.began for stamp in found) - start)


# -- handlers that wait ----------------------------------------------------------------------------------------


def _sleeping_row(run: Run, stamps: Stamps) -> Row:
    number = run.size(1_000, 200)
    options = ("--concurrency", f"{number}")
    figures = [_ends(run, stamps, options, (_pause(1.0), number))[-1] for _ in range(run.rounds)]
    ours, bare = statistics.median(figures), number / per_second(number, lambda: asyncio.run(_sleeps(number)))
    return Row(
        f"{number:,} handlers of `asyncio.sleep(1)`, `--concurrency {number}`, to the last one's end",
        f"{ours:.2f} s",
        f"`asyncio.gather` of as many: {bare:.2f} s",
        f"{ours / bare:.2f}x",
        goal=Goal("≤ 1.5 s", ours <= 1.5),
    )


async def _sleeps(number: int) -> None:
    await asyncio.gather(*(asyncio.sleep(1) for _ in range(number)))


def _mixed_row(run: Run, stamps: Stamps) -> Row:
    """Those that end first are the quick ones, or the goal is missed."""
    number = 100
    batches = (_pause(5.0), number), (_pause(0.01), number)
    options = ("--concurrency", f"{2 * number}")
    figures = [_ends(run, stamps, options, *batches)[number - 1] for _ in range(run.rounds)]
    quick = statistics.median(figures)
    work = f"{number} handlers of 10 ms behind {number} of 5 s, `--concurrency {2 * number}`, to their last one's end"
    return Row(work, f"{quick:.2f} s", goal=Goal("≤ 1 s", quick <= 1))


def _ends(run: Run, stamps: Stamps, options: Sequence[str], *batches: tuple[dict[str, Any], int]) -> list[float]:
    """When each handler ended, in s since all messages were on the channel of a warm worker, in order."""
    client_of(run.redis).close()
    stamps.clear()
    with runtasks(run.redis, stamps, *options):
        _lay_at_once(run, (payload(), WARM))
        stamps.wait(WARM, 30)
        stamps.clear()
        start = _lay_at_once(run, *batches)
        found = stamps.wait(sum(number for _, number in batches), 60)
    return sorted((stamp.began - start) / 1_000 for stamp in found)


def _pause(seconds: float) -> dict[str, Any]:
    return {"type": "pause", "seconds": seconds, "due": 0.0}
