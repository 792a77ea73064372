"""A project with schedules of all three sources, a diary of what they sent, and what must stand in it."""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import redis
from django.db import connections

from delayserver.models import Schedule, ScheduleCursor

from ...chaos.ledger import ROOMY, Reader
from ...support.databases import empty_database
from ...support.process import Process
from ...support.wait import wait_for
from ..conftest import READY, Site

CHANNEL = "sink"
MESSAGE = {"type": "probe"}


class Fired(NamedTuple):
    """An occurrence as it arrived: for which instant, and when, both in milliseconds since the epoch."""

    instant: int
    at: float
    attempt: int
    content: dict[str, Any]


class Diary(Reader):
    """What arrived, by schedule."""

    def fired(self) -> dict[str, list[Fired]]:
        entries = self._client.lrange(self._journal, 0, -1)
        found: dict[str, list[Fired]] = {}
        for at, member in zip(entries[::2], entries[1::2], strict=True):
            content = self._layer.deserialize(member)
            told = content.get("__delay__", {"schedule": "", "scheduled_for": 0, "attempt": 1, "id": ""})
            name, instant = told["schedule"], told["scheduled_for"]
            if name:
                assert told["id"] == f"schedule:{name}:{instant}", told
            found.setdefault(name, []).append(Fired(instant, float(at) * 1000, told["attempt"], content))
        return found

    def of(self, name: str) -> list[Fired]:
        return self.fired().get(name, [])

    def instants(self, name: str) -> list[int]:
        return [one.instant for one in self.of(name)]


@dataclass
class Planned(Site):
    """A project whose rows are in `database`; `code` and `named` (in settings) are schedules, options by name."""

    code: dict[str, dict[str, Any]] = field(default_factory=dict)
    named: dict[str, dict[str, Any]] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    layers: dict[str, Any] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        env = super().env
        settings = json.loads(env["DELAYSERVER_TEST_SETTINGS"])
        more = {"DELAYSERVER_TEST_LAYERS": json.dumps(self.layers)} if self.layers else {}
        path = [*self.folders, *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            **env,
            **more,
            "DJANGO_SETTINGS_MODULE": "tests.process.scheduling.settings",
            "DELAYSERVER_TEST_SETTINGS": json.dumps({**settings, "SCHEDULES": self.named}),
            "DELAYSERVER_TEST_SCHEDULES": json.dumps(self.code),
            "PYTHONPATH": os.pathsep.join(path),
        }

    def launch(self, *args: str, env: Mapping[str, str] | None = None) -> Process:
        """A server that may not be ready yet."""
        return self.start_process(
            [sys.executable, "-m", "django", "rundelay", *args], env={**self.env, **dict(env or {})}
        )

    def serve(self, number: int = 1) -> list[Process]:
        """Servers that are ready."""
        servers = [self.launch() for _ in range(number)]
        for server in servers:
            server.wait_for_line(READY)
        return servers

    def delays(self, *args: str) -> Any:
        """What ``manage.py delays ... --json`` says."""
        process = self.start_process([sys.executable, "-m", "django", "delays", *args, "--json"], env=self.env)
        assert process.wait(30) == 0, str(process)
        return json.loads(process.output)

    def listed(self) -> list[tuple[str, int]]:
        """What waits, by schedule and instant, as a person sees it."""
        ids = [message["id"].split(":") for message in self.delays("list")["messages"]]
        return sorted((name, int(instant)) for _, name, instant in ids)

    def diary(self, channel: str = CHANNEL, client: redis.Redis | None = None) -> Diary:
        return Diary(channel, client or self.redis())

    def rows(self) -> Any:
        return Schedule.objects.using(self.database)

    def add(self, name: str, **parts: Any) -> None:
        self.rows().create(name=name, **{"channel": CHANNEL, "message": MESSAGE, **parts})

    def sql(self, statement: str, *values: str | bool) -> None:
        with connections[self.database or "default"].cursor() as cursor:
            cursor.execute(statement, values)

    def empty(self) -> None:
        if self.database:
            empty_database(self.database)
            ScheduleCursor.objects.using(self.database).all().delete()
            connections[self.database].close()


def planned(store: str, url: str, start_process: Callable[..., Process], database: str | None) -> Planned:
    return Planned(store, url, start_process, database=database, config=dict(ROOMY))


# -- what must stand in the diary ----------------------------------------------------------------------------------


def doubled(instants: Iterable[int]) -> dict[int, int]:
    return {instant: times for instant, times in Counter(instants).items() if times > 1}


def holes(instants: Sequence[int], period: int) -> list[tuple[int, int]]:
    """Where neighbours lie further apart than a period: (the last before, the first after)."""
    each = sorted(set(instants))
    return [(one, two) for one, two in itertools.pairwise(each) if two - one > period]


def off_grid(instants: Iterable[int], period: int, phase: int = 0) -> list[int]:
    return [instant for instant in instants if (instant - phase) % period]


def early(fired: Iterable[Fired]) -> list[float]:
    return [one.at - one.instant for one in fired if one.at < one.instant]


def wait_for_more(diary: Diary, name: str, number: int, timeout: float) -> list[Fired]:
    """So many more of this schedule than there are."""
    before = len(diary.of(name))
    wait_for(lambda: len(diary.of(name)) >= before + number, timeout, f"{number} more of {name}")
    return diary.of(name)[before:]


def wait_past(diary: Diary, names: Collection[str], seconds: float, timeout: float) -> None:
    """Until each of these has sent what is due so many seconds from now, or later."""
    instant = now_ms() + seconds * 1000

    def are_past() -> bool:
        time.sleep(0.05)  # to read the whole diary is not for nothing
        fired = diary.fired()
        return all(any(one.instant >= instant for one in fired.get(name, ())) for name in names)

    wait_for(are_past, timeout, f"{', '.join(names)} past {instant:.0f}")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def emptied(site: Planned) -> Iterator[Planned]:
    """Empty at first, and when it is left."""
    site.empty()
    yield site
    site.empty()
