"""A worker with nothing to do does nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from delayserver.layers.generic_source import GenericSource
from delayserver.loops.room import Subscription

from .conftest import Site


@pytest.fixture(params=["memory"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(("concurrency", "limit"), [(1, None), (5, None), (5, 1)])
async def test_it_takes_no_turn_without_being_woken(
    site: Site, monkeypatch: pytest.MonkeyPatch, concurrency: int, limit: int | None
) -> None:
    turns, turn = list[int](), GenericSource.turn

    async def counted(self: GenericSource, *args: Any, **options: Any) -> Any:
        turns.append(1)
        assert len(turns) < 1_000, "it spins"
        return await turn(self, *args, **options)

    monkeypatch.setattr(GenericSource, "turn", counted)
    await site.work(Subscription("jobs", limit), concurrency=concurrency)
    await site.send("jobs", type="probe")
    await site.has_seen(1)
    for _ in range(200):
        await asyncio.sleep(0)
    so_far = len(turns)
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(turns) == so_far < 20
