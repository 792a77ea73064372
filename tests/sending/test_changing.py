"""`cancel`, `reschedule` and `get` never lie, however close to its due instant a message is."""

from __future__ import annotations

from collections import Counter

from .conftest import Project

NUMBER, SPREAD_MS, PROCESSES = 1_000, 1_500, 4


def test_a_message_is_either_cancelled_once_or_handed_over_once(project: Project) -> None:
    for server in [project.rundelay(wait=False), project.rundelay(wait=False)]:
        server.wait_for_line("^delay server ready")
    told = project.ask("race", how="cancel", number=NUMBER, spread=SPREAD_MS, processes=PROCESSES)
    project.wait_until_empty()
    cancelled = Counter(n for one in told["told"] for n in one)
    arrived = Counter(one["n"] for one in project.arrived())
    assert {n: (cancelled[n], arrived[n]) for n in range(NUMBER) if cancelled[n] + arrived[n] != 1} == {}
    assert len(cancelled) + len(arrived) == NUMBER
    assert cancelled, "expected some of them to be in time"
    assert arrived, "expected some of them to be too late"


def test_a_message_is_either_moved_or_handed_over(project: Project) -> None:
    for server in [project.rundelay(wait=False), project.rundelay(wait=False)]:
        server.wait_for_line("^delay server ready")
    told = project.ask("race", how="reschedule", number=NUMBER, spread=SPREAD_MS, processes=PROCESSES)
    moved = sorted({n for one in told["told"] for n in one})
    arrived = [one["n"] for one in project.arrived()]
    assert sorted(arrived + moved) == list(range(NUMBER))
    assert 0 < len(moved) < NUMBER, "expected some of them to be in time, and some too late"
    back = project.ask("bring_back", ids=told["ids"])
    assert back["waiting"] == [told["ids"][n] for n in moved]
    assert 58 < min(back["minutes"]) <= max(back["minutes"]) < 61
    assert all(back["in_time"])
    project.wait_until_empty()
    assert Counter(one["n"] for one in project.arrived()) == Counter(range(NUMBER))
