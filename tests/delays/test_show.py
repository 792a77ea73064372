"""``delays show``: all of one message, or dead letter."""

from __future__ import annotations

import re

from delayserver.backoff import Retry

from .conftest import MINUTE, Delays

CONTENT = {
    "type": "report.build",
    "raw": b"\x00\xff",
    "text": "ü\x1b[2J\n",
    "deep": {"a": [1, 2.5, None, True], "b": {}},
}


def without_instants(text: str) -> str:
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} CES?T", "INSTANT", text)


def test_it_shows_all_of_a_message(delays: Delays) -> None:
    message = delays.put(
        "reports", 5 * MINUTE + 5_000, CONTENT, key="k", retry=Retry(), expires=delays.now + 61 * MINUTE
    )
    expected = """\
id       00000000000000000000000000000001
channel  reports
key      k
due      in 5 min (INSTANT)
expires  in 61 min (INSTANT)
retry    until acked, at most 5 attempts, 1 s apart at first, 60 min at last; ack within 30 s
size     64 B
content
{
  "type": "report.build",
  "raw": b'\\x00\\xff',
  "text": "ü\\u001b[2J\\n",
  "deep": {
    "a": [
      1,
      2.5,
      null,
      true
    ],
    "b": {}
  }
}
"""
    assert without_instants(delays("show", message.id)) == expected
    assert without_instants(delays("show", "--key", "k")) == expected


def test_it_says_what_no_attempt_is_made_after(delays: Delays) -> None:
    message = delays.put("sink", MINUTE, CONTENT, retry=Retry(give_up_on=(ValueError, "shop.errors.Re\u0301fused")))
    assert "; ack within 30 s; given up on builtins.ValueError, shop.errors.Re\u0301fused\n" in delays(
        "show", message.id
    )
    told = delays.json("show", message.id)["message"]["retry"]
    assert told["give_up_on"] == ["builtins.ValueError", "shop.errors.Re\u0301fused"]


def test_a_long_content_is_shortened_unless_all_is_asked_for(delays: Delays) -> None:
    message = delays.put("sink", MINUTE, {"type": "x", "text": "y" * 10_000})
    short, full = delays("show", message.id), delays("show", message.id, "--full")
    assert "content, the beginning (all of it: --full)\n" in short
    assert len(short) < 700
    assert "y" * 10_000 in full
    assert delays.json("show", message.id)["message"]["content"]["text"] == "y" * 10_000


def test_json_has_every_field(delays: Delays) -> None:
    message = delays.put("dash", MINUTE, {"type": "x", "raw": b"\xff", "n": float("inf")}, group=True, retry=Retry())
    told = delays.json("show", message.id)["message"]
    del told["due"]
    assert told == {
        "id": message.id,
        "channel": None,
        "group": "dash",
        "type": "x",
        "key": None,
        "due_ms": message.due,
        "expires": None,
        "attempts": 0,
        "size": len(message.body),
        "retry": Retry().to_wire(),
        "content": {"type": "x", "raw": {"__bytes__": "/w=="}, "n": {"__float__": "inf"}},
        "unreadable": None,
    }


def test_it_finds_a_dead_letter_too(delays: Delays) -> None:
    letter = delays.bury(delays.put("sink", -1_000, CONTENT, key="k"), "no\x1b[2J")
    assert without_instants(delays("show", letter.id)).startswith(
        "dead letter  00000000000000000000000000000001\n"
        "died         5 min ago (INSTANT)\n"
        "reason       no\\u001b[2J\n"
        "channel      sink\n"
        "key          k\n"
        "size         64 B\n"
        "content\n{\n"
    )
    told = delays.json("show", letter.id)["dead_letter"]
    assert (told["is_message"], told["channel"], told["content"]["type"]) == (True, "sink", "report.build")


def test_a_letter_that_never_was_a_message_shows_its_bytes(delays: Delays) -> None:
    letter = delays.refuse("ff", b"\x82junk\x1b")
    text = delays("show", letter.id)
    assert "source       asgi.delay\n" in text
    assert text.endswith("body\nb'\\x82junk\\x1b'\n")
    told = delays.json("show", letter.id)["dead_letter"]
    assert (told["is_message"], told["content"]) == (False, {"__bytes__": "gmp1bmsb"})
    assert told["unreadable"] == "no message"


def test_content_that_cannot_be_read_is_shown_as_bytes(delays: Delays) -> None:
    message = delays.put("sink", MINUTE, b"\xc1\x00")
    assert delays("show", message.id).endswith("content, not msgpack (FormatError)\nb'\\xc1\\x00'\n")
    assert delays.json("show", message.id)["message"]["content"] == {"__bytes__": "wQA="}


def test_what_is_not_here_is_refused(delays: Delays) -> None:
    assert delays.refused("show", "abc") == (
        1,
        "no message abc waits (it may be claimed, or gone), and no dead letter has that id",
    )
    assert delays.refused("show", "--key", "k") == (1, "no message waits under the key k")
    assert delays.refused("show") == (2, "expected an ID or --key, got neither")
    assert delays.refused("show", "a", "--key", "k") == (2, "expected an ID or --key, got both")
    assert delays.refused("show", "a", "b") == (2, "expected one ID, got several")
    assert delays.refused("show", "a" * 201)[0] == 2
