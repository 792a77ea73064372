"""Pollers: work that is looked at again and again until it is done, one message a step.

Between two steps a poller is a waiting message, and nothing else: no task sleeps for it, no process remembers it. Each
step stays in the store until the next one is there, so a chain that is cut by a crash goes on by itself. Steps have
numbers, and the progress knows which run of which step began last: a copy of it, or an older one, does nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar, Unpack

from channels.consumer import AsyncConsumer

from ..backoff import MAX_ATTEMPTS, Retry
from ..content import shown
from ..errors import InvalidMessage
from ..handling import VERDICT
from ..message import Message, milliseconds
from ..progress import Progress
from ..progress.board import get_board
from ..progress.handle import Noted
from ..progress.making import Known, joined, new_record
from ..progress.record import Number, Record
from ..progress.tending import say_watched, step_id
from ..sending import asend_as, send_as
from ..verdicts import Again, Done, Fail, Outcome
from .mixin import AckingMixin
from .steps import renewed, run_step

STEP = "poller.step"


class PollingConsumer(AckingMixin, AsyncConsumer):  # type: ignore[misc]  # Channels has no types
    """Work that is looked at again and again: ``poll(job)`` says `Done`, `Again` or `Fail`.

    every
        from one step to the next, milliseconds or a timedelta; on a grid that does not drift
    max_duration
        a timedelta after which the state is ``timed_out``; None for as long as it takes
    adaptive
        a timedelta: while nothing changes steps get further apart, up to this; None for always `every`
    stop_when_unwatched
        whether steps wait while nobody watches: from some 15 s after the last one has left until one comes back
    retry
        what becomes of a step that raises: so many attempts, so far apart, and then it has failed. A step that no
        worker has handled for its ``ack_timeout`` is handed over again, up to 1 000 times

    A step is never run by two at once, and the next one never before it is over.
    """

    every: ClassVar[timedelta | int] = timedelta(seconds=1)
    max_duration: ClassVar[timedelta | None] = None
    adaptive: ClassVar[timedelta | None] = None
    stop_when_unwatched: ClassVar[bool] = False
    retry: ClassVar[Retry] = Retry()

    work: Progress  # as it was when the step began

    def __init_subclass__(cls, **options: Any) -> None:
        """`InvalidMessage` for an option that is none, where the class is made."""
        super().__init_subclass__(**options)
        for name, check in CHECKS.items():
            given = vars(cls).get(name, getattr(PollingConsumer, name))
            if not hasattr(given, "__get__"):  # a property says it later
                check(name, given)

    async def poll(self, job: Any) -> Done | Again | Fail:
        """Look at the work once. `job` is what `start` was given. A plain ``def`` runs in a thread."""
        raise NotImplementedError(f"expected {type(self).__name__} to have a method poll(self, job), got none")

    def progress(self, current: Number | None = None, total: Number | None = None, *, text: str | None = None) -> Noted:
        """How far it is: as `Progress.update`. A plain ``def`` calls it, async code can await it, too."""
        return self.work.update(current, total, text=text)

    # -- started -------------------------------------------------------------------------------------------------

    @classmethod
    async def start(
        cls,
        channel: str,
        job: object = None,
        *,
        key: str | None = None,
        delay: int | timedelta = 0,
        **known: Unpack[Known],
    ) -> Progress:
        """Begin after `delay` on `channel`, where a worker runs this consumer; what is returned shows how it goes.

        `job` is anything that a message can carry. With a `key` it joins the poller of that key and channel which runs:
        any number of callers then watch one piece of work. Raises as `asend_later`.
        """
        first, record = cls._first(channel, job, delay, known)
        board = get_board()
        record = await asyncio.wrap_future(board.submit(_opened(channel, key, record)))
        if not record.run.step:
            await asend_as(step_id(record.id, 1), cls._named(first, record.id))
        return Progress(record, user=known.get("user"))

    @classmethod
    def start_sync(
        cls,
        channel: str,
        job: object = None,
        *,
        key: str | None = None,
        delay: int | timedelta = 0,
        **known: Unpack[Known],
    ) -> Progress:
        """As `start`, for sync code. In a transaction, the first step waits for the commit as `send_later` does."""
        first, record = cls._first(channel, job, delay, known)
        board = get_board()
        record = board.submit(_opened(channel, key, record)).result()
        if not record.run.step:
            send_as(step_id(record.id, 1), cls._named(first, record.id))
        return Progress(record, user=known.get("user"))

    @classmethod
    def _first(cls, channel: str, job: object, delay: int | timedelta, known: Known) -> tuple[Message, Record]:
        """Its first step and its progress, checked, before anything is stored."""
        record = new_record(known, poller=True, pauses=cls.stop_when_unwatched)
        return cls.step_message(channel, job, record.id, 1, delay=delay), record

    @classmethod
    def step_message(cls, channel: str, job: object, id: str, step: int, **time: Any) -> Message:
        """The message that is this step of the work `id`; `time` is its ``delay`` or ``eta``."""
        content = {"type": STEP, "progress": id, "step": step, "job": job}
        # Its key says in which store it is, however often it is put. One key for all steps would let an old one, put
        # by who was slow, keep the next from being put. How often a step may fail is counted by its progress: that no
        # worker is there is no failure.
        retry = replace(cls.retry, max_attempts=MAX_ATTEMPTS)
        return Message(channel=channel, content=content, key=step_id(id, step), retry=retry, **time)

    @staticmethod
    def _named(first: Message, id: str) -> Message:
        """The first step of the work that was joined."""
        return replace(first, content={**first.content, "progress": id}, key=step_id(id, 1))

    # -- a step --------------------------------------------------------------------------------------------------

    async def poller_step(self, message: Mapping[str, Any]) -> Outcome:
        """One step: begin, look, and put the next."""
        if VERDICT in self.scope:
            return await run_step(self, self._channel, message)
        async with renewed(message, self.retry.ack_timeout.total_seconds()):
            return await run_step(self, self._channel, message)


async def _opened(channel: str, key: str | None, record: Record) -> Record:
    """Its progress, or that of the poller which has its key. In the board's thread."""
    board = get_board()
    found = await board.put(record) if key is None else await joined(board, f"{channel}:{key}", record)
    if found.pauses:
        await say_watched(board, found.id)
    return found


def _check_span(name: str, value: object) -> None:
    if value is not None and not isinstance(value, timedelta):
        raise InvalidMessage(f"expected {name} to be a timedelta or None, got {shown(value)}")
    if value is not None:
        milliseconds(name, value)


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidMessage(f"expected {name} to be True or False, got {shown(value)}")


def _check_retry(name: str, value: object) -> None:
    if not isinstance(value, Retry):
        raise InvalidMessage(f"expected {name} to be a Retry, got {shown(value)}")


CHECKS: Mapping[str, Callable[[str, object], object]] = {
    "every": milliseconds,
    "max_duration": _check_span,
    "adaptive": _check_span,
    "stop_when_unwatched": _check_flag,
    "retry": _check_retry,
}
