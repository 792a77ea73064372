"""Pollers: work that is looked at again and again until it is done, one message a step.

Between two steps a poller is a waiting message, and nothing else: no task sleeps for it, no process remembers it. Each
step stays in the store until the next one is there, so a chain that is cut by a crash goes on by itself. Steps have
numbers, and the progress knows which run of which step began last: a copy of it, or an older one, does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar, Unpack

from asgiref.sync import iscoroutinefunction
from channels.consumer import AsyncConsumer
from channels.db import database_sync_to_async

from ..backoff import MAX_ATTEMPTS, Retry
from ..changing import aget
from ..errors import InvalidMessage
from ..events import HANDLER_FAILED, emit
from ..handling import VERDICT
from ..message import Message, Ticket, at_instant, milliseconds
from ..progress import Progress
from ..progress.board import get_board
from ..progress.handle import Known, Noted, is_id, joined, new_record
from ..progress.record import Number, Record, Run, short, shown_result
from ..progress.stepping import Beginning, Refused, ended, failed, goes_on, parked
from ..progress.watching import is_watched, say_watched, step_id
from ..sending import asend_as, send_as
from ..stores import get_stores
from ..telling import told
from ..tickets import ticket_of
from ..verdicts import Again, Done, Fail, Outcome, Unsaid
from .mixin import AckingMixin

STEP = "poller.step"
PARKED_MS = 3_600_000  # how long a step that nobody watches waits, unless somebody comes
QUIET_SHARE = 2  # adaptive: the wait is the time for which nothing has changed, divided by this
RENEWALS = 3  # in an ack timeout, where no worker of ours renews it


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
    _run: Run
    _failures: int

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
        return cls._step(channel, job, record.id, 1, delay=delay), record

    @classmethod
    def _step(cls, channel: str, job: object, id: str, step: int, **time: Any) -> Message:
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
        run = _run_of(message)
        if run is None:  # somebody sent it who is not its store
            return Fail("expected a poller's step as its store hands it over, got something else")
        beginning = Beginning(run)
        record = await asyncio.wrap_future(get_board().write(message["progress"], beginning))
        if record is None:
            return Unsaid() if beginning.refused is Refused.COPY else Done()
        if run.attempt > 1 and await self._is_put(record.id, run.step + 1):
            return Done()
        self.work, self._run, self._failures = Progress(record, run=run), run, record.failures
        async with self._renewed(message):
            return await self._look(record, message)

    async def _look(self, record: Record, message: Mapping[str, Any]) -> Outcome:
        seconds = self._seconds_left(record)
        if seconds == 0:
            return await self._too_late()
        try:
            async with asyncio.timeout(seconds) as limit:
                verdict = await self._polled(message["job"])
        except (Again, Fail) as said:
            verdict = said
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if _cuts_off(error):
                raise
            if isinstance(error, TimeoutError) and limit.expired():
                return await self._too_late()
            return await self._raised(error, message)
        match verdict:
            case Done(result=result):
                return await self._done(result, message)
            case Fail(reason=reason):
                await self._end("failed", error=short(reason))
                return verdict
            case Again(delay=delay):
                await self._go_on(message, delay)
                return Done()
        kind = type(verdict).__name__
        return await self._raised(TypeError(f"expected poll to return Done, Again or Fail, got {kind}"), message)

    async def _polled(self, job: Any) -> object:
        poll = self.poll if iscoroutinefunction(self.poll) else database_sync_to_async(self.poll)
        return await poll(job)

    def _seconds_left(self, record: Record) -> float | None:
        """Until it has taken too long; 0 where it has."""
        if self.max_duration is None:
            return None
        return max(0.0, self.max_duration.total_seconds() - get_board().age(record) / 1000)

    async def _done(self, result: object, message: Mapping[str, Any]) -> Outcome:
        try:
            kept = shown_result(result)
        except InvalidMessage as error:
            return await self._raised(error, message)
        return await self._end("succeeded", result=kept)

    async def _end(self, state: str, **changes: object) -> Outcome:
        change = functools.partial(ended, self._run, {"state": state, "attempt": self._failures + 1, **changes})
        await asyncio.wrap_future(get_board().write(self.work.id, change))
        return Done()

    async def _too_late(self) -> Outcome:
        return await self._end("timed_out", error=f"it was not done within {self.max_duration}")

    async def _raised(self, error: BaseException, message: Mapping[str, Any]) -> Outcome:
        """It comes again, unless it did too often; then it has failed."""
        failures = self._failures + 1
        channel = self._channel
        if failures < self.retry.max_attempts and not self.retry.gives_up_on(error):
            wait = self.retry.wait(failures)
            then = f"attempt {failures} of {self.retry.max_attempts}, again in {wait / 1000:.1f} s"
            emit(HANDLER_FAILED, of=channel, error=error, channel=channel, then=then)
            await asyncio.wrap_future(get_board().write(self.work.id, functools.partial(failed, self._run, failures)))
            return Again(delay=wait)
        emit(HANDLER_FAILED, of=channel, error=error, channel=channel, then="its progress has failed")
        reason = short(told(error))
        await self._end("failed", error=reason)
        return Fail(reason)

    # -- the next ------------------------------------------------------------------------------------------------

    async def _go_on(self, message: Mapping[str, Any], delay: int | None) -> None:
        # What was noted is written first: no other process's next step shall overtake it.
        going_on = functools.partial(goes_on, self._run)
        record = await asyncio.wrap_future(get_board().write(self.work.id, going_on))
        if record is None:
            return
        self.work = Progress(record, run=self._run)
        due = await self._next_due(message, delay)
        step = message["step"] + 1
        next_step = self._step(self._channel, message["job"], self.work.id, step, eta=at_instant(due))
        await asend_as(step_id(self.work.id, step), next_step)

    async def _next_due(self, message: Mapping[str, Any], delay: int | None) -> int:
        """In ms since the epoch. On the grid of this step, where it is not over late."""
        clock = await get_stores()[0].aread_clock()
        if self.stop_when_unwatched and await self._parks():
            return clock.due(PARKED_MS)
        if delay is not None:
            return clock.due(delay)
        due = int(message["__delay__"]["due"]) + await self._apart()
        return max(due, clock.now())

    async def _apart(self) -> int:
        """How far apart steps are, in ms."""
        every = milliseconds("every", self.every)
        if self.adaptive is None:
            return every
        return max(every, min(milliseconds("adaptive", self.adaptive), self.work.quiet_ms // QUIET_SHARE))

    async def _parks(self) -> bool:
        board = get_board()
        if await asyncio.wrap_future(board.submit(is_watched(board, self.work.id))):
            return False
        parks = functools.partial(parked, self._run)
        return await asyncio.wrap_future(board.write(self.work.id, parks)) is not None

    async def _is_put(self, id: str, step: int) -> bool:
        """Whether this step was over before, and only its ack was lost."""
        return await aget(step_id(id, step)) is not None

    @contextlib.asynccontextmanager
    async def _renewed(self, message: Mapping[str, Any]) -> AsyncIterator[None]:
        """Its ack timeout is renewed while it runs, where no worker of ours does that."""
        if VERDICT in self.scope:
            yield
            return
        renewing = asyncio.create_task(self._renew(message), name="delayserver poller")
        try:
            yield
        finally:
            renewing.cancel()

    async def _renew(self, message: Mapping[str, Any]) -> None:
        ticket = ticket_of(message)
        assert ticket is not None
        while True:
            await asyncio.sleep(self.retry.ack_timeout.total_seconds() / RENEWALS)
            # In a thread of its own: a plain `poll` has the one in which a store's async verbs may work.
            await database_sync_to_async(_renew_once, thread_sensitive=False)(ticket)


def _renew_once(ticket: Ticket) -> None:
    for store in get_stores():
        with contextlib.suppress(Exception):  # in time for the next, a store may be back
            store.renew([ticket], store.read_clock().now())


def _run_of(message: Mapping[str, Any]) -> Run | None:
    """Which run of which step it begins; None for what is no step."""
    ticket, step = ticket_of(message), message.get("step")
    if ticket is None or type(step) is not int or step < 1:
        return None
    return Run(step, ticket.attempt) if is_id(message.get("progress")) and "job" in message else None


def _cuts_off(error: BaseException) -> bool:
    """Whether it is not `poll` that ends, but the worker."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and bool(task.cancelling())


async def _opened(channel: str, key: str | None, record: Record) -> Record:
    """Its progress, or that of the poller which has its key. In the board's thread."""
    board = get_board()
    found = await board.put(record) if key is None else await joined(board, f"{channel}:{key}", record)
    if found.pauses:
        await say_watched(board, found.id)
    return found
