"""The concurrent worker: takes messages from channels, and runs a consumer of its own for each, many at once.

A message is in a worker's hand until it is handled. On channels_redis the hand has a lease, so that what a worker had
when it died runs elsewhere; what it began when it died three times becomes a dead letter.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence

from .acking import Settling
from .conf import get_layer_settings, get_settings
from .events import WORKER_STARTED, WORKER_STOPPED, emit
from .handling import Application, take_short_way
from .jobs import Jobs
from .keeping import Job
from .layers import get_layer
from .layers.base import Source
from .loops.base import Loop, insist
from .loops.room import Room, Subscription
from .loops.taking import Taking
from .stores import get_stores
from .threads import Threads

CONCURRENCY, THREADS, GRACE_SECONDS = 100, 10, 30.0
LAST_SECONDS = 5.0  # how long it may take to say what is done, when the worker stops


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
        self._max_bytes = settings.max_message_bytes
        self._number_of_threads = threads
        self._takers: dict[Source, Taking] = {}
        self._stop = asyncio.Event()

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
        sources = self._layer.sources([one.channel for one in self._subscriptions])
        room = Room(self._subscriptions, self._concurrency, len(sources))
        jobs = self._jobs = self._new_jobs(room)
        for number, source in enumerate(sources):
            taker = Taking(source, room, functools.partial(jobs.begin, source))
            taker.name += f" from host {number + 1}" if len(sources) > 1 else ""
            self._takers[source] = taker
        loops: list[Loop] = [jobs.settler, *self._takers.values()]
        running = [asyncio.create_task(loop.run(), name=f"delayserver {loop.name}") for loop in loops]
        emit(WORKER_STARTED, worker=self)
        if self._ready is not None:
            self._ready(WORKER_STARTED.sentence.format(worker=self))
        try:
            await self._stop.wait()
            await jobs.finish(self._grace)
        finally:
            for loop in loops:
                loop.stop()
            _, late = await asyncio.wait(running, timeout=LAST_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            jobs.close()
            emit(WORKER_STOPPED)

    def _new_jobs(self, room: Room) -> Jobs:
        # Where the stores are on the layer's server a message is handed over, and known to be, in one act.
        one_act = bool(self._layer.format) and all(store.place in self._layer.places for store in self._stores)
        home = get_layer_settings(self.alias).home
        settling = Settling(self._stores, self._layer, self._max_bytes, home, patient=not one_act)
        threads = Threads(self._number_of_threads)
        return Jobs(self._application, self._stores, settling, room, threads, one_act=one_act, done=self._hand_in)

    def _hand_in(self, job: Job) -> None:
        self._takers[job.source].done(job.taken)

    async def aclose(self) -> None:
        """After `run`: let the connections go, where nothing else in this event loop uses them."""
        await self._layer.aclose()
        for store in self._stores:
            await store.aclose()
