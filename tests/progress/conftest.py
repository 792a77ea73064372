"""Progress on each kind of store, in this process. At the end nothing of it is left running."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from delayserver.progress import board as boards
from delayserver.progress.board import Board, get_board

from ..worker.conftest import KINDS
from ..worker.conftest import placed as placed  # the settings of a layer and a store of `kind`


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


def tasks_of(board: Board) -> list[str]:
    """The names of the tasks that run in the board's thread, but for the one that looks."""

    async def look() -> list[str]:
        return [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    return board.submit(look()).result()
