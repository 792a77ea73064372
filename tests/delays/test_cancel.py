"""``delays cancel`` and ``delays run-now``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from django.db import transaction

from .conftest import MINUTE, Delays, Terminal


@pytest.fixture
def three(delays: Delays) -> Iterator[Delays]:
    delays.put("chat.a", 5 * MINUTE, key="a")
    delays.put("chat.b", 6 * MINUTE, key="b")
    delays.put("other", 7 * MINUTE)
    yield delays


def test_by_ids(three: Delays) -> None:
    assert three("cancel", three.made[0].id, three.made[2].id, three.made[0].id) == "Cancelled: 2 messages.\n"
    assert three.waiting() == ["2"]


def test_by_key(three: Delays) -> None:
    assert three.json("cancel", "--key", "b") == {"cancelled": 1, "not_found": [], "away": []}
    assert three.waiting() == ["1", "3"]
    assert three.refused("cancel", "--key", "b") == (1, "not waiting (claimed, handed over, or never here): b")


def test_one_that_was_not_in_time_is_named(three: Delays) -> None:
    assert three.refused("cancel", three.made[0].id, "abc") == (
        1,
        "not waiting (claimed, handed over, or never here): abc",
    )
    assert three.waiting() == ["2", "3"]


def test_all_that_fits_when_told_not_to_ask(three: Delays) -> None:
    assert three("cancel", "--channel", "chat.*", "--yes") == "Cancelled 2 messages.\n"
    assert three.waiting() == ["3"]
    assert three("cancel", "--channel", "chat.*") == "No message waits that fits.\n"
    assert three.json("cancel", "--due-after", "1m", "--yes") == {"cancelled": 1, "not_found": [], "away": []}
    assert three.waiting() == []


def test_more_than_a_page(delays: Delays, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("delayserver.stores.shelves.MAX_BATCH", 3)
    monkeypatch.setattr("delayserver.management.delays.steering.MOST_COUNTED", 4)
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    for n in range(8):
        delays.put("sink" if n % 4 else "other", n * 1_000 + MINUTE)
    assert delays("cancel", "--channel", "sink") == "Cancelled 6 messages.\n"
    assert delays.waiting() == ["1", "5"]


@pytest.mark.parametrize(("answer", "left"), [("y\n", "3"), ("YES\n", "3"), ("n\n", "123"), ("\n", "123"), ("", "123")])
def test_it_asks_first(three: Delays, monkeypatch: pytest.MonkeyPatch, answer: str, left: str) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    three("cancel", "--channel", "chat.*")
    assert "".join(three.waiting()) == left


def test_where_nobody_can_be_asked_it_is_refused(three: Delays, monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = "Cancel 2 messages? Nobody can be asked here: add --yes to do it."
    assert three.refused("cancel", "--channel", "chat.*") == (1, sentence)
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert three.refused("cancel", "--channel", "chat.*", "--json") == (1, sentence)
    assert three.waiting() == ["1", "2", "3"]


def test_what_is_claimed_is_not_touched_and_what_is_held_back_is(delays: Delays) -> None:
    delays.put("sink", -1_000)
    delays.put("full", -1_000)
    delays.claim(full=["full"])
    delays.put("sink", -1_000)
    assert delays.refused("cancel", delays.made[0].id)[0] == 1
    assert delays("cancel", "--channel", "*", "--yes") == "Cancelled 2 messages.\n"
    assert delays.waiting() == ["1"]


def test_wrong_usage(three: Delays) -> None:
    assert three.refused("cancel") == (2, "expected IDs, --key or a filter, got none")
    assert three.refused("cancel", "a", "--key", "b") == (2, "expected IDs or filters, got both")
    assert three.refused("cancel", "--yes", "") == (2, "expected an ID of 1 to 200 printable characters, got ''")


def test_run_now_makes_it_due(three: Delays) -> None:
    assert three("run-now", three.made[2].id) == "Due now: 1 message.\n"
    assert three.json("run-now", "--key", "b") == {"due_now": 1, "not_found": [], "away": []}
    assert [claim.message.id[-1] for claim in three.claim()] == ["3", "2"]
    assert three.refused("run-now", three.made[1].id, three.made[0].id)[0] == 1
    assert [claim.message.id[-1] for claim in three.claim()] == ["1"]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"], indirect=True)
def test_it_joins_the_transaction_of_who_calls_it(three: Delays) -> None:
    with transaction.atomic(using=three.using):
        three("cancel", "--channel", "*", "--yes")
        assert three.waiting() == []
        transaction.set_rollback(True, using=three.using)
    assert three.waiting() == ["1", "2", "3"]
