"""``manage.py delays`` in this process, on each kind of store."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack
import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.db import connections
from pytest_django import DjangoDbBlocker, Settings

from delayserver.conf import REDIS_LAYER
from delayserver.message import Claim, DeadLetter, Target, Waiting
from delayserver.stores import get_stores
from delayserver.stores.base import Store

from ..process.conftest import site as site  # the project as a user runs it
from ..support.databases import close_connections_of_async_tests, empty_database

KINDS = ("redis", "sqlite", "postgres")
MINUTE = 60_000


class Terminal(io.StringIO):
    """A stdin or stdout that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass
class Delays:
    """The command, and the store behind it. Messages get the ids ``0...1``, ``0...2`` and so on."""

    using: str | None = None
    made: list[Waiting] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return get_stores()[0]

    @property
    def now(self) -> int:
        return self.store.read_clock().now()

    def __call__(self, *words: str, **options: Any) -> str:
        """What it prints."""
        out = options.pop("stdout", io.StringIO())
        call_command("delays", *words, stdout=out, stderr=io.StringIO(), **options)
        text: str = out.getvalue()
        return text

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))

    def refused(self, *words: str) -> tuple[int, str]:
        """The exit code and the sentence."""
        with pytest.raises(CommandError) as refused:
            self(*words)
        return refused.value.returncode, str(refused.value)

    def put(self, channel: str, in_ms: int, content: object = None, *, group: bool = False, **parts: Any) -> Waiting:
        """A message that waits, due so many milliseconds from now."""
        body = content if isinstance(content, bytes) else msgpack.packb(content or {"type": "test.message"})
        target = Target("group" if group else "channel", channel)
        message = Waiting(f"{len(self.made) + 1:032x}", self.now + in_ms, target, body, **parts)
        self.store.put([message])
        self.made.append(message)
        return message

    def claim(self, limit: int = 100, lease: int = 10 * MINUTE, full: Sequence[str] = ()) -> list[Claim]:
        return async_to_sync(self.store.claim)(self.now, limit, lease, full)

    def bury(self, message: Waiting, reason: str = "it would not go", ago: int = 5 * MINUTE) -> DeadLetter:
        """The message, which is due, as a dead letter."""
        [claim] = [claim for claim in self.claim() if claim.message.id == message.id]
        letter = DeadLetter.of(claim.message, self.now - ago, reason)
        assert async_to_sync(self.store.bury)([claim], [letter]) == [True]
        return letter

    def refuse(self, id: str, body: bytes = b"junk", ago: int = 60 * MINUTE) -> DeadLetter:
        """A dead letter that never was a message."""
        letter = DeadLetter(id, self.now - ago, "expected a dict, got none", "asgi.delay", body)
        async_to_sync(self.store.refuse)([letter])
        return letter

    def waiting(self) -> list[str]:
        """The last digits of the ids that are listed."""
        return [one["id"][-1] for one in self.json("list")["messages"]]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def delays(
    kind: str,
    request: pytest.FixtureRequest,
    settings: Settings,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Delays]:
    monkeypatch.setenv("COLUMNS", "120")
    settings.TIME_ZONE = "Europe/Berlin"
    hosts = [{"address": redis_url, "socket_timeout": None}]
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": REDIS_LAYER, "CONFIG": {"hosts": hosts}}}
    if kind == "redis":
        settings.DELAYSERVER = {}
        yield Delays()
        return
    alias = request.getfixturevalue(f"{kind}_database")
    settings.DELAYSERVER = {"STORE": "database", "STORE_OPTIONS": {"using": alias}}
    with django_db_blocker.unblock():
        yield Delays(alias)
        empty_database(alias)
        connections[alias].close()


@pytest.fixture
def rows(
    delays: Delays,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[str]:
    """The database where schedules can be rows: beside the messages, or one for them alone."""
    if delays.using is not None:
        yield delays.using
        close_connections_of_async_tests()
        return
    alias: str = request.getfixturevalue("sqlite_database")
    monkeypatch.setattr("delayserver.stores.database_schedules.database", lambda: alias)
    with django_db_blocker.unblock():
        yield alias
        empty_database(alias)
        connections[alias].close()
        close_connections_of_async_tests()
