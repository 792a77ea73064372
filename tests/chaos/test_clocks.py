"""A server whose own wall clock is an hour off: what counts is the clock of the store, so nobody notices."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..process.conftest import Site
from .ledger import NORMAL_MS, Scene, Sender, percentile, sized

SHIFT = """
import time

_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + {seconds}
time.time_ns = lambda: _time_ns() + {seconds} * 1_000_000_000
print("this clock is {seconds} s off", flush=True)
"""


@pytest.mark.parametrize("seconds", [3_600, -3_600])
@pytest.mark.parametrize("store", ["redis", "postgres"])
def test_a_server_whose_clock_is_an_hour_off_is_in_time(
    request: pytest.FixtureRequest, tmp_path: Path, store: str, seconds: int
) -> None:
    site: Site = request.getfixturevalue(f"{store}_site")
    (tmp_path / "sitecustomize.py").write_text(SHIFT.format(seconds=seconds))
    folders = [str(tmp_path), os.environ.get("PYTHONPATH")]
    env = {"PYTHONPATH": os.pathsep.join(folder for folder in folders if folder)}
    with Scene(site, env=env) as scene:
        scene.fleet.start(1)
        scene.fleet.servers[0].wait_for_line(f"this clock is {seconds} s off")
        with Sender(scene, 100, sized(10.0, 1.0), delays=(0, 1_000)) as sender:
            sender.join(30)
        arrivals = scene.settle(10)
        scene.tell(f"a clock {seconds} s off, {store} store", arrivals)
        scene.ledger.check(arrivals)
        assert percentile(scene.ledger.lateness(arrivals), 100) <= NORMAL_MS
