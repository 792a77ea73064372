"""``manage.py rundelay``: starts with one line, stops quickly, and says clearly when it cannot run."""

from __future__ import annotations

import json
import signal
import sys
import time
import urllib.request
from collections.abc import Callable

import pytest

from ..support.process import Process
from ..support.servers import free_port
from .conftest import READY, Site, on_every_store


@on_every_store
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_when_it_is_ready_and_ends_within_a_second_when_idle(site: Site, number: signal.Signals) -> None:
    server = site.rundelay(wait=False)
    found = server.wait_for_line(READY)
    assert found[1].startswith("redis://127.0.0.1:" if site.store_name == "redis" else "database ")
    start = time.monotonic()
    server.signal(number)
    assert server.wait() == 0
    assert time.monotonic() - start <= 1.0
    assert "Traceback" not in server.output


@on_every_store
def test_it_ends_within_five_seconds_under_load_and_loses_nothing(site: Site) -> None:
    number = 20_000
    loader = site.run(
        "from delayserver.stores import get_stores\n"
        "from delayserver.message import Message\n"
        "store = get_stores()[0]; clock = store.read_clock()\n"
        f"for start in range(0, {number}, 500):\n"
        "    contents = [{'type': 'probe', 'n': n} for n in range(start, start + 500)]\n"
        "    store.put([Message(channel=f'sink-{c[\"n\"]}', content=c, delay=0).waiting(clock, 10_000)"
        " for c in contents])\n"
    )
    assert loader.wait(60) == 0
    server = site.rundelay()
    client = site.redis()
    deadline = time.monotonic() + 20
    while not list(client.scan_iter("asgisink-*", count=10_000)):
        assert time.monotonic() < deadline, server
    start = time.monotonic()
    server.terminate()
    assert server.wait() == 0
    assert time.monotonic() - start <= 5.0
    handed_over = sum(1 for _ in client.scan_iter("asgisink-*", count=10_000))
    client.close()
    counter = site.run(
        "import asyncio\nfrom delayserver.stores import get_stores\n"
        "async def main():\n"
        "    store = get_stores()[0]; await store.open(); print('left', await store.count()); await store.aclose()\n"
        "asyncio.run(main())"
    )
    left = int(counter.wait_for_line(r"left (\d+)")[1])
    assert handed_over + left == number
    assert handed_over > 0


def test_a_second_signal_ends_it_at_once(site: Site, start_process: Callable[..., Process]) -> None:
    """While it is stuck in a script that Redis does not answer."""
    server = site.rundelay()
    with site.redis() as client:
        client.execute_command("CLIENT", "PAUSE", 6_000, "ALL")
        try:
            time.sleep(5.2)  # it looks at the store at least every five seconds, and hangs there
            server.terminate()
            time.sleep(0.2)
            start = time.monotonic()
            server.terminate()
            server.wait()
            assert time.monotonic() - start <= 0.5
        finally:
            client.execute_command("CLIENT", "UNPAUSE")


@pytest.mark.parametrize(
    ("args", "layers", "sentence"),
    [
        (["--layer", "nowhere"], None, "There is no channel layer 'nowhere'"),
        ([], {}, "You do not have any CHANNEL_LAYERS configured"),
        (["--layer", "memory"], None, "in-memory channel layer lives in one process.*delayserver.embedded"),
    ],
)
def test_it_refuses_with_one_clear_sentence(
    start_process: Callable[..., Process], args: list[str], layers: object, sentence: str
) -> None:
    env = {"DJANGO_SETTINGS_MODULE": "tests.settings", "DELAYSERVER_TEST_LAYERS": json.dumps(layers)}
    process = start_process([sys.executable, "-m", "django", "rundelay", *args], env=env)
    assert process.wait() == 1
    process.wait_for_line(f"^CommandError: .*{sentence}")
    assert len(process.lines) == 1


def test_wrong_usage_is_exit_code_2(start_process: Callable[..., Process]) -> None:
    env = {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    process = start_process([sys.executable, "-m", "django", "rundelay", "--nonsense"], env=env)
    assert process.wait() == 2


def test_metrics_tell_what_waits_and_what_is_overdue(site: Site) -> None:
    port = free_port()
    site.rundelay("--metrics-port", str(port))
    sender = site.run("from delayserver import send_later; send_later('sink', {'type': 'probe'}, delay=3_600_000)")
    assert sender.wait() == 0
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert "delayserver_waiting 1.0" in text
    assert "delayserver_oldest_overdue_seconds 0.0" in text
    assert "delayserver_stores_away 0.0" in text
    assert 'delayserver_events_total{event="started"} 1.0' in text
