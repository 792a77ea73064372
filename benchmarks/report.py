"""A run as one table; and, when it is to be kept, as JSON and as the page of the docs that shows it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tests.support.servers import RedisServer

from .parts import Row, Run, client_of
from .peers import PEERS

PACKAGES = ("delayserver", "django", "channels", "channels-redis", "redis", "psycopg", "celery", "huey", "arq")
DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, FOLDER = DOCS / "benchmarks.md", DOCS / "benchmarks"
BEGIN, END = "<!-- written by python -m benchmarks --save -->\n", "<!-- end -->\n"

HEAD = ["work", "ours", "bare limit in the same run", "ratio", *(peer.title for peer in PEERS.values()), "goal"]


def head() -> str:
    return f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}"


def line(row: Row) -> str:
    goal = f"{row.goal.text}: {'met' if row.goal.met else '**missed**'}" if row.goal else ""
    cells = [row.work, row.ours, row.bare, row.ratio, *(row.peers.get(name, "") for name in PEERS), goal]
    return f"| {' | '.join(cells)} |"


# -- where it ran ----------------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "cpu": _cpu(), "kernel": platform.release(), "system": platform.system()}


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    names = [one.partition(":")[2].strip() for one in path.read_text().splitlines() if one.startswith("model name")]
    return names[0] if names else platform.machine()


def versions(redis: RedisServer) -> dict[str, str]:
    found = {"python": platform.python_version(), "redis-server": _redis_version(redis)}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _redis_version(server: RedisServer) -> str:
    with client_of(server) as client:
        about: Any = client.info("server")
    return str(about["redis_version"])


def where(about: Mapping[str, Any]) -> str:
    """When, on what machine, and what ran on it."""
    machine = about["machine"]
    names = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return (
        f"Measured on {about['date']} in {about['seconds']} s, on {machine['cores']} cores ({machine['cpu']}),"
        f" {machine['system']} {machine['kernel']}; load average before it {about['load']}. Versions: {names}."
    )


# -- what is kept ----------------------------------------------------------------------------------------------


def save(run: Run, rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    """Write ``docs/benchmarks/results.json``, the plots, and their part of ``docs/benchmarks.md``."""
    from .plots import draw

    FOLDER.mkdir(exist_ok=True)
    results = {**about, "rows": [asdict(row) for row in rows], "facts": run.facts, "curves": run.curves}
    (FOLDER / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    draw(run.curves, FOLDER)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}{_part(run, rows, about)}{END}{after}")


PLOTS = {
    "lateness": "## Lateness in the handler\n\n![How many messages reached their handler within how many milliseconds]",
    "growth": "## Growth\n\n![Lateness on the channel and the rate of puts, by the number of pending messages]",
}


def _part(run: Run, rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    facts = "\n".join(f"- {fact}" for fact in run.facts)
    table = "\n".join([head(), *map(line, rows)])
    plots = "".join(f"{text}(benchmarks/{name}.svg)\n\n" for name, text in PLOTS.items() if name in run.curves)
    source = "The same as JSON: [results.json](benchmarks/results.json)."
    return f"\n{facts}\n\n{table}\n\n{where(about)} {source}\n\n{plots}"
