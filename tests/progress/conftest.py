"""Progress on each kind of store, in this process. At the end nothing of it is left running."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from delayserver.progress import board as boards
from delayserver.progress.board import Board, get_board
from delayserver.progress.watching import HEARING

from ..worker.conftest import KINDS
from ..worker.conftest import placed as placed  # the settings of a layer and a store of `kind`
from ..worker.conftest import site as site


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def board(placed: None) -> Iterator[Board]:
    """This process's board. Whatever a test did with it, no task is left in its thread but those that pause."""
    yield get_board()
    last = boards._board.peek()
    boards._board.close()
    assert last is None or not last._thread.is_alive()
    assert "delayserver progress" not in {thread.name for thread in threading.enumerate()}


def _hears(task: asyncio.Task[Any]) -> bool:
    """Whether it is one of those with which channels_redis waits in `receive`."""
    return getattr(task.get_coro(), "__qualname__", "") in ("Lock.acquire", "Queue.get")


def tasks_of(board: Board) -> list[str]:
    """The names of the tasks that run in the board's thread, but for the one that looks, and for the ear of it all."""

    async def look() -> list[str]:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        return [task.get_name() for task in tasks if task.get_name() != HEARING and not _hears(task)]

    return board.submit(look()).result()
