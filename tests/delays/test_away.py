"""``delays`` where one of a layer's hosts is away: the others are shown, and a line on stderr says what is not."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import msgpack
import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from pytest_django import Settings

from delayserver.conf import REDIS_LAYER
from delayserver.message import DeadLetter, Target, Waiting
from delayserver.stores import get_stores

from ..support.servers import free_port
from .conftest import MINUTE


class Halved:
    """The command, on two hosts, of which the first is away; the message and the dead letter that the other has."""

    def __init__(self, away: str) -> None:
        self.line = f"{away} is away: what waits there is not shown"
        self.away, self.err = away, ""
        store = get_stores()[1]
        now = store.read_clock().now()
        body = msgpack.packb({"type": "test.message"})
        self.message = Waiting("1" * 32, now + MINUTE, Target("channel", "sink"), body, key="k")
        self.letter = DeadLetter("2" * 32, now - MINUTE, "junk", "asgi.delay", b"junk")
        store.put([self.message])
        async_to_sync(store.refuse)([self.letter])

    def __call__(self, *words: str) -> str:
        out, err = io.StringIO(), io.StringIO()
        try:
            call_command("delays", *words, stdout=out, stderr=err)
        finally:
            self.err = err.getvalue()
        return out.getvalue()

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))

    def refused(self, *words: str) -> str:
        with pytest.raises(CommandError) as refused:
            self(*words)
        assert refused.value.returncode == 1
        return str(refused.value)


@pytest.fixture
def halved(settings: Settings, redis_url: str) -> Iterator[Halved]:
    away = f"redis://127.0.0.1:{free_port()}"
    hosts = [{"address": f"{away}/0", "socket_timeout": None}, {"address": redis_url, "socket_timeout": None}]
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": REDIS_LAYER, "CONFIG": {"hosts": hosts}}}
    settings.DELAYSERVER = {}
    yield Halved(f"{away}/0")


def test_lists_show_the_others_and_say_so_once(halved: Halved) -> None:
    assert halved.message.id in halved("list")
    assert halved.err.splitlines() == [halved.line]
    assert halved.letter.id in halved("dead")
    assert halved.err.splitlines() == [halved.line]
    assert "waiting         1\n" in halved("stats")
    assert halved.err.splitlines() == [halved.line]


def test_json_names_who_is_away(halved: Halved) -> None:
    for words in (("list",), ("list", "--key", "k"), ("dead",), ("stats",)):
        assert halved.json(*words)["away"] == [halved.away]
        assert halved.err.splitlines() == [halved.line]


def test_what_is_named_is_found_on_the_others(halved: Halved) -> None:
    assert halved.message.id in halved("show", halved.message.id)
    assert halved.letter.id in halved("show", halved.letter.id)
    assert halved.message.id in halved("show", "--key", "k")
    assert halved("run-now", halved.message.id) == "Due now: 1 message.\n"
    assert halved.json("cancel", halved.message.id) == {"cancelled": 1, "not_found": [], "away": [halved.away]}
    assert halved("purge", halved.letter.id) == "Purged 1 dead letter.\n"
    assert halved.err.splitlines() == [halved.line]


@pytest.mark.parametrize(
    "words",
    [
        ("show", "f" * 32),
        ("show", "--key", "other"),
        ("run-now", "f" * 32),
        ("cancel", "f" * 32),
        ("cancel", "--key", "other"),
        ("requeue", "f" * 32),
        ("purge", "f" * 32),
    ],
)
def test_what_is_not_found_may_be_there(halved: Halved, words: tuple[str, ...]) -> None:
    sentence = halved.refused(*words)
    assert "the Redis store did not answer" in sentence
    assert str(urlsplit(halved.away).port) in sentence


def test_of_several_those_that_are_found_are_done(halved: Halved) -> None:
    missed = "not waiting (claimed, handed over, or never here, or on a store that is away): " + "f" * 32
    assert halved.refused("run-now", "f" * 32, halved.message.id) == missed
    assert halved.refused("cancel", "f" * 32, halved.message.id) == missed
    missed = "no dead letter where a store answers has this id: " + "f" * 32
    assert halved.refused("purge", "f" * 32, halved.letter.id) == missed
    assert halved.json("list")["messages"] == halved.json("dead")["dead_letters"] == []


def test_a_bulk_is_done_on_the_others(halved: Halved) -> None:
    assert halved("cancel", "--channel", "sink", "--yes") == "Cancelled 1 message.\n"
    assert halved("purge", "--all", "--yes") == "Purged 1 dead letter.\n"
    assert halved.err.splitlines() == [halved.line]


def test_when_all_are_away_that_is_an_error(settings: Settings) -> None:
    hosts = [f"redis://127.0.0.1:{free_port()}" for _ in range(2)]
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": REDIS_LAYER, "CONFIG": {"hosts": hosts}}}
    settings.DELAYSERVER = {}
    for subcommand in ("list", "dead", "stats"):
        with pytest.raises(CommandError, match="the Redis store did not answer"):
            call_command("delays", subcommand)
