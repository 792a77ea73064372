"""`tests.settings`, with consumers."""

from __future__ import annotations

from tests.settings import *  # noqa: F403

ASGI_APPLICATION = "tests.process.working.asgi.application"
