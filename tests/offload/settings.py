"""The tests' project, with a worker for offloads."""

from __future__ import annotations

from tests.settings import *  # noqa: F403

ASGI_APPLICATION = "tests.offload.asgi.application"
LOGGING = {  # the stock worker says so on INFO when it is ready
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
