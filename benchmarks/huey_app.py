"""The same handler as a task of huey; its consumer loads this module."""

from __future__ import annotations

import os

from huey import RedisHuey

from .stamps import stamp

huey = RedisHuey("benchmarks", url=os.environ["BENCHMARKS_BROKER"], results=False)
handle = huey.task()(stamp)
