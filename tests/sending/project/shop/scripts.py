"""What the shop's scripts do: ``python -m shop.scripts NAME {"argument": ...}`` prints one line of JSON."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import django
import redis
from asgiref.sync import async_to_sync

if __name__ == "__main__":
    django.setup()

from django.db import connection, transaction

import delayserver.message
from delayserver import (
    DelayServerError,
    InvalidMessage,
    KeyTaken,
    Message,
    Receipt,
    acancel,
    aget,
    areschedule,
    asend_later,
    asend_many_later,
    cancel,
    get,
    group_send_later,
    reschedule,
    send_later,
    send_many_later,
)
from delayserver.message import OnConflict

from . import opened
from .crowd import Gate, side_by_side
from .models import Order
from .settings import REDIS

HOUR = 3_600_000
PATIENCE_SECONDS = 20.0


def probe(n: int, **more: Any) -> dict[str, Any]:
    return {"type": "probe", "n": n, **more}


def wait_for(fact: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not fact():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE_SECONDS} s for {what}")
        time.sleep(0.002)


def on_the_channel(channel: str = "sink") -> int:
    with redis.Redis.from_url(REDIS) as client:
        return int(client.zcard(f"asgi{channel}"))


# -- keys ------------------------------------------------------------------------------------------------------------


def same_key(policies: list[OnConflict], rounds: int, processes: int) -> dict[str, Any]:
    """All send the same key at the same instant, for an hour from now; then each key is made due."""

    def work(index: int, gate: Gate) -> list[Receipt | None]:
        send: Any = send_later if index % 2 else async_to_sync(asend_later)
        told: list[Receipt | None] = []
        for policy in policies:
            for turn in range(rounds):
                content = probe(turn, policy=policy, process=index)
                gate.wait()
                try:
                    told.append(send("sink", content, delay=HOUR, key=f"{policy} {turn}", on_conflict=policy))
                except KeyTaken:
                    told.append(None)
        return told

    told = iter(list(zip(*side_by_side(processes, work), strict=True)))
    answers = {policy: [next(told) for _ in range(rounds)] for policy in policies}
    released = [reschedule(key=f"{policy} {turn}", delay=0) for policy in policies for turn in range(rounds)]
    return {"answers": answers, "released": released}


def use_a_key_again(rounds: int) -> dict[str, Any]:
    """As soon as its message is on the channel, or cancelled; `KeyTaken` where it is not free then."""
    for turn in range(rounds):
        send_later("sink", probe(turn), delay=0, key="handed over", on_conflict="error")
        wait_for(lambda turn=turn: on_the_channel() == turn + 1, "the message on its channel")  # type: ignore[misc]
    for turn in range(rounds):
        receipt = send_later("never", probe(turn), delay=HOUR, key="cancelled", on_conflict="error")
        assert cancel(receipt.id) if turn % 2 else cancel(key="cancelled")
    return {}


def debounce(times: int, delay: int) -> dict[str, Any]:
    receipts = [send_later("sink", probe(n), delay=delay, key="save", on_conflict="replace") for n in range(times)]
    return {"created": [receipt.created for receipt in receipts], "dues": [receipt.due for receipt in receipts]}


def start_chains(last: int) -> dict[str, Any]:
    for channel in ("chain", "sync-chain"):
        send_later(channel, {"type": "chain.step", "number": 1, "last": last}, delay=0, key=channel)
    return {}


# -- cancel and reschedule -------------------------------------------------------------------------------------------


def race(how: str, number: int, spread: int, processes: int) -> dict[str, Any]:
    """Against dispatch: every process asks for messages by id or by key, as close as it can to the instant they are
    due, and in the end for its share of all of them.
    """
    start = datetime.now(UTC) + timedelta(seconds=1)
    etas = [start + timedelta(milliseconds=n * spread / number) for n in range(number)]
    receipts = send_many_later(
        Message(channel="sink", content=probe(n), eta=eta, key=f"key {n}" if n % 2 else None)
        for n, eta in enumerate(etas)
    )
    names: list[dict[str, Any]] = [{"key": f"key {n}"} if n % 2 else {"id": receipts[n].id} for n in range(number)]
    ask: Any = cancel if how == "cancel" else functools.partial(reschedule, delay=HOUR)
    aask: Any = acancel if how == "cancel" else functools.partial(areschedule, delay=HOUR)

    def work(index: int, gate: Gate) -> list[int]:
        gate.wait()
        return asyncio.run(in_crowds(index)) if index % 2 else one_by_one(index)

    def one_by_one(index: int) -> list[int]:
        in_time = [n for n in range(number) if is_close(etas[n]) and ask(**names[n])]
        return in_time + [n for n in range(index, number, processes) if ask(**names[n])]

    async def in_crowds(index: int) -> list[int]:
        crowds = [range(first, min(first + 20, number)) for first in range(0, number, 20)]
        asked = [n for crowd in crowds if is_close(etas[crowd[len(crowd) // 2]]) for n in await ask_at_once(crowd)]
        return asked + await ask_at_once(range(index, number, processes))

    async def ask_at_once(crowd: range) -> list[int]:
        answers = await asyncio.gather(*(aask(**names[n]) for n in crowd))
        return [n for n, in_time in zip(crowd, answers, strict=True) if in_time]

    told = side_by_side(processes, work)
    late = number - len(set().union(*told))
    wait_for(lambda: on_the_channel() >= late, f"{late} messages on the channel")
    return {"told": told, "ids": [receipt.id for receipt in receipts]}


def is_close(instant: datetime) -> bool:
    """Whether it is not past; once it is there, or some milliseconds before or after: the pace of the attack."""
    ahead = (instant - datetime.now(UTC)).total_seconds() + random.uniform(-0.004, 0.004)
    if ahead > 0:
        time.sleep(ahead)
    return ahead > -0.01


def bring_back(ids: list[str]) -> dict[str, Any]:
    """Those that wait, and for how many minutes yet; and which of them are in time to be due now."""
    messages = {id: get(id) for id in ids}
    etas = {id: message.eta for id, message in messages.items() if message is not None and message.eta is not None}
    minutes = [(eta - datetime.now(UTC)).total_seconds() / 60 for eta in etas.values()]
    return {"waiting": list(etas), "minutes": minutes, "in_time": [reschedule(id, delay=0) for id in etas]}


# -- expires ---------------------------------------------------------------------------------------------------------


def let_expire(number: int, reused: int) -> dict[str, Any]:
    """While no server runs: of each key, the message expires; then some of the keys are used again."""
    for n in range(number):
        send_later("sink", probe(n, name="expires"), delay=1, expires=50, key=f"key {n}")
    send_later("sink", probe(0, name="in time"), delay=1, expires=timedelta(hours=1))
    for n in range(number):
        wait_for(lambda n=n: get(key=f"key {n}") is None, "the message to expire")  # type: ignore[misc]
    late = [cancel(key=f"key {n}") or reschedule(key=f"key {n}", delay=HOUR) for n in range(number)]
    created = [
        send_later("sink", probe(n, name="anew"), delay=1, key=f"key {n}", on_conflict="error").created
        for n in range(reused)
    ]
    return {"late": late, "created": created}


def expire_behind(number: int) -> dict[str, Any]:
    """The channel is full when they are due, and until all of them have expired."""
    send_later("sink", probe(-1), delay=0)
    wait_for(lambda: on_the_channel() == 1, "a full channel")
    receipts = [send_later("sink", probe(n), delay=0, expires=300) for n in range(number)]
    for receipt in receipts:
        wait_for(lambda id=receipt.id: get(id) is None, "the message to expire")  # type: ignore[misc]
    return {}


# -- many at once ----------------------------------------------------------------------------------------------------


def send_many(number: int) -> dict[str, Any]:
    """From a generator: how many were stored at each step, how many were held then, and the round trips."""
    made, stored = 0, [0]
    held: list[int] = []
    statements = 0

    def messages() -> Iterator[Message]:
        nonlocal made
        for n in range(number):
            made += 1
            yield Message(channel="sink", content=probe(n), delay=HOUR)

    def progress(count: int) -> None:
        held.append(made - stored[-1])
        stored.append(count)

    def counted(execute: Any, *args: Any) -> Any:
        nonlocal statements
        statements += 1
        return execute(*args)

    with redis.Redis.from_url(REDIS) as client, connection.execute_wrapper(counted):
        before = scripts_run(client)
        receipts = send_many_later(messages(), progress=progress)
        scripts = scripts_run(client) - before
    ids = {receipt.id for receipt in receipts if receipt.created}
    return {"ids": len(ids), "stored": stored[1:], "held": held, "scripts": scripts, "statements": statements}


def scripts_run(client: redis.Redis) -> int:
    stats: Any = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval"))


def send_one_taken(number: int, place: int) -> dict[str, Any]:
    """Of so many, the one at `place` has a key that is taken; in one call, sync and async."""
    send_later("sink", probe(-1), delay=HOUR, key="taken")
    messages = [Message(channel="sink", content=probe(n), delay=HOUR, key=f"key {n}") for n in range(number)]
    messages[place] = Message(channel="sink", content=probe(place), delay=HOUR, key="taken", on_conflict="error")
    errors = []
    for send in (send_many_later, async_to_sync(asend_many_later)):
        try:
            send(messages)
        except KeyTaken as error:
            errors.append(str(error))
    return {"errors": errors}


def send_until_it_dies(number: int, after: int, pid: int, signal: int) -> dict[str, Any]:
    """The store's server gets `signal` once so many messages are stored."""
    told: list[int] = []

    def progress(count: int) -> None:
        told.append(count)
        if count >= after and count - (told[-2] if len(told) > 1 else 0) > count - after:
            os.kill(pid, signal)

    messages = (Message(channel="sink", content=probe(n), delay=HOUR) for n in range(number))
    try:
        send_many_later(messages, progress=progress)
    except DelayServerError as error:
        return {"error": type(error).__name__, "notes": error.__notes__, "told": told}
    return {"error": None}


