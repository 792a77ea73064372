"""The loop half: it sleeps, wakes, survives errors, and stops."""

from __future__ import annotations

import asyncio
import logging

import pytest

from delayserver import events
from delayserver.loops.base import Loop, insist


class Script(Loop):
    """Does what its list says: returns a number, raises an exception; then sleeps for ever."""

    name = "script"

    def __init__(self, *acts: float | Exception) -> None:
        super().__init__()
        self.acts = list(acts)
        self.ran = 0
        self.closed = False

    async def run_once(self) -> float:
        self.ran += 1
        act = self.acts.pop(0) if self.acts else 3_600.0
        if isinstance(act, Exception):
            raise act
        return act

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def fresh_log() -> None:
    events._allowances.clear()


async def until(loop: Script, ran: int) -> None:
    async with asyncio.timeout(5):
        while loop.ran < ran:
            await asyncio.sleep(0.001)


async def test_it_goes_on_at_once_after_a_full_batch_and_then_sleeps_until_woken() -> None:
    loop = Script(0, 0, 3_600)
    task = asyncio.create_task(loop.run())
    await until(loop, 3)
    loop.wake()
    await until(loop, 4)
    loop.stop()
    await asyncio.wait_for(task, 1)
    assert loop.ran == 4
    assert loop.closed


async def test_a_wake_while_it_works_is_not_missed() -> None:
    loop = Script(3_600, 3_600)
    work = loop.run_once

    async def work_and_be_woken() -> float:
        seconds = await work()
        if loop.ran == 1:
            loop.wake()
        return seconds

    loop.run_once = work_and_be_woken  # type: ignore[method-assign]
    task = asyncio.create_task(loop.run())
    await until(loop, 2)
    loop.stop()
    await asyncio.wait_for(task, 1)


async def test_no_error_ends_it_and_a_flood_of_them_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    loop = Script(*[OSError(f"away {n}\x1b[2J") for n in range(3)])
    with caplog.at_level(logging.INFO, "delayserver"):
        task = asyncio.create_task(loop.run())
        await until(loop, 4)
        loop.stop()
        await asyncio.wait_for(task, 1)
    failed = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(failed) == 1
    assert "script: OSError: away 0\\x1b[2J; trying again in 0.1 s" in failed[0]
    assert any("working again after 3 failures" in record.getMessage() for record in caplog.records)


async def test_a_stop_cuts_the_pause_after_an_error_short() -> None:
    loop = Script(*[OSError("away")] * 100)
    task = asyncio.create_task(loop.run())
    await until(loop, 4)  # the next pause is a second
    loop.stop()
    await asyncio.wait_for(task, 0.5)


async def test_insist_does_it_until_it_succeeds() -> None:
    loop = Script(OSError("away"), OSError("away"), 1)
    result: list[float] = []

    async def act() -> None:
        result.append(await loop.run_once())

    await insist("act", act)
    assert result == [1]
