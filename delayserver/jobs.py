"""What a worker has in hand: each message from when it is taken until the store has its end.

It is begun, unless it is a copy of what was handed over again; its handler runs; what became of it is settled; and then
it leaves the hand. When the worker stops, what is not handled in time is given back.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

from .acking import Handled, Settling
from .clock import monotonic
from .events import TAKEN, WORKER_GAVE_BACK, WORKER_STALE, WORKER_STOPPING, count, emit
from .handling import Application, OneMessage, fault_of, handle
from .keeping import Job, Keeper
from .layers.base import Source, Taken
from .loops.base import insist
from .loops.room import Room
from .loops.settling import SettlingLoop
from .stores.base import MAX_BATCH, Store
from .suspects import Suspects
from .threads import Threads
from .tickets import UNSAID_SECONDS, may_be_unkept, ticket_of
from .verdicts import Done, Outcome, Raised, Unfit

CANCEL_SECONDS = 1.0  # how long handlers that are cut off may take to clean up
LAST_SECONDS = 5.0  # how long it may take to give back what is left, when the worker stops


class Jobs:
    """Runs `application` for what is taken, and says what becomes of it to `stores`.

    one_act
        whether a store knows of a hand-over before a worker can take the message
    done
        is called for each message that has left the hand
    """

    def __init__(
        self,
        application: Application,
        stores: Sequence[Store],
        settling: Settling,
        room: Room,
        threads: Threads,
        *,
        one_act: bool,
        done: Callable[[Job], None],
    ) -> None:
        self._application, self._stores, self._settling = application, stores, settling
        self._room, self._threads, self._one_act, self._done = room, threads, one_act, done
        self.settler = SettlingLoop(settling)
        self._tasks: dict[Job, asyncio.Task[None] | None] = {}  # None until it is begun
        self._keeper = Keeper(self._tasks)
        self._quiet, self._suspects = asyncio.Event(), Suspects()

    def close(self) -> None:
        """After the last of them."""
        self._keeper.stop()
        self._threads.stop()

    async def begin(self, source: Source, taken: Sequence[Taken]) -> None:
        """Run what can be run; of the others, say why not. If it raises, what is not begun is given back."""
        count(TAKEN, len(taken))
        now = monotonic()
        jobs = [Job(source, one, now, ticket_of(one.content)) for one in taken]
        self._tasks.update(dict.fromkeys(jobs))
        if self._room.closed:  # meanwhile
            await self._put_down(jobs)
            return
        self._keeper.begin()
        special: list[Job] = []
        for job in jobs:
            fault = job.taken.fault or fault_of(job.taken.content)
            if fault is not None:
                self._end(job, Unfit(fault))
            elif job.ticket is not None or job.taken.again:
                special.append(job)
            else:
                self._start(job)
        if special:
            try:
                await self._begin_special(source, special)
            except BaseException:
                await self._put_down([job for job in special if job in self._tasks and self._tasks[job] is None])
                raise

    async def _put_down(self, jobs: Sequence[Job]) -> None:
        """Not begun -> on the channel; if that cannot be, their leases run out."""
        try:
            await self._give_back(jobs)
        finally:
            for job in jobs:
                if self._tasks.pop(job, job) is None:
                    self._room.free(job.taken.channel)

    async def _begin_special(self, source: Source, jobs: Sequence[Job]) -> None:
        """Those whose store has a say, and those that were in hand when a worker died."""
        await self._renew(jobs)
        unknown = [job for job in jobs if job.ticket and not job.store and not may_be_unkept(job.taken.content)]
        for job in unknown:
            self._begin_unknown(job)
        await self._begin_known(source, [job for job in jobs if job not in unknown])

    async def _begin_known(self, source: Source, jobs: Sequence[Job]) -> None:
        """Those of which a store knows, or that need none."""
        died = [job for job in jobs if job.taken.again]
        await self._suspects.tell_died(source, died)
        resumed = [job for job in died if job.store is not None]
        await self._settling.give_back([job.ticket for job in resumed if job.ticket], died=True)
        for job in resumed:  # the store hands it over again, with another attempt
            self._forget(job)
        rest = [job for job in jobs if job not in resumed]
        deaths = await self._suspects.among(source, rest)
        for job in rest:
            self._start(job, deaths.get(job, 0))

    async def _renew(self, jobs: Sequence[Job]) -> None:
        """Acks count from now. Each gets the store that knows of it: none does of a copy of what was handed over again,
        or is done.
        """
        asked = [job for job in jobs if job.ticket is not None]
        for store in self._stores:
            for start in range(0, len(asked), MAX_BATCH):
                await self._renew_in(store, asked[start : start + MAX_BATCH])
            asked = [job for job in asked if job.store is None]

    async def _renew_in(self, store: Store, jobs: Sequence[Job]) -> None:
        now = (await store.aread_clock()).now()
        dues = await store.arenew([job.ticket for job in jobs if job.ticket], now)
        for job, due in zip(jobs, dues, strict=True):
            if due is not None:
                job.store, job.ack_seconds = store, (due - now) / 1000
                job.acked_by = monotonic() + job.ack_seconds

    def _begin_unknown(self, job: Job) -> None:
        """A copy of what was handed over again, or is done; or its server is about to say that it handed it over."""
        if self._one_act:
            self._leave_out(job)
        else:
            name = f"handler {job.taken.channel}"
            self._tasks[job] = asyncio.create_task(self._ask_again(job), name=name)

    async def _ask_again(self, job: Job) -> None:
        for seconds in UNSAID_SECONDS:
            await asyncio.sleep(seconds)
            await insist("renewing", functools.partial(self._renew, [job]))
            if job.store is not None:
                await insist("beginning", functools.partial(self._begin_known, job.source, [job]))
                return
        self._leave_out(job)

    def _leave_out(self, job: Job) -> None:
        assert job.ticket is not None
        id, attempt = job.ticket
        emit(WORKER_STALE, of=job.taken.channel, id=id, channel=job.taken.channel, attempt=attempt)
        self._forget(job)

    # -- handled --------------------------------------------------------------------------------------------

    def _start(self, job: Job, deaths: int = 0) -> None:
        if job not in self._tasks:  # given back while a store was asked: it runs elsewhere
            return
        name = f"handler {job.taken.channel}"
        self._tasks[job] = asyncio.create_task(self._suspect(job, deaths) if deaths else self._run(job), name=name)

    async def _run(self, job: Job) -> None:
        """The whole of a message's own task: a context of its own."""
        job.begun = True
        content: Any = job.taken.content
        with self._threads.lent():
            outcome = await self._handle(job.taken.channel, OneMessage({**content}))  # which the handler may change
        self._end(job, outcome)

    async def _handle(self, channel: str, message: OneMessage) -> Outcome:
        try:
            return await handle(self._application, channel, message)
        except asyncio.CancelledError as error:
            if self._room.closed:  # cut off by `finish`
                raise
            return Raised(error)  # by itself

    async def _suspect(self, job: Job, deaths: int) -> None:
        if not await self._suspects.run(job, deaths, self._run):
            self._end(job, Unfit(f"{deaths} workers died while they ran it"))

    def _end(self, job: Job, outcome: Outcome) -> None:
        """Its room is free; what there is to say of it is said, and then it leaves the hand."""
        self._room.free(job.taken.channel)
        if isinstance(outcome, Done) and job.ticket is None:
            self._leave(job)
        else:
            handled = Handled(job.taken.channel, job.taken.content, outcome, job.taken.raw)
            self.settler.add(handled, functools.partial(self._leave, job))
        self._crowd()

    def _leave(self, job: Job) -> None:
        """In hand -> gone; but what was given back meanwhile is no longer ours."""
        self._crowd()
        if job in self._tasks:
            del self._tasks[job]
            self._done(job)
        if not self._tasks:
            self._quiet.set()

    def _crowd(self) -> None:
        """What is not settled is in hand, too: of that, no more than twice what runs."""
        self._room.crowd(len(self.settler) > 2 * self._room.concurrency)

    def _forget(self, job: Job) -> None:
        """It is not to run here."""
        self._room.free(job.taken.channel)
        self._leave(job)

    # -- the end --------------------------------------------------------------------------------------------

    async def finish(self, grace: float) -> None:
        """Within the grace, and then not much longer."""
        self._room.closed = True
        if self._tasks:
            emit(WORKER_STOPPING, number=len(self._tasks), seconds=grace)
        await self._wait(grace)
        tasks = [task for task in self._tasks.values() if task is not None and not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
        if len(self.settler):
            await self._wait(CANCEL_SECONDS)
        if self._tasks:
            emit(WORKER_GAVE_BACK, number=len(self._tasks))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await insist("giving back", lambda: self._give_back(list(self._tasks)))

    async def _wait(self, seconds: float) -> None:
        """Until all are handled, and settled."""
        self._quiet.clear()
        if self._tasks:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._quiet.wait()

    async def _give_back(self, jobs: Sequence[Job]) -> None:
        """At once, to whoever takes it next; what was begun with an attempt spent, where it counts them."""
        await self._suspects.spare(jobs)
        begun = [job for job in jobs if job.begun and job.ticket is not None and job.store is not None]
        await self._settling.give_back([job.ticket for job in begun if job.ticket])
        for job in begun:
            self._forget(job)
        for source in {job.source for job in jobs}:
            others = [job for job in jobs if job.source is source and job in self._tasks]
            await source.give_back([job.taken for job in others])
            for job in others:
                del self._tasks[job]
                self._room.free(job.taken.channel)
