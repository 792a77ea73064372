"""The project's own settings; and the fixture `delays`, which pytest finds by itself where delayserver is installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from delayserver.pytest_plugin import delays

from .project import happened

__all__ = ["delays"]


@pytest.fixture(autouse=True)
def project(settings: Settings) -> Iterator[None]:
    settings.ASGI_APPLICATION = "tests.testing.project.application"
    happened.clear()
    yield
    happened.clear()
