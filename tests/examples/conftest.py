"""What the tests of the examples share: a browser, and an order in which nobody waits for the idle one."""

from __future__ import annotations

import pytest

from ..support.browser import browser as browser

OPENED_FIRST, ASKED_LAST = "test_fifty_browsers_at_once_on_redis", "test_an_idle_websocket_stays_open"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Within its module, the idle WebSocket opens first and is asked last: the others run meanwhile."""
    places = [place for place, item in enumerate(items) if item.path.name == "test_progrock.py"]
    order = {OPENED_FIRST: 0, ASKED_LAST: 2}
    ordered = sorted((items[place] for place in places), key=lambda item: order.get(item.name, 1))
    for place, item in zip(places, ordered, strict=True):
        items[place] = item
