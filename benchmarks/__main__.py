"""``python -m benchmarks [PART...] [--quick] [--save]``: one table, next to bare limits and to its peers."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from tests.support.servers import HOST, free_port

PARTS = (
    "schedule",
    "handing",
    "database",
    "lateness",
    "burst",
    "waiting",
    "growth",
    "steering",
    "occurrences",
    "worker",
    "progress",
)
PEERS = ("celery", "huey", "arq")
NEEDS = dict.fromkeys(("database", "waiting", "steering"), "psycopg")
CURE = "`make bench` installs it, and so does pip install '.[dev,bench]'"


def main(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    port = free_port()  # each part gets a Redis of its own there, so that everyone knows where
    url = f"redis://{HOST}:{port}/0"
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        "DELAYSERVER_TEST_REDIS": url,
        "BENCHMARKS_BROKER": url,
    }

    import django

    django.setup()
    from .measure import measure

    measure(options.part or PARTS, port, [name for name in PEERS if find_spec(name)], options.quick, options.save)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; ends with a sentence where something that they need is not installed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what the delay server costs.")
    parser.add_argument("part", nargs="*", help=f"any of {', '.join(PARTS)}; all of them where none is named")
    parser.add_argument("--quick", action="store_true", help="few of everything: shows that it runs, not how fast")
    parser.add_argument("--save", action="store_true", help="write the results, the plots and docs/benchmarks.md")
    options = parser.parse_args(arguments)
    unknown = set(options.part) - set(PARTS)
    if unknown:
        parser.error(f"expected any of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    if options.save and (options.quick or options.part):
        parser.error("expected --save with a full run, got a part of one")
    needed = {NEEDS[name] for name in options.part or PARTS if name in NEEDS} | (
        {"matplotlib"} if options.save else set()
    )
    for name in sorted(needed):
        if not find_spec(name):
            sys.exit(f"{name} is not installed, and this needs it: {CURE}.")
    for name in PEERS:
        if not find_spec(name):
            print(f"{name} is not installed, so its column stays empty: {CURE}.", file=sys.stderr)
    return options


if __name__ == "__main__":
    main(sys.argv[1:])
