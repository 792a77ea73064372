"""What a project's tests need: a fake clock, and `advance`, which delivers all that comes due.

With pytest, the fixture ``delays`` is there once delayserver is installed::

    def test_the_report_is_built_at_night(delays):
        book_report()
        delays.advance(hours=8)

In a Django `TestCase`, mix in `DelaysMixin` and use ``self.delays``. Anywhere else it is ``with Delays() as delays:``.

In the order in which to read: `delays` (all that a test calls), `server` (what comes due, step by step), `consumers`
(how they run, and how it is known that they are done), `layer` and `store` (which can be looked into), `sought` (what
assertions look for, and their sentences), `clock`.
"""

from __future__ import annotations

from .clock import FakeClock
from .delays import Delays, DelaysMixin
from .layer import Delivered

__all__ = ["Delays", "DelaysMixin", "Delivered", "FakeClock"]
