"""``delays stats``: how much waits, and what is late."""

from __future__ import annotations

import re

from .conftest import MINUTE, Delays

INSTANT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} CES?T")


def test_nothing(delays: Delays) -> None:
    assert delays("stats").split("\n") == [
        *("waiting         0", "held back       0", "claimed         0", "dead            0"),
        *("oldest overdue  none", "next due        none", ""),
    ]


def test_counts_and_a_table(delays: Delays) -> None:
    for channel in ("sink", "full"):
        delays.put(channel, -5_000)
    delays.claim(full=["full"])
    for n in range(3):
        delays.put("full", -MINUTE * 3 - 5_000)
        delays.put("news", MINUTE * 5 + 5_000 + n, group=True)
    delays.refuse("ff")
    assert INSTANT.sub("INSTANT", delays("stats")).splitlines() == [
        "waiting         6",
        "held back       1",
        "claimed         1",
        "dead            1",
        "oldest overdue  3 min (since INSTANT)",
        "next due        in 5 min (INSTANT)",
        "",
        "TARGET      WAITING  HELD BACK  CLAIMED  FIRST DUE",
        "full              3          1           overdue 3 min",
        "group news        3                      in 5 min",
        "sink                                  1",
    ]
    assert delays("stats", "--top", "1").endswith("overdue 3 min\nand 2 more targets with 4 messages (--top 3)\n")


def test_json_has_every_field(delays: Delays) -> None:
    late = delays.put("sink", -MINUTE)
    later = delays.put("news", MINUTE, group=True)
    told = delays.json("stats", "--top", "1")
    assert all(told.pop(name).endswith("Z") for name in ("now", "oldest_overdue", "next_due"))
    assert told.pop("overdue_for_ms") in range(MINUTE, MINUTE + 20_000)
    [target] = told.pop("targets")
    assert told == {
        "waiting": 2,
        "held_back": 0,
        "claimed": 0,
        "dead": 0,
        "oldest_overdue_ms": late.due,
        "next_due_ms": later.due,
        "more_targets": 1,
        "away": [],
    }
    assert target.pop("first_due").endswith("Z")
    assert target == {
        "channel": None,
        "group": "news",
        "waiting": 1,
        "held_back": 0,
        "claimed": 0,
        "first_due_ms": later.due,
    }
