"""Many messages due at one instant: how long until the last handler begins, and in which worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import redis

from tests.support.process import Process
from tests.support.wait import wait_for

from .contenders import PYTHON, Contender, Ours, Retrying, Stock, now_ms, project, runworker
from .parts import Goal, Rounds, Row, Run, against, client_of, in_turn, rate
from .peers import PEERS
from .stamps import Stamps
from .worker import worked_off

WAITING = "{delayserver:asgi}:waiting"
NO_LAYER = {"DELAYSERVER_TEST_LAYERS": "{}"}


def rows(run: Run) -> Iterator[Row]:
    number = run.size(10_000, 500)
    with TemporaryDirectory() as folder:
        stamps = Stamps(Path(folder) / "stamps")
        burst = partial(_burst, run, stamps, number)
        acts: dict[str, Callable[[], float]] = {
            "bare": lambda: _dispatched(run, stamps, number),
            "channel": lambda: worked_off(run, stamps, number, runworker(run.redis, stamps)),
            **{one.name: partial(burst, one(run.redis)) for one in (Ours, Retrying, Stock)},
            **{name: partial(burst, PEERS[name](run.redis)) for name in run.peers},
        }
        rounds = in_turn(min(run.rounds, 2), acts)
    cells = {name: f"{number / rounds.median(name):.2f} s, {rate(rounds.median(name))}" for name in rounds.rates}
    _tell(run, number, rounds)
    yield _row(run, number, rounds, cells)
    yield _retry_row(number, rounds, cells)
    yield _stock_row(number, rounds, cells)


def _tell(run: Run, number: int, rounds: Rounds) -> None:
    seconds = {name: number / rounds.median(name) for name in rounds.rates}
    others = {"`runworker` in place of `runtasks`": seconds["stock"]}
    others |= {PEERS[name].title: seconds[name] for name in run.peers}
    run.facts.append(against(f"{number:,} due at once, until the last handler begins", seconds["ours"], others, "s"))


def _row(run: Run, number: int, rounds: Rounds, cells: Mapping[str, str]) -> Row:
    share = rounds.ratio("ours", "bare")
    text, met = "≥ 7,000/s, ≥ 70 %", rounds.median("ours") >= 7_000 and share >= 0.7
    if run.peers:
        best = rounds.ratio("ours", *run.peers)
        names = ", ".join(PEERS[name].title for name in run.peers)
        text += f", ≥ 2.5x the best of {names} (it is {best:.1f}x)"
        met = met and best >= 2.5
    peers = {name: cells[name] for name in run.peers}
    what = _bare(rounds)
    return Row(
        f"{number:,} due at once, to the last handler", cells["ours"], what, f"{share:.0%}", peers, Goal(text, met)
    )


def _retry_row(number: int, rounds: Rounds, cells: Mapping[str, str]) -> Row:
    work = f"{number:,} due at once with `retry`, to the last handler"
    goal = Goal("≥ 5,000/s", rounds.median("retry") >= 5_000)
    return Row(work, cells["retry"], _bare(rounds), f"{rounds.ratio('retry', 'bare'):.0%}", goal=goal)


def _bare(rounds: Rounds) -> str:
    return f"the same consumer, called from memory: {rate(rounds.median('bare'))}"


def _stock_row(number: int, rounds: Rounds, cells: Mapping[str, str]) -> Row:
    work = f"{number:,} due at once, to the last handler in `runworker`"
    what = f"as many on the channel, to `runworker`: {cells['channel']}"
    return Row(work, cells["stock"], what, f"{rounds.ratio('stock', 'channel'):.0%}")


def _burst(run: Run, stamps: Stamps, number: int, contender: Contender) -> float:
    """Messages a second, from the instant at which all are due to the last handler."""
    with client_of(run.redis) as client, contender.running(stamps):
        due = round(now_ms() + 1_000 + number / contender.schedule_floor * 1_000)
        for _ in range(number):
            contender.schedule(due)
        assert now_ms() < due, f"expected {contender.title} to have scheduled all messages before they are due"
        found = stamps.wait(number, (due - now_ms()) / 1_000 + 120)
        wait_for(partial(_all_done, client), 30, "every message to be acked")
    return number * 1_000 / (max(stamp.began for stamp in found) - due)


def _all_done(client: redis.Redis) -> bool:
    """Whether nothing waits in our store: nothing ever did where it is not ours that is measured."""
    return client.zcard(WAITING) == 0


def _dispatched(run: Run, stamps: Stamps, number: int) -> float:
    env = {**project(run.redis), **stamps.env, **NO_LAYER}
    with Process([PYTHON, "-m", "benchmarks.dispatch", f"{number}"], env=env) as process:
        return float(process.wait_for_line(r"^\d+\.\d$", 120)[0])
