"""The concurrent worker: takes messages from channels, and runs a consumer of its own for each, many at once.

A message is in a worker's hand until it is handled. On channels_redis the hand has a lease, so that what a worker had
when it died runs elsewhere; what it began when it died three times becomes a dead letter.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from .acking import Handled, Settling
from .clock import monotonic
from .conf import get_layer_settings, get_settings
from .events import TAKEN, WORKER_STALE, WORKER_STARTED, WORKER_STOPPED, count, emit
from .handling import Application, OneMessage, fault_of, handle, take_short_way
from .keeping import Job, Keeper
from .layers import get_layer
from .layers.base import Charge, Source, Taken
from .loops.base import Loop, insist
from .loops.room import Room, Subscription
from .loops.settling import SettlingLoop
from .loops.taking import Taking
from .stores import get_stores
from .stores.base import MAX_BATCH, Store
from .threads import Threads
from .tickets import UNSAID_SECONDS, may_be_unkept, ticket_of
from .verdicts import Done, Outcome, Unfit

CONCURRENCY, THREADS, GRACE_SECONDS = 100, 10, 30.0
CANCEL_SECONDS = 1.0  # how long handlers that are cut off may take to clean up
LAST_SECONDS = 5.0  # how long it may take to say what is done, when the worker stops
MAX_DEATHS = 3  # of workers, with a message begun
ALONE = 2  # so many of them, and it is run with no other such message beside it


class Worker:
    """Everything ``manage.py runtasks`` runs, for any event loop.

    application
        as ``runworker`` has it: gets a scope of type ``"channel"``, in a new instance for each message
    subscriptions
        the channels
    layer
        an alias of CHANNEL_LAYERS (default: ``DELAYSERVER["CHANNEL_LAYER"]``)
    concurrency, threads
        how many messages run at once, and how many threads there are for their sync code
    grace
        for how many seconds handlers may go on when the worker stops
    ready
        is called with one sentence once it takes
    """

    def __init__(
        self,
        application: Application,
        subscriptions: Sequence[Subscription],
        *,
        layer: str | None = None,
        concurrency: int = CONCURRENCY,
        threads: int = THREADS,
        grace: float = GRACE_SECONDS,
        ready: Callable[[str], None] | None = None,
    ) -> None:
        settings = get_settings()
        self.alias = layer or settings.channel_layer
        self._application, self._subscriptions = application, list(subscriptions)
        self._concurrency, self._grace, self._ready = concurrency, grace, ready
        self._layer, self._stores = get_layer(self.alias), get_stores(self.alias)
        self._one_act = False  # whether the store knows of a hand-over before a worker can take the message
        home = get_layer_settings(self.alias).home
        self._settling = Settling(self._stores, self._layer, settings.max_message_bytes, home)
        self._settler = SettlingLoop(self._settling)
        self._threads, self._number_of_threads = Threads(threads), threads
        self._jobs: dict[Job, asyncio.Task[None] | None] = {}
        self._takers: dict[Source, Taking] = {}
        self._stop, self._quiet = asyncio.Event(), asyncio.Event()
        self._alone = asyncio.Lock()

    def __str__(self) -> str:
        channels = ", ".join(
            one.channel if one.limit is None else f"{one.channel} ({one.limit} at once)" for one in self._subscriptions
        )
        return (
            f"channels {channels}, layer {self.alias}, {self._concurrency} at once, {self._number_of_threads} threads"
        )

    def stop(self) -> None:
        """Take nothing more, finish what is in hand within the grace, give the rest back; then let `run` return."""
        self._stop.set()

    async def run(self) -> None:
        """Run until `stop`. No handler, and no error of the layer or a store, ends it."""
        take_short_way()
        await insist("layer", self._layer.open)
        self._one_act = bool(self._layer.format) and all(store.place in self._layer.places for store in self._stores)
        sources = self._layer.sources([one.channel for one in self._subscriptions])
        self._room = Room(self._subscriptions, self._concurrency, len(sources))
        self._keeper = Keeper(self._jobs)
        for number, source in enumerate(sources):
            taker = Taking(source, self._room, functools.partial(self._begin, source))
            taker.name += f" from host {number + 1}" if len(sources) > 1 else ""
            self._takers[source] = taker
        loops: list[Loop] = [self._settler, *self._takers.values()]
        running = [asyncio.create_task(loop.run(), name=f"delayserver {loop.name}") for loop in loops]
        emit(WORKER_STARTED, worker=self)
        if self._ready is not None:
            self._ready(WORKER_STARTED.sentence.format(worker=self))
        try:
            await self._stop.wait()
            await self._finish()
        finally:
            for loop in loops:
                loop.stop()
            _, late = await asyncio.wait(running, timeout=LAST_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            self._keeper.stop()
            self._threads.stop()
            emit(WORKER_STOPPED)

    async def aclose(self) -> None:
        """After `run`: let the connections go, where nothing else in this event loop uses them."""
        await self._layer.aclose()
        for store in self._stores:
            await store.aclose()

    # -- taken ----------------------------------------------------------------------------------------------

    async def _begin(self, source: Source, taken: Sequence[Taken]) -> None:
        """Run what can be run; of the others, say why not. If it raises, what is not begun is given back."""
        count(TAKEN, len(taken))
        now = monotonic()
        jobs = [Job(source, one, now, ticket_of(one.content)) for one in taken]
        self._jobs.update(dict.fromkeys(jobs))
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
                await self._put_down([job for job in special if job in self._jobs and self._jobs[job] is None])
                raise

    async def _put_down(self, jobs: Sequence[Job]) -> None:
        """Not begun -> on the channel; if that cannot be, their leases run out."""
        try:
            await self._give_back(jobs)
        finally:
            for job in jobs:
                if self._jobs.pop(job, job) is None:
                    self._room.free(job.taken.channel)

    async def _begin_special(self, source: Source, jobs: Sequence[Job]) -> None:
        """Those whose store has a say, and those that were in hand when a worker died."""
        await self._renew(jobs)
        unknown = [job for job in jobs if job.ticket is not None and job.store is None]
        for job in unknown:
            self._begin_unknown(job)
        await self._begin_known(source, [job for job in jobs if job not in unknown])

    async def _begin_known(self, source: Source, jobs: Sequence[Job]) -> None:
        """Those of which a store knows, or that need none."""
        died = [job for job in jobs if job.taken.again]
        await source.charges([_name(job) for job in died], Charge.DIED)
        resumed = [job for job in died if job.store is not None]
        await self._settling.give_back([job.ticket for job in resumed if job.ticket])
        for job in resumed:  # the store hands it over again, with another attempt
            self._forget(job)
        rest = [job for job in jobs if job not in resumed]
        suspects = [job for job in rest if job.taken.again or (job.ticket is not None and job.ticket.attempt > 1)]
        charges = await source.charges([_name(job) for job in suspects], Charge.READ)
        deaths = dict(zip(suspects, charges, strict=True))
        for job in rest:
            self._start(job, deaths.get(job, 0))

    async def _renew(self, jobs: Sequence[Job]) -> None:
        """Acks count from now. Each gets the store that knows of it: none does of a copy of what was handed over again,
        or is done. What no store need know of has no ticket from here on.
        """
        asked = [job for job in jobs if job.ticket is not None]
        for store in self._stores:
            for start in range(0, len(asked), MAX_BATCH):
                await self._renew_in(store, asked[start : start + MAX_BATCH])
            asked = [job for job in asked if job.store is None]
        for job in asked:
            if may_be_unkept(job.taken.content):
                job.ticket = None

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
            self._jobs[job] = asyncio.create_task(self._ask_again(job), name=name)

    async def _ask_again(self, job: Job) -> None:
        for seconds in UNSAID_SECONDS:
            await asyncio.sleep(seconds)
            await insist("renewing", functools.partial(self._renew, [job]))
            if job.store is not None:
                await insist("beginning", functools.partial(self._begin_known, job.source, [job]))
                return
        self._leave_out(job)

    def _leave_out(self, job: Job) -> None:
        count(WORKER_STALE)
        self._forget(job)

    # -- handled --------------------------------------------------------------------------------------------

    def _start(self, job: Job, deaths: int = 0) -> None:
        name = f"handler {job.taken.channel}"
        self._jobs[job] = asyncio.create_task(self._suspect(job, deaths) if deaths else self._run(job), name=name)

    async def _run(self, job: Job) -> None:
        """The whole of a message's own task: a context of its own."""
        job.begun = True
        content: Any = job.taken.content
        with self._threads.lent():
            outcome = await handle(self._application, job.taken.channel, OneMessage(content))
        self._end(job, outcome)

    async def _suspect(self, job: Job, deaths: int) -> None:
        """A worker died with it before. One that did so twice runs alone, and then it is known whose fault it is."""
        if deaths >= MAX_DEATHS:
            await self._clear(job)
            self._end(job, Unfit(f"{deaths} workers died while they ran it"))
        elif deaths >= ALONE:
            async with self._alone:
                await self._run_charged(job)
        else:
            await self._run_charged(job)

    async def _run_charged(self, job: Job) -> None:
        await insist("charges", lambda: self._charge(job, Charge.BEGUN))
        job.charged = True
        await self._run(job)
        job.charged = False
        await self._clear(job)

    async def _clear(self, job: Job) -> None:
        await insist("charges", lambda: self._charge(job, Charge.CLEARED))

    async def _charge(self, job: Job, act: Charge) -> None:
        await job.source.charges([_name(job)], act)

    def _end(self, job: Job, outcome: Outcome) -> None:
        """Its room is free; what there is to say of it is said, and then it leaves the hand."""
        self._room.free(job.taken.channel)
        if isinstance(outcome, Done) and job.ticket is None:
            self._leave(job)
        else:
            handled = Handled(job.taken.channel, job.taken.content, outcome, job.taken.raw)
            self._settler.add(handled, functools.partial(self._leave, job))
        self._room.crowd(len(self._settler) > 2 * self._concurrency)

    def _leave(self, job: Job) -> None:
        """In hand -> gone; but what was given back meanwhile is no longer ours."""
        self._room.crowd(len(self._settler) > 2 * self._concurrency)
        if job in self._jobs:
            del self._jobs[job]
            self._takers[job.source].done(job.taken)
        if not self._jobs:
            self._quiet.set()

    def _forget(self, job: Job) -> None:
        """It is not to run here."""
        self._room.free(job.taken.channel)
        self._leave(job)

    # -- the end --------------------------------------------------------------------------------------------

    async def _finish(self) -> None:
        """Within the grace, and then not much longer."""
        self._room.closed = True
        await self._wait_for_jobs(self._grace)
        tasks = [task for task in self._jobs.values() if task is not None and not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
        if len(self._settler):
            await self._wait_for_jobs(CANCEL_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await insist("giving back", lambda: self._give_back(list(self._jobs)))

    async def _wait_for_jobs(self, seconds: float) -> None:
        """Until all are handled, and settled."""
        self._quiet.clear()
        if self._jobs:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._quiet.wait()

    async def _give_back(self, jobs: Sequence[Job]) -> None:
        """At once, to whoever takes it next; what was begun with an attempt spent, where it counts them."""
        for job in jobs:
            if job.charged:  # it was cut off: no death, however often that happens
                await self._charge(job, Charge.SPARED)
                job.charged = False
        begun = [job for job in jobs if job.begun and job.ticket is not None and job.store is not None]
        await self._settling.give_back([job.ticket for job in begun if job.ticket])
        for job in begun:
            self._forget(job)
        for source in self._takers:
            others = [job for job in jobs if job.source is source and job in self._jobs]
            await source.give_back([job.taken for job in others])
            for job in others:
                del self._jobs[job]
                self._room.free(job.taken.channel)


def _name(job: Job) -> str:
    """By which it is known again when its worker has died with it."""
    if job.ticket is not None:
        return job.ticket.id
    return hashlib.sha1(job.taken.raw, usedforsecurity=False).hexdigest()