# -- transactions ----------------------------------------------------------------------------------------------------


def in_transactions() -> dict[str, Any]:
    """Rows and messages of the same number; which of them shall be there is known to the test."""
    answers: dict[str, Any] = {}

    def order(n: int, **options: Any) -> Receipt:
        Order.objects.create(number=n)
        return send_later("sink", probe(n), delay=0, **options)

    with transaction.atomic():
        answers["id"] = order(1).id
        answers["got inside"] = get(answers["id"]) is not None
        answers["on the channel inside"] = on_the_channel()
        try:
            with transaction.atomic():
                order(2)
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        with transaction.atomic():
            order(3)
    try:
        with transaction.atomic():
            order(4)
            order(5, on_commit=False)
            with transaction.atomic():
                order(6)
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    return answers


def a_key_in_a_transaction() -> dict[str, Any]:
    """Taken by a message that waits, and by one of the same transaction; the transaction goes on."""
    errors = []
    send_later("sink", probe(0), delay=HOUR, key="waiting")
    with transaction.atomic():
        Order.objects.create(number=1)
        first = send_later("sink", probe(1), delay=HOUR, key="ours")
        for key in ("waiting", "ours"):
            try:
                send_later("sink", probe(2), delay=HOUR, key=key, on_conflict="error")
            except KeyTaken as error:
                errors.append(str(error))
        kept = send_later("sink", probe(3), delay=HOUR, key="ours")
        send_later("sink", probe(4), delay=HOUR, key="ours", on_conflict="replace")
    message = get(key="ours")
    assert message is not None
    return {"errors": errors, "kept": kept == (first.id, first.due, False), "n": message.content["n"]}


