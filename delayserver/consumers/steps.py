"""One run of a poller's step: begin, look, and put the next; or say how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction
from channels.db import database_sync_to_async

from ..changing import aget
from ..errors import InvalidMessage
from ..events import HANDLER_FAILED, emit
from ..message import Ticket, at_instant, milliseconds
from ..progress import Progress
from ..progress.board import Decide, get_board
from ..progress.making import is_id
from ..progress.record import Record, Run, short, shown_result
from ..progress.stepping import Beginning, Refused, ended, failed, goes_on, parked
from ..progress.tending import is_watched, step_id
from ..sending import asend_as
from ..stores import get_stores
from ..telling import told
from ..tickets import ticket_of
from ..verdicts import Again, Done, Fail, Outcome, Unsaid

if TYPE_CHECKING:
    from .polling import PollingConsumer

PARKED_MS = 3_600_000  # how long a step that nobody watches waits, unless somebody comes
QUIET_SHARE = 2  # adaptive: the wait is the time for which nothing has changed, divided by this
RENEWALS = 3  # in an ack timeout, where no worker of ours renews it

Message = Mapping[str, Any]


async def run_step(poller: PollingConsumer, channel: str, message: Message) -> Outcome:
    """What becomes of the message that is a step of this poller, on this channel."""
    run = _run_of(message)
    if run is None:  # somebody sent it who is not its store
        return Fail("expected a poller's step as its store hands it over, got something else")
    beginning = Beginning(run)
    record = await asyncio.wrap_future(get_board().write(message["progress"], beginning))
    if record is None:
        return Unsaid() if beginning.refused is Refused.COPY else Done()
    if run.attempt > 1 and await aget(step_id(record.id, run.step + 1)) is not None:
        return Done()  # this step was over before, and only its ack was lost
    poller.work = Progress(record, run=run)
    return await Step(poller, channel, message, run, record).outcome()


def _run_of(message: Message) -> Run | None:
    """Which run of which step it begins; None for what is no step."""
    ticket, step = ticket_of(message), message.get("step")
    if ticket is None or type(step) is not int or step < 1:
        return None
    return Run(step, ticket.attempt) if is_id(message.get("progress")) and "job" in message else None


class Step:
    """A run that has begun."""

    def __init__(self, poller: PollingConsumer, channel: str, message: Message, run: Run, record: Record) -> None:
        self._poller, self._channel, self._message = poller, channel, message
        self._run, self._record = run, record

    async def outcome(self) -> Outcome:
        """Of the message."""
        seconds = self._seconds_left()
        if seconds == 0:
            return await self._too_late()
        try:
            async with asyncio.timeout(seconds) as limit:
                verdict = await self._polled()
        except (Again, Fail) as said:
            verdict = said
        except NotImplementedError as error:
            return await self._raised(error, for_good=True)
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if _cuts_off(error):
                raise
            if isinstance(error, TimeoutError) and limit.expired():
                return await self._too_late()
            return await self._raised(error)
        return await self._said(verdict)

    async def _polled(self) -> object:
        poll = self._poller.poll
        return await (poll if iscoroutinefunction(poll) else database_sync_to_async(poll))(self._message["job"])

    def _seconds_left(self) -> float | None:
        """Until it has taken too long; 0 where it has."""
        longest = self._poller.max_duration
        if longest is None:
            return None
        return max(0.0, longest.total_seconds() - get_board().age(self._record) / 1000)

    async def _said(self, verdict: object) -> Outcome:
        try:
            match verdict:
                case Done(result=result):
                    return await self._end("succeeded", result=shown_result(result))
                case Fail(reason=reason):
                    await self._end("failed", error=short(reason))
                    return verdict
                case Again(delay=delay):
                    await self._go_on(delay)
                    return Done()
        except InvalidMessage as error:
            return await self._raised(error)
        kind = type(verdict).__name__
        fault = TypeError(f"expected poll to return Done, Again or Fail, got {kind}")
        return await self._raised(fault, for_good=True)

    # -- it is over ----------------------------------------------------------------------------------------------

    async def _end(self, state: str, **changes: object) -> Outcome:
        attempt = self._record.failures + 1
        await self._write(functools.partial(ended, self._run, {"state": state, "attempt": attempt, **changes}))
        return Done()

    async def _too_late(self) -> Outcome:
        return await self._end("timed_out", error=f"it was not done within {self._poller.max_duration}")

    async def _raised(self, error: BaseException, *, for_good: bool = False) -> Outcome:
        """It comes again, unless it did too often, or always would; then it has failed."""
        failures, retry, channel = self._record.failures + 1, self._poller.retry, self._channel
        if failures < retry.max_attempts and not retry.gives_up_on(error) and not for_good:
            wait = retry.wait(failures)
            then = f"attempt {failures} of {retry.max_attempts}, again in {wait / 1000:.1f} s"
            emit(HANDLER_FAILED, of=channel, error=error, channel=channel, then=then)
            await self._write(functools.partial(failed, self._run, failures))
            return Again(delay=wait)
        emit(HANDLER_FAILED, of=channel, error=error, channel=channel, then="its progress has failed")
        reason = short(told(error))
        await self._end("failed", error=reason)
        return Fail(reason)

    async def _write(self, decide: Decide) -> Record | None:
        return await asyncio.wrap_future(get_board().write(self._record.id, decide))

    # -- the next ------------------------------------------------------------------------------------------------

    async def _go_on(self, delay: int | None) -> None:
        # What was noted is written first: no other process's next step shall overtake it.
        record = await self._write(functools.partial(goes_on, self._run))
        if record is None:
            return
        due, id, step = await self._next_due(record, delay), record.id, self._run.step + 1
        await asend_as(
            step_id(id, step),
            self._poller.step_message(self._channel, self._message["job"], id, step, eta=at_instant(due)),
        )

    async def _next_due(self, record: Record, delay: int | None) -> int:
        """In ms since the epoch. On the grid of this step, where it is not over late."""
        clock = await get_stores()[0].aread_clock()
        if self._poller.stop_when_unwatched and await self._parks():
            return clock.due(PARKED_MS)
        if delay is not None:
            return clock.due(delay)
        return max(int(self._message["__delay__"]["due"]) + self._apart(record), clock.now())

    def _apart(self, record: Record) -> int:
        """How far apart steps are, in ms."""
        every = milliseconds("every", self._poller.every)
        if self._poller.adaptive is None:
            return every
        longest = milliseconds("adaptive", self._poller.adaptive)
        return max(every, min(longest, Progress(record).quiet_ms // QUIET_SHARE))

    async def _parks(self) -> bool:
        board = get_board()
        if await asyncio.wrap_future(board.submit(is_watched(board, self._record.id))):
            return False
        return await self._write(functools.partial(parked, self._run)) is not None


def _cuts_off(error: BaseException) -> bool:
    """Whether it is not `poll` that ends, but the worker."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and bool(task.cancelling())


# -- where no worker of ours does it ---------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def renewed(message: Message, ack_seconds: float) -> AsyncIterator[None]:
    """Its ack timeout is renewed for as long as this is entered."""
    ticket = ticket_of(message)
    if ticket is None:
        yield
        return
    renewing = asyncio.create_task(_renew(ticket, ack_seconds / RENEWALS), name="delayserver poller")
    try:
        yield
    finally:
        renewing.cancel()


async def _renew(ticket: Ticket, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        # In a thread of its own: a plain `poll` has the one in which a store's async verbs may work.
        await database_sync_to_async(_renew_once, thread_sensitive=False)(ticket)


def _renew_once(ticket: Ticket) -> None:
    for store in get_stores():
        with contextlib.suppress(Exception):  # in time for the next, a store may be back
            store.renew([ticket], store.read_clock().now())
