"""Many messages due at one instant: how long until the last handler begins."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from .contenders import PEERS, Contender, contenders, now_ms, runworker
from .handing import lay_on_channel
from .parts import CHANNEL, Row, Run, against, client_of, payload, rate
from .stamps import Stamps


def rows(run: Run) -> Iterator[Row]:
    number = run.size(10_000, 500)
    seconds: dict[str, list[float]] = {}
    with TemporaryDirectory() as folder:
        stamps = Stamps(Path(folder) / "stamps")
        for _ in range(min(run.rounds, 2)):
            seconds.setdefault("bare", []).append(_bare(run, stamps, number))
            seconds.setdefault("ours", []).append(_burst(contenders(run.redis, ())[0], run, stamps, number))
        for peer in contenders(run.redis, run.peers)[1:]:
            seconds[peer.name] = [_burst(peer, run, stamps, number)]
    yield _row(run, number, {name: statistics.median(figures) for name, figures in seconds.items()})


def _row(run: Run, number: int, seconds: dict[str, float]) -> Row:
    cells = {name: f"{one:.2f} s, {rate(number / one)}" for name, one in seconds.items()}
    ours, bare = seconds["ours"], seconds["bare"]
    peers = {PEERS[name].title: seconds[name] for name in run.peers}
    run.facts.append(against(f"{number:,} due at once, until the last handler begins", ours, peers, "s"))
    what = f"as many on the channel, to `runworker`: {cells.pop('bare')}"
    return Row(f"{number:,} due at once, to the last handler", cells.pop("ours"), what, f"{bare / ours:.0%}", cells)


def _burst(contender: Contender, run: Run, stamps: Stamps, number: int) -> float:
    """Seconds from the instant at which all are due to the last handler."""
    client_of(run.redis).close()
    with contender.running(stamps):
        due = round(now_ms() + 1_000 + number / contender.schedule_floor * 1_000)
        for _ in range(number):
            contender.schedule(due)
        assert now_ms() < due, f"expected {contender.title} to have scheduled all messages before they are due"
        found = stamps.wait(number, (due - now_ms()) / 1_000 + 120)
    return (max(stamp.began for stamp in found) - due) / 1_000


def _bare(run: Run, stamps: Stamps, number: int) -> float:
    """The worker alone: seconds from the first on the channel to the last handler."""
    client_of(run.redis).close()
    stamps.clear()
    with runworker(run.redis, stamps):
        lay_on_channel(run.redis, CHANNEL, payload(), 1)
        stamps.wait(1, 30)  # it listens
        stamps.clear()
        start = now_ms()
        lay_on_channel(run.redis, CHANNEL, payload(), number)
        found = stamps.wait(number, 120)
    return (max(stamp.began for stamp in found) - start) / 1_000
