"""The same handler as a job of arq; its worker loads this module, and runs it with the settings at the end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from arq.connections import RedisSettings

from .stamps import stamp


async def handle(context: Mapping[str, Any], message: Mapping[str, Any]) -> None:
    stamp(message)


class WorkerSettings:
    """As quick as it goes: as many jobs at once as `runtasks` has, no results, and it looks every 50 ms, not 500."""

    functions = [handle]
    redis_settings = RedisSettings.from_dsn(os.environ["BENCHMARKS_BROKER"])
    max_jobs = 100
    poll_delay = 0.05
    keep_result = 0
    log_results = False
