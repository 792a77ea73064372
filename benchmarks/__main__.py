"""``python -m benchmarks [idle] [rates]``: one table."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from tests.support.servers import RedisServer  # noqa: E402

from . import idle, rates  # noqa: E402

PARTS = {"rates": rates, "idle": idle}
NAMES = ("django", "channels", "channels-redis", "redis")


def main(names: list[str]) -> None:
    unknown = set(names) - set(PARTS)
    if unknown:
        sys.exit(f"expected any of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    versions = ", ".join(f"{name} {version(name)}" for name in NAMES)
    print(f"Python {platform.python_version()}, {versions}, {os.cpu_count()} cores\n")
    print("| work | figure | bare limit in the same run | ratio |\n|---|---|---|---|")
    for name in names or PARTS:
        with RedisServer() as redis:
            for row in PARTS[name].rows(redis):
                print(f"| {row.work} | {row.figure} | {row.bare} | {row.ratio} |", flush=True)


main(sys.argv[1:])
