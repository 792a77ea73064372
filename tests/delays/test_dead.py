"""``delays dead``, ``requeue`` and ``purge``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from .conftest import MINUTE, Delays, Terminal


@pytest.fixture
def dead(delays: Delays) -> Iterator[Delays]:
    """A message that died 5 minutes ago, another 10 days, and what never was one, an hour ago."""
    delays.bury(delays.put("reports", -1_000, {"type": "report.build"}, key="k"), "expected this, got that " * 9)
    delays.bury(delays.put("dash", -1_000, group=True), "expected a, got b", ago=10 * 24 * 60 * MINUTE)
    delays.refuse("f" * 32)
    yield delays


def letters(delays: Delays) -> list[str]:
    return [letter["id"][-1] for letter in delays.json("dead")["dead_letters"]]


def test_the_list_is_newest_first(dead: Delays) -> None:
    told = dead("dead")
    assert told.splitlines() == [
        "DIED        TARGET           TYPE          REASON                                       ID",
        "5 min ago   reports          report.build  expected this, got that expected this, got…  " + "0" * 31 + "1",
        "60 min ago  from asgi.delay                expected a dict, got none                    " + "f" * 32,
        "10 d ago    group dash       test.message  expected a, got b                            " + "0" * 31 + "2",
        "3 dead letters, and no more.",
    ]
    assert dead("dead", "list") == told


def test_none(delays: Delays) -> None:
    assert delays("dead") == "No dead letters.\n"
    assert delays("requeue", "--all") == "No dead letters.\n"
    assert delays("purge", "--all") == "No dead letters.\n"
    assert delays("purge", "--older-than", "1d") == "No dead letters that old.\n"


def test_pages(dead: Delays) -> None:
    page = dead.json("dead", "list", "--limit", "2")
    assert [one["id"][-1] for one in page["dead_letters"]] == ["1", "f"]
    rest = dead.json("dead", "--after", page["next"])
    assert ([one["id"][-1] for one in rest["dead_letters"]], rest["next"]) == (["2"], None)
    assert f"--after {page['next']}\n" in dead("dead", "--limit", "2")


def test_json_has_every_field(dead: Delays) -> None:
    told = dead.json("dead")["dead_letters"]
    assert all(letter.pop("died").endswith("Z") and letter.pop("died_ms") for letter in told)
    assert told[1:] == [
        {
            "id": "f" * 32,
            "reason": "expected a dict, got none",
            "source": "asgi.delay",
            "is_message": False,
            "channel": None,
            "group": None,
            "type": None,
            "key": None,
        },
        {
            "id": "0" * 31 + "2",
            "reason": "expected a, got b",
            "source": "dash",
            "is_message": True,
            "channel": None,
            "group": "dash",
            "type": "test.message",
            "key": None,
        },
    ]


@pytest.mark.parametrize("name", ["requeue", "dead requeue"])
def test_requeue(dead: Delays, name: str) -> None:
    assert dead(*name.split(), "0" * 31 + "1") == "Requeued 1 message, due now.\n"
    assert letters(dead) == ["f", "2"]
    assert [claim.message.key for claim in dead.claim()] == ["k"]


def test_what_never_was_a_message_cannot_be_requeued(dead: Delays) -> None:
    code, sentence = dead.refused("requeue", "f" * 32, "abc", "0" * 31 + "2")
    assert code == 1
    assert sentence == (
        "no dead letter has this id: abc; what came never was a message, so it cannot be sent: " + "f" * 32
    )
    assert letters(dead) == ["1", "f"]


def test_requeue_all(dead: Delays, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("delayserver.stores.shelves.LETTERS_AT_ONCE", 1)
    assert dead.refused("requeue", "--all")[0] == 1
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert dead("requeue", "--all") == (
        "Requeued 2 messages, due now.\n1 dead letter stayed: what came never was a message.\n"
    )
    assert letters(dead) == ["f"]
    assert dead.json("requeue", "--all", "--yes") == {
        "requeued": 0,
        "not_found": [],
        "no_message": ["f" * 32],
        "away": [],
    }


@pytest.mark.parametrize("name", ["purge", "dead purge"])
def test_purge(dead: Delays, name: str) -> None:
    assert dead(*name.split(), "f" * 32) == "Purged 1 dead letter.\n"
    assert letters(dead) == ["1", "2"]
    assert dead.refused(*name.split(), "f" * 32, "0" * 31 + "2") == (1, "no dead letter has this id: " + "f" * 32)
    assert letters(dead) == ["1"]


def test_purge_by_age_and_all(dead: Delays) -> None:
    assert dead.refused("purge", "--older-than", "7d")[0] == 1
    assert dead.json("purge", "--older-than", "7d", "--yes") == {"purged": 1, "not_found": [], "away": []}
    assert letters(dead) == ["1", "f"]
    assert dead("purge", "--all", "--yes") == "Purged 2 dead letters.\n"
    assert letters(dead) == []


def test_wrong_usage(dead: Delays) -> None:
    assert dead.refused("purge") == (2, "expected IDs or --all or --older-than, got neither")
    assert dead.refused("requeue", "a", "--all") == (2, "expected IDs or --all, got both")
    assert dead.refused("purge", "--older-than", "-7d")[1].endswith("expected how long ago (7d), got '-7d'")
