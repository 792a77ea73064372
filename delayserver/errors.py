"""What can go wrong, as one tree.

::

    DelayServerError
    ├── InvalidMessage        the message can never be handed over; says what was expected and what came
    ├── InvalidSchedule       a schedule that cannot be kept; says which part, what was expected and what came
    ├── KeyTaken              a message with this key is waiting already (``on_conflict="error"``)
    ├── StoreUnavailable      the store could not be reached, so nothing was stored
    ├── OffloadFailed         what was offloaded could not be done; says what came instead
    │   ├── OffloadTimeout    it was not done in time, or nobody answered
    │   └── OffloadRefused    it may not be done, and nothing was; names the setting
    └── ConfigurationError    the settings do not fit together; says the cure
"""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured


class DelayServerError(Exception):
    """Every error this package raises on purpose."""


class InvalidMessage(DelayServerError, ValueError):
    """A message that can never be handed over."""


class InvalidSchedule(DelayServerError, ValueError):
    """A schedule that cannot be kept; `part` names what is at fault, where that is one part."""

    def __init__(self, sentence: str, part: str | None = None) -> None:
        super().__init__(sentence)
        self.part = part


class KeyTaken(DelayServerError):
    """A message with this key is waiting, and the caller asked for an error then."""


class StoreUnavailable(DelayServerError, ConnectionError):
    """The store did not answer; the message was not stored, as far as we know."""


class OffloadFailed(DelayServerError):
    """What was offloaded was begun and could not be done, or could not be handed over."""


class OffloadTimeout(OffloadFailed, TimeoutError):
    """No answer in time. It may be done all the same, or be done yet."""


class OffloadRefused(OffloadFailed, ValueError):
    """Not allowed by the settings, over a limit, or nothing that could ever be done."""


class ConfigurationError(DelayServerError, ImproperlyConfigured):
    """Settings that are unknown, of a wrong type, or impossible together."""