def change_in_a_transaction() -> dict[str, Any]:
    """What is sent within a transaction can be taken back and moved there."""
    with transaction.atomic():
        gone = send_later("sink", probe(1), delay=0)
        moved = send_later("sink", probe(2), delay=0)
        answers = [cancel(gone.id), cancel(gone.id), reschedule(moved.id, delay=HOUR), get(gone.id) is None]
        answers += [async_to_sync(aget)(moved.id) is not None]
    return {"answers": answers, "waits": [get(gone.id) is not None, get(moved.id) is not None]}


# -- sync calls ------------------------------------------------------------------------------------------------------


def send_from_threads(threads: int, each: int) -> dict[str, Any]:
    """No event loop can be made meanwhile."""
    forbid_event_loops()
    ready = threading.Barrier(threads)

    def work(index: int) -> list[str]:
        ready.wait()
        ids = [send_later("sink", probe(n, thread=index), delay=HOUR).id for n in range(each)]
        messages = [get(id) for id in ids[:5]]
        assert [message and message.content for message in messages] == [probe(n, thread=index) for n in range(5)]
        assert cancel(ids[0])
        assert reschedule(ids[1], delay=2 * HOUR)
        send_many_later([Message(channel="sink", content=probe(-1), delay=HOUR)])
        ready.wait()  # until all have sent, so that nobody's connection serves two threads in turn
        return ids

    with ThreadPoolExecutor(threads) as pool:
        ids = [id for some in pool.map(work, range(threads)) for id in some]
    return {"ids": len(set(ids)), "opened": opened.so_far()}


