"""What a project has in an app's ``schedules.py``."""

from __future__ import annotations

import json
import os
from datetime import timedelta

from delayserver import Cron, Every, schedule

for name, options in json.loads(os.environ.get("DELAYSERVER_TEST_SCHEDULES", "{}")).items():
    every = options.pop("every", None)
    when = Cron(options.pop("cron")) if every is None else Every(timedelta(seconds=every))
    schedule(name, when, **options)
