"""`Delays`: for as long as it is entered, time stands still and nothing goes out, until the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Unpack
from unittest import TestCase, TestResult, mock

from asgiref.sync import async_to_sync
from channels import db
from channels.layers import channel_layers
from channels.routing import get_default_application
from django.conf import settings as django_settings
from django.test.utils import override_settings

from ..clock import SystemClock
from ..conf import IN_MEMORY_LAYER, get_settings, known_layers
from ..embedded import Embedded
from ..handling import Application
from ..message import DeadLetter, Message, at_instant, instant_of, milliseconds
from .clock import FakeClock
from .layer import Delivered
from .server import SteppedServer
from .sought import Sought, SoughtDelivered, delivered_line, failure, found, scheduled_line
from .store import ReadableStore


class Delays:
    """A context manager. Inside it, messages wait in memory and go out on the in-memory layer, when `advance` says so.

    start
        where the clock stands at first: an aware datetime (default: the present)
    application
        runs the messages of worker channels (default: the project's own, ``ASGI_APPLICATION``). With one that is
        given, ``CHECK_HANDLERS`` is off: who reads what is in no routing then
    max_messages
        how many messages one `advance` handles, before it takes the rest for endless
    schedules
        True where the project's schedules shall run, too: from the first `advance` on

    Only the clock of the delay server is moved: the project's own calls of ``timezone.now()`` are not.
    """

    def __init__(
        self,
        *,
        start: datetime | None = None,
        application: Application | None = None,
        max_messages: int = 10_000,
        schedules: bool = False,
    ) -> None:
        self.clock = FakeClock(SystemClock().now() if start is None else instant_of("start", start))
        self.application = application
        self.max_messages = max_messages
        self._store = ReadableStore(clock=self.clock)
        self._server = SteppedServer(self.clock, self._store, schedules=schedules)
        self._entered: ExitStack | None = None

    def __enter__(self) -> Delays:
        if self._entered is not None:
            raise RuntimeError("these Delays are entered already")
        with ExitStack() as stack:
            alias, layers = get_settings().channel_layer, dict(channel_layers.backends)
            stack.callback(_put_back, layers)
            stack.enter_context(override_settings(**self._settings(alias)))
            _put_back({name: layer for name, layer in layers.items() if name != alias})
            stack.enter_context(self._server.handlers.watched())
            # A test's transaction must outlive its consumers, which Channels lets close their connections.
            stack.enter_context(mock.patch.object(db, "close_old_connections", _nothing))
            # One delay server is enough: where the project embeds its own, that does not start.
            stack.enter_context(mock.patch.object(Embedded, "_start"))
            self._entered = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        assert self._entered is not None
        self._entered.close()
        self._entered = None

    def _settings(self, alias: str) -> dict[str, Any]:
        entry = known_layers().get(alias)
        config = entry.get("CONFIG") if isinstance(entry, Mapping) else None
        capacity = {"capacity": config["capacity"]} if isinstance(config, Mapping) and "capacity" in config else {}
        in_memory = {"BACKEND": IN_MEMORY_LAYER, "CONFIG": capacity}
        store = f"{ReadableStore.__module__}.{ReadableStore.__qualname__}"
        given: Mapping[str, Any] = getattr(django_settings, "DELAYSERVER", {})
        ours: dict[str, Any] = {"STORE": store, "STORE_OPTIONS": {"store": self._store}}
        if self.application is not None:
            ours["CHECK_HANDLERS"] = False
        return {
            "CHANNEL_LAYERS": {**known_layers(), alias: in_memory},
            "DELAYSERVER": {**given, **ours},
        }

    # -- time ---------------------------------------------------------------------------------------------

    def advance(
        self, delta: int | timedelta | None = None, *, to: datetime | None = None, **parts: float
    ) -> list[Delivered]:
        """Move the clock on, and deliver all that comes due on the way, in order; what was delivered.

        By whole milliseconds or a timedelta; or `to` an aware datetime; or by the keywords of a timedelta, as in
        ``advance(hours=1)``. ``advance(0)`` delivers what is due now.

        The clock goes from one due instant to the next. At each, one message after the other is handed over, and its
        consumers run to their end before the next goes out; so what they schedule meanwhile goes out too, if it is due
        by then. Consumers of worker channels are run here, a new instance for each message, and what they raise is
        raised. Consumers under a `WebsocketCommunicator` run by themselves, and are waited for.

        Raises `AssertionError` after `max_messages`. After any error the clock stands where it was raised.
        """
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("advance() was called in a running event loop: use `await delays.aadvance(...)` there")
        return async_to_sync(self.aadvance)(delta, to=to, **parts)

    async def aadvance(
        self, delta: int | timedelta | None = None, *, to: datetime | None = None, **parts: float
    ) -> list[Delivered]:
        """As `advance`."""
        target = self._target(delta, to, parts)
        if self._entered is None:
            raise RuntimeError("expected these Delays to be entered: `with Delays() as delays:`")
        before = len(self._server.delivered)
        await self._server.advance(target, self._find_application(), self.max_messages)
        return self._server.delivered[before:]

    def _find_application(self) -> Application | None:
        if self.application is not None:
            return self.application
        if not getattr(django_settings, "ASGI_APPLICATION", None):
            return None
        application: Application = get_default_application()
        return application

    def _target(self, delta: object, to: object, parts: Mapping[str, float]) -> int:
        """Where the clock shall stand, in milliseconds since the epoch."""
        ways = [delta is not None, to is not None, bool(parts)]
        if sum(ways) != 1:
            raise TypeError(
                "expected one of: milliseconds or a timedelta, to=, parts of a timedelta such as hours=1;"
                f" got {'none' if not any(ways) else 'more'}"
            )
        now = self.clock.now()
        if to is not None:
            target = instant_of("to=", to)
            if target < now:
                raise ValueError(f"expected to= not to be before {self.now}, where the clock stands, got {to}")
            return target
        return now + milliseconds("the time to advance", timedelta(**parts) if parts else delta)

    # -- what is there ------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """Where the clock stands (UTC)."""
        return at_instant(self.clock.now())

    @property
    def scheduled(self) -> list[Message]:
        """What waits, in due order; `eta` is the instant at which each is due."""
        self._look()
        return self._store.scheduled()

    @property
    def delivered(self) -> list[Delivered]:
        """What was delivered so far, in order."""
        return list(self._server.delivered)

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """What could not be accepted or handed over, or was out of attempts; the oldest first."""
        self._look()
        return self._store.dead()

    def _look(self) -> None:
        """What was sent to ``asgi.delay`` belongs to it."""
        if self._entered is not None:
            self._server.take_in()

    # -- assertions ---------------------------------------------------------------------------------------

    def assert_scheduled(self, *, count: int = 1, **sought: Unpack[Sought]) -> Message:
        """`count` messages wait that are as `sought`; the first of them."""
        __tracebackhide__ = True
        messages, matching = self._scheduled(sought)
        self._check(len(matching) == _positive(count), f"{count} scheduled", sought, messages, matching)
        return matching[0]

    def assert_not_scheduled(self, **sought: Unpack[Sought]) -> None:
        """No message waits that is as `sought`."""
        __tracebackhide__ = True
        messages, matching = self._scheduled(sought)
        self._check(not matching, "none scheduled", sought, messages, matching)

    def assert_nothing_scheduled(self) -> None:
        """No message waits."""
        __tracebackhide__ = True
        self.assert_not_scheduled()

    def assert_delivered(self, *, count: int = 1, **sought: Unpack[SoughtDelivered]) -> Delivered:
        """`count` messages were delivered so far that are as `sought`; the first of them."""
        __tracebackhide__ = True
        messages = self._server.delivered
        matching = found(messages, sought, SoughtDelivered, self.clock.now())
        if len(matching) != _positive(count):
            raise AssertionError(failure(f"{count} delivered", sought, messages, matching, delivered_line))
        return matching[0]

    def _scheduled(self, sought: Mapping[str, Any]) -> tuple[list[Message], list[Message]]:
        messages = self.scheduled
        return messages, found(messages, sought, Sought, self.clock.now())

    def _check(
        self, fits: bool, expected: str, sought: Mapping[str, Any], messages: list[Message], matching: list[Message]
    ) -> None:
        __tracebackhide__ = True
        if not fits:
            raise AssertionError(failure(expected, sought, messages, matching, self._line))

    def _line(self, message: Message) -> str:
        return scheduled_line(message, self.clock.now())


def _put_back(layers: Mapping[str, Any]) -> None:
    """Layers that were there before the settings changed are there again, and what lies on them."""
    for alias, layer in layers.items():
        channel_layers.set(alias, layer)


def _positive(count: int) -> int:
    if count < 1:
        raise ValueError(f"expected count to be 1 or more, got {count}; for none there is assert_not_scheduled")
    return count


def _nothing() -> None:
    """In place of what there is no need for in a test."""


if TYPE_CHECKING:
    _Base = TestCase
else:
    _Base = object


class DelaysMixin(_Base):
    """For any `TestCase` of Django: each test runs inside a `Delays` of its own, ``self.delays``."""

    delays: Delays

    def run(self, result: TestResult | None = None) -> TestResult | None:
        with Delays() as self.delays:
            return super().run(result)
