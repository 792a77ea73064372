"""What has expired is not handed over, frees its key at once, and is counted."""

from __future__ import annotations

import re
import urllib.request

from ..support.servers import free_port
from .conftest import Project

NUMBER, REUSED = 30, 7


def test_what_expired_while_no_server_ran_is_dropped_and_counted(project: Project) -> None:
    told = project.ask("let_expire", number=NUMBER, reused=REUSED)
    assert told["late"] == [False] * NUMBER
    assert told["created"] == [True] * REUSED
    port = free_port()
    project.rundelay("--metrics-port", str(port))
    project.wait_until_empty()
    arrived = [(one["name"], one["n"]) for one in project.arrived()]
    assert sorted(arrived) == [("anew", n) for n in range(REUSED)] + [("in time", 0)]
    assert counted(port, "expired") == NUMBER


def test_what_expires_behind_a_full_channel_is_dropped_and_counted(project: Project) -> None:
    project.config["capacity"] = 1
    port = free_port()
    server = project.rundelay("--metrics-port", str(port))
    project.ask("expire_behind", number=NUMBER)
    server.wait_for_line("channel sink takes no more")
    with project.redis() as client:
        client.delete("asgisink")
    project.wait_until_empty()
    assert [one["n"] for one in project.arrived()] == []
    assert counted(port, "expired") == NUMBER


def counted(port: int, event: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        found = re.search(rf'^delayserver_events_total{{event="{event}"}} (\S+)$', answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0
