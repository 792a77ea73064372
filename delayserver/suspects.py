"""Messages with which a worker has died: it may be their fault.

How often one was begun since then is counted beside its channel. One that two workers died with runs with no other such
message beside it; so with the third death it is known whose fault it is.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence

from .keeping import Job
from .layers.base import Charge, Source
from .loops.base import insist

MAX_DEATHS = 3
ALONE = 2


class Suspects:
    """Those of one worker."""

    def __init__(self) -> None:
        self._alone = asyncio.Lock()

    async def tell_died(self, source: Source, jobs: Sequence[Job]) -> None:
        """A worker died with these in hand."""
        await source.charges([_name(job) for job in jobs], Charge.DIED)

    async def among(self, source: Source, jobs: Sequence[Job]) -> dict[Job, int]:
        """Which of these are suspects, and how many workers have died with each."""
        known = [job for job in jobs if job.taken.again or (job.ticket is not None and job.ticket.attempt > 1)]
        charges = await source.charges([_name(job) for job in known], Charge.READ)
        return {job: deaths for job, deaths in zip(known, charges, strict=True) if deaths}

    async def run(self, job: Job, deaths: int, run: Callable[[Job], Awaitable[None]]) -> bool:
        """Run it if it may; False where enough workers have died."""
        if deaths >= MAX_DEATHS:
            await _insist(job, Charge.CLEARED)
            return False
        if deaths >= ALONE:
            async with self._alone:
                await _run_charged(job, run)
        else:
            await _run_charged(job, run)
        return True

    async def spare(self, jobs: Sequence[Job]) -> None:
        """These were cut off, and nobody died, however often that happens."""
        for job in jobs:
            if job.charged:
                await _charge(job, Charge.SPARED)
                job.charged = False


async def _run_charged(job: Job, run: Callable[[Job], Awaitable[None]]) -> None:
    await _insist(job, Charge.BEGUN)
    job.charged = True
    await run(job)
    job.charged = False
    await _insist(job, Charge.CLEARED)


async def _insist(job: Job, act: Charge) -> None:
    await insist("charges", lambda: _charge(job, act))


async def _charge(job: Job, act: Charge) -> None:
    await job.source.charges([_name(job)], act)


def _name(job: Job) -> str:
    """By which it is known again when its worker has died with it."""
    if job.ticket is not None:
        return job.ticket.id
    return hashlib.sha1(job.taken.raw, usedforsecurity=False).hexdigest()
