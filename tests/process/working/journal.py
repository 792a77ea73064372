"""What handlers write down of what happens to them, and how a test reads it.

It is a file, a line for each note: what was written before a ``kill -9`` is there, whatever Redis goes through.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

FILE = "DELAYSERVER_TEST_JOURNAL"


class Note(NamedTuple):
    """`what` happened to message `n`: it began, ended, or was cut off.

    `attempt` is 0 of a message without `retry`; `at` is `time.monotonic`, one for all processes of the machine;
    `together` is how many of its channel ran in its process then.
    """

    what: str
    n: int
    attempt: int
    channel: str
    pid: int
    at: float
    together: int


# -- in a worker ---------------------------------------------------------------------------------------------

_running: Counter[str] = Counter()


def note(what: str, channel: str, message: Mapping[str, Any]) -> None:
    attempt = message.get("__delay__", {}).get("attempt", 0)
    found = Note(what, message["n"], attempt, channel, os.getpid(), time.monotonic(), _running[channel])
    os.write(_file(os.environ[FILE]), f"{json.dumps(found)}\n".encode())  # appended whole, whoever else writes


@functools.cache
def _file(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@contextlib.contextmanager
def noted(channel: str, message: Mapping[str, Any]) -> Iterator[None]:
    """That it began, and whether it ended or was cut off; of what a handler raises itself, nothing."""
    _running[channel] += 1
    note("began", channel, message)
    try:
        yield
        note("ended", channel, message)
    except BaseException as error:
        if not isinstance(error, Exception):
            note("cut", channel, message)
        raise
    finally:
        _running[channel] -= 1


# -- in a test -----------------------------------------------------------------------------------------------


class Journal:
    def __init__(self, path: Path) -> None:
        path.touch()
        self.path = path
        self._read, self._notes = 0, list[Note]()
        self._times: dict[str, Counter[int]] = defaultdict(Counter)

    def all(self) -> list[Note]:
        """In the order in which they were written."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            lines = file.read().splitlines(keepends=True)
        for line in lines:
            if line.endswith(b"\n"):
                found = Note(*json.loads(line))
                self._notes.append(found)
                self._times[found.what][found.n] += 1
                self._read += len(line)
        return self._notes

    def of(self, what: str, *, pid: int | None = None, channel: str | None = None) -> list[Note]:
        return [
            one for one in self.all() if one.what == what and pid in (None, one.pid) and channel in (None, one.channel)
        ]

    def times(self, what: str) -> Counter[int]:
        """How often it happened to each message."""
        self.all()
        return self._times[what]

    def by_message(self, what: str) -> dict[int, list[Note]]:
        found: dict[int, list[Note]] = defaultdict(list)
        for one in self.of(what):
            found[one.n].append(one)
        return found
