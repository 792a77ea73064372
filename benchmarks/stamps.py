"""What every handler does, ours and the peers': write down when it was called, in one small append to one file."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.wait import wait_for

PLACE = "BENCHMARKS_STAMPS"


class Stamp(NamedTuple):
    """When a message was due and when its handler began, in ms since the epoch."""

    due: float
    began: float


def stamp(message: Mapping[str, Any]) -> None:
    now = time.time()
    os.write(_file(), b"%.3f %.3f\n" % (message["due"], now * 1_000))


@functools.cache
def _file() -> int:
    return os.open(os.environ[PLACE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


class Stamps:
    """The file, as the benchmark reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clear()

    @property
    def env(self) -> dict[str, str]:
        return {PLACE: str(self.path)}

    def clear(self) -> None:
        self.path.write_bytes(b"")

    def wait(self, number: int, timeout: float) -> list[Stamp]:
        """All stamps, once there are `number`."""
        wait_for(lambda: self._count() >= number, timeout, f"{number} handlers to begin")
        found = [Stamp(*map(float, line.split())) for line in self.path.read_text().splitlines()]
        assert len(found) == number, f"expected {number} handlers to begin, {len(found)} did"
        return found

    def _count(self) -> int:
        return self.path.read_bytes().count(b"\n")
