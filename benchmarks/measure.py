"""The parts one after the other, each on a fresh Redis; a line of the table as soon as it is known."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from tests.support.servers import RedisServer

from . import report
from .parts import Row, Run


def measure(parts: Sequence[str], port: int, peers: Sequence[str], quick: bool, save: bool) -> None:
    run = Run(quick, tuple(peers))
    rows: list[Row] = []
    start = time.monotonic()
    about: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": report.machine(),
        "load": round(os.getloadavg()[0], 2),
    }
    print(report.head(), flush=True)
    for part in parts:
        began = time.monotonic()
        run.redis = RedisServer(port=port)
        with run.redis:
            run.versions |= report.versions(run.redis)
            for row in import_module(f"{__package__}.{part}").rows(run):
                rows.append(row)
                print(report.line(row), flush=True)
        print(f"({part}: {time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
    about |= {"versions": run.versions, "seconds": round(time.monotonic() - start)}
    print("", *run.facts, "", sep="\n")
    print(report.where(about))
    if save:
        report.save(run, rows, about)
