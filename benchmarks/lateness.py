"""How late messages are when they come due one after the other: on the channel, and in a consumer's handler.

Everything is on one host, so there is one clock. The bare limit is a task that sleeps until a message is due and then
sends it, in one command.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redis
from channels_redis.core import RedisChannelLayer

from delayserver.message import Message
from delayserver.stores.base import Store
from tests.support.process import Process

from .contenders import Contender, Stock, instant, now_ms, rundelay, runtasks, runworker
from .parts import (
    BATCH,
    CHANNEL,
    CHANNEL_KEY,
    MAX_BYTES,
    Goal,
    Row,
    Run,
    against,
    client_of,
    curve,
    distribution,
    new_layer,
    new_store,
    payload,
    quantile,
)
from .peers import PEERS, contenders
from .stamps import Stamps

SEND = """
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1], string.format('%d.%06d', now[1], now[2]), ARGV[1])
"""


def rows(run: Run) -> Iterator[Row]:
    for per_second in (200, 1_000):
        yield _row_on_channel(run, per_second, run.size(5, 1))
    with TemporaryDirectory() as folder:
        yield from _rows_to_handler(run, Stamps(Path(folder) / "stamps"), 200, run.size(5, 1))


def instants(per_second: int, seconds: float, lead_ms: float) -> list[int]:
    """Evenly spaced, whole milliseconds; the first is `lead_ms` from now."""
    first = round(now_ms() + lead_ms)
    return [first + n * 1_000 // per_second for n in range(int(per_second * seconds))]


# -- on the channel --------------------------------------------------------------------------------------------


def _row_on_channel(run: Run, per_second: int, seconds: float) -> Row:
    late: list[float] = []
    bare: list[float] = []
    store, layer = new_store(run.redis), new_layer(run.redis)
    for _ in range(min(run.rounds, 2)):
        with client_of(run.redis) as client:
            due = instants(per_second, seconds, 500)
            send_when_due(client, layer, due)
            bare += late_on_channel(client, layer, len(due))
            client.flushall()
            with rundelay(run.redis):
                late += on_channel(client, layer, store, per_second, seconds)
    goal = Goal("p50 ≤ 0.7, p99 ≤ 2 ms", quantile(late, 0.5) <= 0.7 and quantile(late, 0.99) <= 2)
    ratio = f"{quantile(late, 0.5) / quantile(bare, 0.5):.1f}x p50"
    work = f"lateness on the channel, {per_second:,}/s"
    return Row(work, distribution(late), f"sleep, then `ZADD`: {distribution(bare)}", ratio, goal=goal)


def on_channel(
    client: redis.Redis, layer: RedisChannelLayer, store: Store, per_second: int, seconds: float
) -> list[float]:
    """Put messages that come due one after the other, and see how late each was on the channel, in ms."""
    client.delete(CHANNEL_KEY)
    due = instants(per_second, seconds, 1_500 + per_second * seconds / 10)
    put(store, due)
    assert now_ms() < due[0], "expected to have put all messages before the first is due"
    return late_on_channel(client, layer, len(due), timeout=(due[-1] - now_ms()) / 1_000 + 20)


def put(store: Store, due: Sequence[int]) -> None:
    clock = store.read_clock()
    for start in range(0, len(due), BATCH):
        store.put(
            [
                Message(channel=CHANNEL, content=payload(one), eta=instant(one)).waiting(clock, MAX_BYTES)
                for one in due[start : start + BATCH]
            ]
        )


def late_on_channel(client: redis.Redis, layer: RedisChannelLayer, number: int, timeout: float = 0.0) -> list[float]:
    """How late each of `number` messages came on the channel: its score is that instant, by Redis's clock."""
    deadline = time.monotonic() + timeout
    while client.zcard(CHANNEL_KEY) < number:
        assert time.monotonic() < deadline, f"expected {number} messages on the channel, not all came"
        time.sleep(0.25)
    found: Any = client.zrange(CHANNEL_KEY, 0, -1, withscores=True)
    return [score * 1_000 - layer.deserialize(member)["due"] for member, score in found]