def forbid_event_loops() -> None:
    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("expected no event loop to be made")

    asyncio.new_event_loop = asyncio.run = refuse
    asyncio.BaseEventLoop.__init__ = refuse  # type: ignore[method-assign]


def make_an_event_loop() -> dict[str, Any]:
    """To see that it is seen."""
    async_to_sync(asend_later)("sink", probe(0), delay=HOUR)
    seen = opened.so_far()
    forbid_event_loops()
    try:
        async_to_sync(asend_later)("sink", probe(0), delay=HOUR)
    except AssertionError as error:
        return {"opened": seen, "error": str(error)}
    return {"opened": seen, "error": None}


def send_after_fork(children: int, each: int) -> dict[str, Any]:
    """The parent has sent before, and goes on while its children do."""
    send_some(-1, 10)
    pipes = [os.pipe() for _ in range(children)]
    pids = []
    for index, (_, writing) in enumerate(pipes):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                with os.fdopen(writing, "w") as pipe:
                    json.dump({"ids": send_some(index, each), "opened": opened.so_far()}, pipe)
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
        os.close(writing)
    told = [{"ids": send_some(children, each), "opened": opened.so_far()}]
    for reading, _ in pipes:
        with os.fdopen(reading) as pipe:
            told.append(json.load(pipe))
    statuses = [os.waitpid(pid, 0)[1] for pid in pids]
    return {"told": told, "statuses": statuses}


def send_some(sender: int, number: int) -> list[str]:
    """Each is asked for at once: a reply that was another's would show."""
    ids = []
    for n in range(number):
        receipt = send_later("sink", probe(n, sender=sender), delay=HOUR)
        message = get(receipt.id)
        assert message is not None
        assert message.content == probe(n, sender=sender)
        ids.append(receipt.id)
    return ids


def fork_and_use_threads(children: int, threads: int) -> dict[str, Any]:
    """The threads of each child all send first at the same instant."""
    send_some(-1, 10)
    sys.setswitchinterval(1e-6)
    pids = []
    for index in range(children):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                send_from_new_threads(index, threads)
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    send_some(-2, 50)
    return {"statuses": [os.waitpid(pid, 0)[1] for pid in pids]}


def send_from_new_threads(child: int, threads: int) -> None:
    gate = threading.Barrier(threads)

    def work(index: int) -> list[str]:
        gate.wait()
        return send_some(1_000 * child + index, 3)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))


