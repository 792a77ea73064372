"""The tests' project, with a consumer for what arrives."""

from __future__ import annotations

from tests.settings import *  # noqa: F403

ASGI_APPLICATION = "benchmarks.consumer.application"
