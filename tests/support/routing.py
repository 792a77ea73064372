"""An ASGI application of the project's, for one test."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from pytest_django import Settings


class Project:
    """The project's ``ASGI_APPLICATION``, whatever it was before."""

    def __init__(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        self._settings, self._monkeypatch = settings, monkeypatch

    def serve(self, application: Any) -> None:
        module = ModuleType("delayserver_tests_asgi")
        module.__dict__["application"] = application
        self._monkeypatch.setitem(sys.modules, module.__name__, module)
        self._settings.ASGI_APPLICATION = f"{module.__name__}.application"