def fork_while_another_thread_makes_an_id() -> dict[str, Any]:
    send_some(-1, 1)
    holds, done = threading.Event(), threading.Event()

    def hold() -> None:
        with delayserver.message._ticket_lock:
            holds.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            send_some(0, 3)
            status = 0
        finally:
            os._exit(status)
    done.set()
    thread.join()
    return {"status": os.waitpid(pid, 0)[1]}


# -- at once ---------------------------------------------------------------------------------------------------------


def gather(number: int, more: int) -> dict[str, Any]:
    async def send(content: dict[str, Any]) -> Receipt:
        return await asend_later("sink", content, delay=HOUR)

    async def main() -> dict[str, Any]:
        contents = [probe(n) for n in range(number)]
        receipts = await asyncio.gather(*map(send, contents))
        messages = await asyncio.gather(*(aget(receipt.id) for receipt in receipts))
        moved = await asyncio.gather(*(areschedule(receipt.id, delay=2 * HOUR) for receipt in receipts[::2]))
        cancelled = await asyncio.gather(*(acancel(receipt.id) for receipt in receipts))
        again = await asyncio.gather(*(acancel(receipt.id) for receipt in receipts))
        ids = {receipt.id for receipt in await asyncio.gather(*(send(probe(n)) for n in range(more)))}
        return {
            "ids": len(ids),
            "got": [message and message.content for message in messages] == contents,
            "moved": sum(moved),
            "cancelled": sum(cancelled),
            "again": sum(again),
        }

    return asyncio.run(main()) | {"opened": opened.so_far()}


# -- pre-flight ------------------------------------------------------------------------------------------------------


def send_what_cannot_be() -> dict[str, Any]:
    """Each call raises in its own line, and says which key is at fault."""
    far: Any = datetime(2030, 1, 1)  # noqa: DTZ001  naive on purpose
    good, half = probe(0), 0.5
    calls: dict[str, Callable[[], Any]] = {
        "delay": lambda: send_later("sink", good, delay=half),  # type: ignore[arg-type]
        "delay negative": lambda: send_later("sink", good, delay=-1),
        "delay and eta": lambda: send_later("sink", good),
        "eta": lambda: send_later("sink", good, eta=far),
        "channel": lambda: send_later("no such name", good, delay=1),
        "group": lambda: group_send_later("a!b", good, delay=1),
        "type": lambda: send_later("sink", {"n": 1}, delay=1),
        "nested": lambda: send_later("sink", {**good, "at": [{"x": object()}]}, delay=1),
        "reserved": lambda: send_later("sink", {**good, "__delay__": {}}, delay=1),
        "key": lambda: send_later("sink", good, delay=1, key=""),
        "on_conflict": lambda: send_later("sink", good, delay=1, on_conflict="drop"),  # type: ignore[arg-type]
        "expires": lambda: send_later("sink", good, delay=1, expires=half),  # type: ignore[arg-type]
        "retry": lambda: send_later("sink", good, delay=1, retry=5),  # type: ignore[arg-type]
        "size": lambda: send_later("sink", {**good, "blob": b"x" * 1_048_576}, delay=1),
        "itself": lambda: send_later("asgi.delay", good, delay=1),
        "awaited": lambda: async_to_sync(asend_later)("sink", {**good, "at": {"x": {1}}}, delay=1),
        "many": lambda: send_many_later([Message(channel="sink", content=probe(0) | {"at": {2j}}, delay=1)]),
        "cancel": lambda: cancel(),
        "reschedule": lambda: reschedule("id", delay=half),  # type: ignore[arg-type]
    }
    return {name: _refusal(call) for name, call in calls.items()}


def _refusal(call: Callable[[], Any]) -> str | None:
    try:
        call()
    except InvalidMessage as error:
        return str(error)
    return None


if __name__ == "__main__":
    name, arguments = sys.argv[1:]
    print("answer:", json.dumps(globals()[name](**json.loads(arguments))), flush=True)
