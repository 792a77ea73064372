"""``manage.py`` of the project: ``python -m tests.process.working runtasks work``.

It leads a process group, as what a shell starts in the foreground does, so that a test can press Ctrl-C. With
``DELAYSERVER_TEST_LEASE`` (seconds) a hand's lease is shorter, so that a test need not wait long after a death.
"""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line

from delayserver.layers import channels_redis_source


def main() -> None:
    os.setpgrp()
    if lease := os.environ.get("DELAYSERVER_TEST_LEASE"):
        channels_redis_source.LEASE_SECONDS = channels_redis_source.RedisSource.lease = float(lease)
    execute_from_command_line(["manage.py", *sys.argv[1:]])


if __name__ == "__main__":
    main()