def send_when_due(client: redis.Redis, layer: RedisChannelLayer, due: Sequence[int]) -> None:
    """One command for each, at its instant; the kernel's sleep is more exact than that of an event loop."""
    send = client.register_script(SEND)
    for one in due:
        member = layer.serialize(payload(one))
        time.sleep(max(0.0, (one - now_ms()) / 1_000))
        send(keys=[CHANNEL_KEY], args=[member])


# -- to the handler --------------------------------------------------------------------------------------------


def _rows_to_handler(run: Run, stamps: Stamps, per_second: int, seconds: float) -> Iterator[Row]:
    late: dict[str, list[float]] = {}
    for _ in range(min(run.rounds, 2)):
        for name, worker in (("bare", runtasks), ("bare stock", runworker)):
            figures = _bare_to_handler(run, stamps, worker(run.redis, stamps), per_second, seconds)
            late.setdefault(name, []).extend(figures)
        for contender in (Stock(run.redis), *contenders(run.redis, run.peers)):
            client_of(run.redis).close()
            late.setdefault(contender.name, []).extend(_to_handler(contender, stamps, per_second, seconds))
    shown = ("bare", "ours", "stock", *run.peers)
    run.curves["lateness"] = {name: curve(late[name]) for name in shown}
    for name, part in (("p50", 0.5), ("p99", 0.99)):
        others = {"`runworker` in place of `runtasks`": quantile(late["stock"], part)}
        others |= {PEERS[peer].title: quantile(late[peer], part) for peer in run.peers}
        what = f"Lateness in the handler at {per_second}/s, {name}"
        run.facts.append(against(what, quantile(late["ours"], part), others, "ms"))
    work = f"lateness in the handler, {per_second:,}/s"
    peers = {name: distribution(late[name]) for name in run.peers}
    yield _handler_row(work, late, "ours", "bare", peers)
    yield _handler_row(f"{work}, in `runworker`", late, "stock", "bare stock", {})


def _handler_row(work: str, late: Mapping[str, Sequence[float]], name: str, bare: str, peers: Mapping[str, str]) -> Row:
    p50, p99 = quantile(late[name], 0.5), quantile(late[name], 0.99)
    met = p50 <= 1 and p99 <= 2.5
    goal = "p50 ≤ 1, p99 ≤ 2.5 ms"
    if "celery" in late:
        goal += ", less than Celery"
        met = met and p50 < quantile(late["celery"], 0.5) and p99 < quantile(late["celery"], 0.99)
    what = f"sleep, then `ZADD`: {distribution(late[bare])}"
    ratio = f"{p50 / quantile(late[bare], 0.5):.1f}x p50"
    return Row(work, distribution(late[name]), what, ratio, peers, Goal(goal, met))


def _to_handler(contender: Contender, stamps: Stamps, per_second: int, seconds: float) -> list[float]:
    with contender.running(stamps):
        number = int(per_second * seconds)
        due = instants(per_second, seconds, 1_500 + number / contender.schedule_floor * 1_000)
        for one in due:
            contender.schedule(one)
        assert now_ms() < due[0], f"expected {contender.title} to have scheduled all messages before the first is due"
        found = stamps.wait(number, (due[-1] - now_ms()) / 1_000 + 30)
    return [stamp.began - stamp.due for stamp in found]


def _bare_to_handler(
    run: Run, stamps: Stamps, worker: AbstractContextManager[Process], per_second: int, seconds: float
) -> list[float]:
    layer = new_layer(run.redis)
    stamps.clear()
    with client_of(run.redis) as client, worker:
        send_when_due(client, layer, [0])
        stamps.wait(1, 30)  # it listens
        stamps.clear()
        due = instants(per_second, seconds, 500)
        send_when_due(client, layer, due)
        found = stamps.wait(len(due), 30)
    return [stamp.began - stamp.due for stamp in found]
