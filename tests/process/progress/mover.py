"""A process that moves work on, as any script may: ``python -m tests.process.progress.mover ID UPDATES SECONDS``."""

from __future__ import annotations

import sys
import time

import django


def main(id: str, updates: int, seconds: float) -> None:
    from delayserver.progress import progress

    with progress(id) as work:
        began = time.monotonic()
        for number in range(1, updates + 1):
            time.sleep(max(0.0, began + number * seconds / updates - time.monotonic()))
            work.update(number, updates)
        work.result = "all"


if __name__ == "__main__":
    django.setup()
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
