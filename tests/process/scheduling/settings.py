"""`tests.settings`, and an app that has schedules in its code."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as FEW

INSTALLED_APPS = [*FEW, "tests.process.scheduling"]
