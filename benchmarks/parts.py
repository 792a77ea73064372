"""The parts every benchmark stands on: what a run shares, a row, messages, rounds, and the kernel's accounts."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import redis
from channels_redis.core import RedisChannelLayer

from delayserver.clock import Clock
from delayserver.conf import LayerSettings
from delayserver.message import Message, Waiting
from delayserver.stores.redis import RedisStore
from tests.support.servers import RedisServer

CAPACITY = 10_000_000
YEAR_MS = 365 * 24 * 3_600_000
BATCH = 500  # the most that one put takes
MAX_BYTES = 10_000
ROUNDS = 3

LAYER = "channels_redis.core.RedisChannelLayer"
CHANNEL = "sink"
CHANNEL_KEY = f"asgi{CHANNEL}"


@dataclass
class Run:
    """What the parts of one run share: how much to do, a private Redis, and what they found beside their rows."""

    quick: bool
    peers: tuple[str, ...]
    redis: RedisServer = field(init=False)
    curves: dict[str, Any] = field(default_factory=dict)
    facts: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    @property
    def rounds(self) -> int:
        return 1 if self.quick else ROUNDS


class Goal(NamedTuple):
    """What a figure is to reach, and whether it did."""

    text: str
    met: bool


@dataclass(frozen=True)
class Row:
    """One line of the table, as text."""

    work: str
    ours: str
    bare: str = ""
    ratio: str = ""
    peers: Mapping[str, str] = field(default_factory=dict)
    goal: Goal | None = None


class Pair(NamedTuple):
    """Medians of figures that were measured alternately: ours, the bare one, and the ratio within a round."""

    ours: float
    bare: float
    ratio: float


def alternate(rounds: int, ours: Callable[[], float], bare: Callable[[], float]) -> Pair:
    """Ours and the bare one in turn, so that a noisy minute meets both."""
    pairs = [(bare(), ours()) for _ in range(rounds)]
    ratio = statistics.median(one / other for other, one in pairs)
    return Pair(statistics.median(one for _, one in pairs), statistics.median(other for other, _ in pairs), ratio)


@dataclass(frozen=True)
class Rounds:
    """Rates that were measured in turn, one of each name in every round."""

    rates: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        return statistics.median(self.rates[name])

    def ratio(self, name: str, *others: str) -> float:
        """To the best of `others` in the same round: the median of the rounds."""
        best: list[float] = [max(rates) for rates in zip(*(self.rates[other] for other in others), strict=True)]
        return statistics.median(one / other for one, other in zip(self.rates[name], best, strict=True))


def in_turn(rounds: int, acts: Mapping[str, Callable[[], float]]) -> Rounds:
    """Each act once in every round, so that a noisy minute meets all."""
    figures = [{name: act() for name, act in acts.items()} for _ in range(rounds)]
    return Rounds({name: [one[name] for one in figures] for name in acts})


def compare(work: str, pair: Pair, what: str, goal: Goal | None = None, peers: Mapping[str, str] | None = None) -> Row:
    """The row of two rates; `what` is the bare one."""
    return Row(work, rate(pair.ours), f"{what}: {rate(pair.bare)}", f"{pair.ratio:.0%}", peers or {}, goal)


def per_second(number: int, act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return number / (time.perf_counter() - start)


# -- Redis and messages ----------------------------------------------------------------------------------------


def client_of(server: RedisServer, *, empty: bool = True) -> redis.Redis:
    client = redis.Redis.from_url(server.url)
    if empty:
        client.flushall()
    return client


def new_store(server: RedisServer) -> RedisStore:
    return RedisStore(LayerSettings("default", LAYER, {"hosts": [server.url]}))


def new_layer(server: RedisServer) -> RedisChannelLayer:
    return RedisChannelLayer(hosts=[{"address": server.url, "socket_timeout": None}], capacity=CAPACITY)


def payload(due: float = 0.0) -> dict[str, Any]:
    """97 bytes when packed; `due` is the instant it was meant for, in ms."""
    return {"type": "probe", "text": "x" * 65, "due": float(due)}


def messages(number: int, clock: Clock, *, delay: int = YEAR_MS) -> Iterator[list[Waiting]]:
    """`number` messages, made in batches while they are asked for."""
    due = clock.due(delay)
    for start in range(0, number, BATCH):
        yield [
            Message(channel=CHANNEL, content=payload(due), delay=delay).waiting(clock, MAX_BYTES)
            for _ in range(min(BATCH, number - start))
        ]


def bare_members(number: int) -> list[bytes]:
    """Members as bare as they can be: 12 random bytes and 97 of payload."""
    return [os.urandom(12) + b"x" * 97 for _ in range(number)]


# -- figures ---------------------------------------------------------------------------------------------------


def quantile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


def distribution(values: Sequence[float]) -> str:
    """p50 / p99 / max in ms."""
    return " / ".join(_ms(value) for value in (quantile(values, 0.5), quantile(values, 0.99), max(values))) + " ms"


def _ms(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def curve(values: Sequence[float], points: int = 200) -> list[float]:
    """The sorted values, thinned out to what a plot can show; the largest is kept."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return [round(ordered[round(last * n / points)], 3) for n in range(points + 1)]


def rate(figure: float) -> str:
    return f"{figure:,.0f}/s"


def against(what: str, ours: float, peers: Mapping[str, float], unit: str) -> str:
    """A sentence on a quantity of which less is better; `peers` are by their titles."""
    others = [f"{title} {_number(one)} {unit}, {_number(one / ours)} times as much" for title, one in peers.items()]
    return "; ".join([f"{what}: {_number(ours)} {unit}", *others]) + "."


def _number(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


# -- the kernel's accounts -------------------------------------------------------------------------------------


def tree(pid: int) -> list[int]:
    """A process and all that it started."""
    children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in _words(task / "children")]
    return [pid, *(one for child in children for one in tree(child))]


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return []


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of processes, with all their threads, to the nanosecond."""
    return sum(
        time.clock_gettime((~pid << 3) | 2) for pid in pids
    )  # the clock id of another process: clock_getcpuclockid(3)


def memory_bytes(pids: Sequence[int]) -> int:
    """Resident memory of processes; what they share counts for each."""
    return sum(_resident(pid) for pid in pids)


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) * 1024


def settle(pids: Sequence[int], timeout: float = 30.0) -> None:
    """Wait until processes do next to nothing: a second with less than 30 ms of work."""
    deadline = time.monotonic() + timeout
    before = cpu_seconds(pids)
    while time.monotonic() < deadline:
        time.sleep(1)
        after = cpu_seconds(pids)
        if after - before < 0.03:
            return
        before = after
    raise AssertionError(f"expected the processes to come to rest within {timeout} s, they did not")
