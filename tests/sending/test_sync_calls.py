"""Sync calls open no event loop, and no connection per call, wherever they are made."""

from __future__ import annotations

import asyncio
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

from pytest_django import Settings

from delayserver import send_later
from delayserver.stores import get_stores

from ..support.wait import wait_for
from .conftest import Project

THREADS, EACH = 20, 50


def assert_few(project: Project, opened: dict[str, int], most: int) -> None:
    """No loop, and at most so many connections to where the store is."""
    assert opened["loops"] == 0
    sockets, database = opened["sockets"], opened["database"]
    assert sockets <= (most if project.store_name == "redis" else 0)
    assert database <= most


def test_what_is_opened_is_seen(project: Project) -> None:
    """Without which the tests below would say nothing."""
    told = project.ask("make_an_event_loop")
    assert told["opened"]["loops"] > 0
    assert told["opened"]["sockets" if project.store_name == "redis" else "database"] > 0
    assert told["error"] == "expected no event loop to be made"


def test_from_twenty_threads(project: Project) -> None:
    told = project.ask("send_from_threads", threads=THREADS, each=EACH)
    assert told["ids"] == THREADS * EACH
    assert project.left() == THREADS * EACH  # one cancelled and one more of each
    assert_few(project, told["opened"], THREADS)


def test_from_the_shell(project: Project) -> None:
    code = (
        "from delayserver import *; from shop import opened, scripts\n"
        "scripts.forbid_event_loops()\n"
        "ids = [send_later('sink', {'type': 'probe', 'n': n}, delay=3_600_000).id for n in range(50)]\n"
        "print('seen', [get(id).content['n'] for id in ids] == list(range(50)), opened.so_far())\n"
    )
    shell = project.manage("shell", "-c", code)
    seen = shell.wait_for_line(r"^seen True \{'loops': 0, 'sockets': (\d+), 'database': (\d+)\}")
    assert shell.wait() == 0
    assert int(seen[1]) <= 1
    assert int(seen[2]) <= 1
    assert project.left() == 50


def test_from_sync_views(project: Project) -> None:
    fetch = project.serve()
    first, *others = [fetch("/remind/") for _ in range(40)]
    last = others[-1].body
    assert all(all(one.body["found"]) for one in (first, *others))
    before, after = first.body["opened"], last["opened"]
    assert after["loops"] == before["loops"], "expected no event loop but uvicorn's"
    assert after["sockets"] <= 2
    assert after["database"] - before["database"] <= len(others)  # Django's own: one a request
    assert project.left() == 200


def test_from_celery_workers(project: Project) -> None:
    """A task that fails within its transaction sends nothing."""
    worker = project.celery()
    code = "for n in range(200): remind.delay(n) and n % 20 or order_and_fail.delay(n)"
    project.manage("shell", "-c", f"from shop.tasks import *\n{code}").wait()
    wait_for(lambda: worker.output.count("ValueError: the order is refused") >= 10, 20, "10 tasks to fail")
    wait_for(lambda: project.left() >= 200, 20, "200 messages from Celery's workers")
    worker.end(signal.SIGQUIT)
    project.rundelay()
    project.wait_until_empty()
    arrived = project.arrived()
    assert sorted(one["n"] for one in arrived) == list(range(200))
    assert project.orders() == []
    assert len({one["pid"] for one in arrived}) == 2
    for one in arrived:
        assert_few(project, one["opened"], 2)


def test_after_a_fork_parent_and_children_send_at_once(project: Project) -> None:
    told = project.ask("send_after_fork", children=4, each=100)
    assert told["statuses"] == [0] * 4
    assert len({id for one in told["told"] for id in one["ids"]}) == 500
    assert project.left() == 510
    for one in told["told"]:
        assert_few(project, one["opened"], 1)


def test_after_a_fork_many_threads_may_send_first(project: Project) -> None:
    told = project.ask("fork_and_use_threads", children=6, threads=10)
    assert told["statuses"] == [0] * 6
    assert project.left() == 10 + 6 * 10 * 3 + 50


def test_after_a_fork_while_another_thread_was_sending(project: Project) -> None:
    assert project.ask("fork_while_another_thread_makes_an_id")["status"] == 0
    assert project.left() == 4


def test_hundreds_of_async_calls_at_once(project: Project) -> None:
    told = project.ask("gather", number=300, more=1_000)
    assert told["got"]
    assert told["moved"] == 150
    assert told["cancelled"] == 300
    assert told["again"] == 0
    assert told["ids"] == project.left() == 1_000
    assert told["opened"]["sockets"] + told["opened"]["database"] <= 50


def test_hundreds_of_async_calls_at_once_in_an_async_view(project: Project) -> None:
    fetch = project.serve()
    ids = fetch("/remind/many/?n=300").body["ids"]
    assert len(set(ids)) == 300
    assert project.left() == 300


def test_threads_that_send_first_at_the_same_instant_share_one_store(settings: Settings) -> None:
    """A second one in memory would be lost with what it holds."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    gate = threading.Barrier(THREADS)

    def send(_: int) -> None:
        gate.wait()
        send_later("sink", {"type": "probe"}, delay=3_600_000)

    for _ in range(20):
        settings.DELAYSERVER = {"STORE": "memory"}  # and what was made before is forgotten
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(send, range(THREADS)))
        assert asyncio.run(get_stores()[0].count()) == THREADS
