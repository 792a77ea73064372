"""``delays send``: as `send_later` does."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import pytest

from delayserver.stores.base import Named

from .conftest import MINUTE, Delays


def stored(delays: Delays, told: dict[str, Any]) -> Any:
    found = delays.store.get(Named(told["id"]))
    assert found is not None
    assert (found.due, True) == (told["due_ms"], told["created"])
    return found


def test_a_message_to_a_channel(delays: Delays) -> None:
    found = stored(delays, delays.json("send", "reports", '{"type": "report.build", "id": 7}', "--delay", "5m"))
    assert (found.target.kind, found.target.name, found.key) == ("channel", "reports", None)
    assert found.content() == {"type": "report.build", "id": 7}
    assert 4 * MINUTE < found.due - delays.now < 6 * MINUTE


def test_a_group_a_type_and_all_options(delays: Delays) -> None:
    told = delays.json(
        *("send", "--group", "dash", "--type", "refresh", "--eta", "2040-01-01T00:00:00+01:00"),
        *("--key", "k", "--expires", "2041-01-01T00:00:00Z"),
    )
    found = stored(delays, told)
    assert (found.target.kind, found.target.name, found.key) == ("group", "dash", "k")
    assert (told["due"], found.expires) == ("2039-12-31T23:00:00.000Z", 2_240_611_200_000)
    assert found.content() == {"type": "refresh"}


def test_the_delay_is_milliseconds_and_0_by_default(delays: Delays) -> None:
    at_once = stored(delays, delays.json("send", "a", "--type", "t"))
    assert at_once.due < delays.now + MINUTE
    later = stored(delays, delays.json("send", "a", "--type", "t", "--delay", "600000", "--expires", "20m"))
    assert later.expires - later.due == 600_000


def test_content_from_stdin_and_options_between_the_words(delays: Delays, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"type": "t", "x": [1]}'))
    assert stored(delays, delays.json("send", "a", "--delay", "1h", "-")).content() == {"type": "t", "x": [1]}


def test_it_says_id_and_due(delays: Delays) -> None:
    text = delays("send", "a", "--type", "t", "--delay", "5m", "--key", "k")
    instant = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} CES?T"
    assert re.fullmatch(rf"Stored: [0-9a-f]{{32}}, due in 5 min \({instant}\)\n", text)
    kept = delays("send", "a", "--type", "t", "--delay", "5m", "--key", "k")
    assert kept.replace("Kept what waits under that key", "Stored")[:40] == text[:40]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["a", "[1]"], 1, "expected content to be a dict, got a value of type list"),
        (["a b", "{}"], 1, "expected channel to be a name of 1 to 99 ASCII letters.*"),
        (["asgi.delay", '{"type": "t"}'], 1, "expected a target other than asgi.delay itself"),
        (["a", '{"type": "t"}', "--delay", "101000w"], 1, "expected delay to be from 0 to .*"),
        (
            ["a", '{"type": "t"}', "--key", "k", "--on-conflict", "error"],
            1,
            "a message with key 'k' is waiting already",
        ),
        (["a", '{"type":'], 2, r"expected CONTENT to be JSON, got '\{\"type\":' \(.*\)"),
        (["a", "[" * 100_000], 2, r"expected CONTENT to be JSON, got '\[+'\.\.\. \(.*\)"),
        ([], 2, "expected CHANNEL and CONTENT, got 0 words"),
        (["a"], 2, "expected CHANNEL and CONTENT, got 1 words"),
        (["a", "{}", "--type", "t"], 2, "expected CHANNEL, got 2 words"),
        (["a", "--group", "b", "--type", "t"], 2, "expected no more words, got 1 words"),
    ],
)
def test_what_is_wrong_is_refused(delays: Delays, words: list[str], code: int, sentence: str) -> None:
    delays("send", "a", "--type", "t", "--delay", "5m", "--key", "k")
    came = delays.refused("send", *words)
    assert came[0] == code
    assert re.fullmatch(sentence, came[1]), came[1]
    assert len(delays.waiting()) == 1
