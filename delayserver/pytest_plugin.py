"""The pytest fixture ``delays``. pytest finds it by itself, as an entry point, once delayserver is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import Delays


@pytest.fixture
def delays() -> Iterator[Delays]:
    """The test runs inside `delayserver.testing.Delays`."""
    from .testing import Delays  # here: this file is loaded in every run of pytest, before Django is set up

    with Delays() as delays:
        yield delays
