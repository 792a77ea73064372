"""``delays list``: a table for people, JSON for scripts, page by page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pytest_django import Settings

from delayserver.backoff import Retry
from delayserver.layers import get_layer

from .conftest import MINUTE, Delays, Terminal

HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE


def test_an_empty_store_says_so(delays: Delays) -> None:
    assert delays("list") == "No message waits.\n"
    assert delays("list", "--channel", "x") == "No message waits that fits.\n"
    assert delays.json("list")["messages"] == []


def test_it_is_a_table_in_due_order(delays: Delays) -> None:
    delays.put("claimed", -MINUTE)
    delays.put("full", -MINUTE)
    delays.claim(full=["full"])
    delays.put("reports", 3 * MINUTE + 9_000, {"type": "report.build", "id": 7}, key="report:7")
    delays.put("dashboard", 5 * HOUR + 9_000, {"type": "refresh", "x": "y" * 20_000}, group=True)
    delays.put("late", -2 * MINUTE - 9_000, {"x": "y" * 20_000, "type": "x"})
    assert delays("list").splitlines() == [
        "DUE            TARGET           TYPE          KEY          SIZE  STATE      ID",
        "overdue 2 min  late             …                       20.0 kB  waiting    00000000000000000000000000000005",
        "in 3 min       reports          report.build  report:7     23 B  waiting    00000000000000000000000000000003",
        "in 10 min      claimed          test.message               19 B  claimed    00000000000000000000000000000001",
        "in 5 h         group dashboard  refresh                 20.0 kB  waiting    00000000000000000000000000000004",
        "60 s ago       full             test.message               19 B  held back  00000000000000000000000000000002",
        "5 messages, and no more.",
    ]


def test_a_narrow_terminal_gets_less_of_the_names_and_all_of_the_ids(
    delays: Delays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    delays.put("a-channel-with-a-long-name", DAY * 3 + 9_000, {"type": "report.build"}, key="k" * 100)
    assert delays("list").splitlines() == [
        "DUE     TARGET    TYPE      KEY        STATE    ID",
        "in 3 d  a-chann…  report.…  kkkkkkkk…  waiting  00000000000000000000000000000001",
        "1 message, and no more.",
    ]


def test_a_pipe_gets_whole_lines(delays: Delays, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "")
    delays.put("x" * 99, DAY, {"type": "y" * 300}, key="z" * 200)
    line = delays("list").splitlines()[1]
    assert all(letter * n in line for letter, n in (("x", 99), ("y", 300), ("z", 200)))


def test_the_head_is_bold_on_a_terminal_that_has_colours(delays: Delays) -> None:
    delays.put("sink", DAY)
    assert "\x1b" not in delays("list")
    assert "\x1b[1m" in delays("list", "--force-color")
    assert "\x1b" not in delays("list", "--no-color", stdout=Terminal())


def test_each_page_tells_the_next(delays: Delays) -> None:
    for n in range(5):
        delays.put("sink", n // 2 * MINUTE + 1_000)
    found: list[Any] = []
    after: list[str] = []
    for _ in range(3):
        *lines, last = delays("list", "--limit", "2", *after).splitlines()
        found += [line[-1] for line in lines[1:]]
        cursor = re.search(r"--after (\S+)$", last)
        after = ["--after", cursor[1]] if cursor else []
    assert found == ["1", "2", "3", "4", "5"]
    assert last == "1 message, and no more."
    page = delays.json("list", "--limit", "3")
    rest = delays.json("list", "--limit", "3", "--after", page["next"])
    assert [one["id"][-1] for one in page["messages"] + rest["messages"]] == found
    assert rest["next"] is None


def test_claimed_and_held_back_messages_are_on_pages_of_their_own(delays: Delays) -> None:
    for channel in ("full", "sink", "full", "sink"):
        delays.put(channel, -1_000)
    delays.claim(full=["full"])
    found: list[Any] = []
    after: list[str] = []
    while True:
        page = delays.json("list", "--limit", "1", *after)
        found += [(one["state"], one["id"][-1]) for one in page["messages"]]
        if page["next"] is None:
            break
        after = ["--after", page["next"]]
    assert found == [("claimed", "2"), ("claimed", "4"), ("held_back", "1"), ("held_back", "3")]


FILTERS = [
    ("--channel chat.a", "1"),
    ("--channel chat.*", "12"),
    ("--channel Chat.*", ""),
    ("--channel *", "123"),
    ("--group *", "4"),
    ("--group news", "4"),
    ("--key job:1", "1"),
    ("--key job:*", "12"),
    ("--due-after 90m", "234"),
    ("--due-before 90m", "1"),
    ("--due-before -5m", ""),
    ("--due-after -5m --due-before 2h30m", "12"),
    ("--channel chat.* --key job:2 --due-after 1h30m", "2"),
    ("--due-before 2001-01-01T00:00:00Z", ""),
    ("--due-after 2001-01-01T00:00:00+01:00", "1234"),
]


@pytest.mark.parametrize(("words", "expected"), FILTERS)
def test_filters_narrow_it(delays: Delays, words: str, expected: str) -> None:
    delays.put("chat.a", HOUR, key="job:1")
    delays.put("chat.b", 2 * HOUR, key="job:2")
    delays.put("other", 3 * HOUR)
    delays.put("news", 4 * HOUR, group=True)
    assert "".join(one["id"][-1] for one in delays.json("list", *words.split())["messages"]) == expected


def test_json_has_every_field(delays: Delays) -> None:
    message = delays.put(
        "sink", DAY, {"type": "probe"}, key="k", retry=Retry(), expires=delays.now + 2 * DAY, attempt=2
    )
    told = delays.json("list")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told["now"])
    [one] = told["messages"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one.pop("due"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one.pop("expires"))
    assert one == {
        "id": message.id,
        "channel": "sink",
        "group": None,
        "type": "probe",
        "key": "k",
        "due_ms": message.due,
        "attempts": 2,
        "size": 12,
        "state": "waiting",
    }
    assert ", 2 attempts  " in delays("list")


def test_what_has_expired_is_told_so(delays: Delays) -> None:
    delays.put("sink", -9_000, expires=delays.now - 5_000)
    assert "9 s ago  sink    test.message  19 B  expired  0" in delays("list")


def test_nothing_in_a_message_can_steer_the_terminal(delays: Delays) -> None:
    delays.put("sink", DAY, {"type": "\x1b]0;owned\x07\n\u202e\x9b2J"})
    line = delays("list").splitlines()[1]
    assert line.isprintable()
    assert r"\u001b]0;owned\u0007\n\u202e\u009b2J" in line


def test_what_is_no_content_is_listed_all_the_same(delays: Delays) -> None:
    for body in (b"", b"\xc1", b"\x93abc", b"\x81\xa4type\x07", b"\x81\x01\x02"):
        delays.put("sink", DAY, body or b"\xc0")
    assert [line.split()[4] for line in delays("list").splitlines()[1:-1]] == ["…"] * 5


def test_sealed_content_is_read_with_the_keys_of_the_layer(delays: Delays, settings: Settings) -> None:
    def use(key: str) -> None:
        layers = settings.CHANNEL_LAYERS
        config = {**layers["default"]["CONFIG"], "symmetric_encryption_keys": [key]}
        settings.CHANNEL_LAYERS = {"default": {**layers["default"], "CONFIG": config}}

    use("one")
    body = get_layer("default").seal(b"\x81\xa4type\xa6secret")
    delays.put("sink", DAY, body)
    assert "secret" in delays("list")
    use("another")
    assert "encrypted" in delays("list")
    assert delays.json("show", delays.made[0].id)["message"]["unreadable"] == "encrypted"


@pytest.mark.parametrize(
    "words", ["--limit 0", "--limit x", "--after x", "--after 9999999999999999999:aa", "--after 1:"]
)
def test_wrong_usage_is_refused(delays: Delays, words: str) -> None:
    assert delays.refused("list", *words.split())[1].startswith(f"Error: argument {words.split()[0]}: expected ")


@pytest.mark.parametrize("kind", ["redis"], indirect=True)
def test_a_cursor_of_another_store_is_refused(delays: Delays) -> None:
    sentence = "expected --after to be from a list of this store, got that of another"
    assert delays.refused("list", "--after", "12:zz") == (2, sentence)
