"""How what is known of a task gets into the store: soon, but nobody is held up for long, nor fails.

What a task has come to is said until the store takes it. That a task was sent is said once: when it runs, that is seen.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from functools import partial
from hashlib import blake2b
from typing import Any

from ..clock import monotonic
from ..errors import StoreUnavailable
from ..events import TASK_UNSHOWN, emit
from ..loops.base import insist
from ..progress.board import Board, get_board
from ..progress.making import is_id, new_record
from ..progress.record import Record, Update, updated

WAIT_SECONDS = 1.0  # how long a task, or who sends one, is held up where the store does not answer
AWAY_SECONDS = 10.0  # after which nobody is held up for so long
MAX_BEHIND = 1_000  # acts that wait for the store: what is more is left out


def progress_id(task_id: str) -> str:
    """The id of a task's progress: ``celery-`` and its own, or a hash of that where it is no id here."""
    id = f"celery-{task_id}"
    if is_id(id):
        return id
    return f"celery-{blake2b(task_id.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


class Saying:
    """Through one board."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._lock = threading.Lock()
        self._behind = 0
        self._patient_from = 0.0

    def sent(self, id: str) -> None:
        """Nowhere -> pending."""
        self._act(_put(self.board, id))

    def say(self, id: str, update: Update) -> None:
        """So it is, however often the store must be asked; stored when this returns, unless the store is away."""
        self._act(insist("progress", partial(_say, self.board, id, update)))

    def note(self, id: str, update: Update) -> None:
        """So far it is; never waits."""
        self.board.note(id, update)

    def _act(self, act: Coroutine[Any, Any, None]) -> None:
        with self._lock:
            is_one_more = self._behind < MAX_BEHIND
            self._behind += is_one_more
        if not is_one_more:
            act.close()
            raise StoreUnavailable(f"{MAX_BEHIND} tasks wait for the store already")
        future = self.board.submit(act)
        future.add_done_callback(self._done)
        if monotonic() >= self._patient_from:
            self._wait(future)

    def _wait(self, future: Future[None]) -> None:
        try:
            future.result(WAIT_SECONDS)
        except Exception as error:
            self._patient_from = monotonic() + AWAY_SECONDS
            if isinstance(error, TimeoutError) and not future.done():
                raise StoreUnavailable(f"the store did not answer within {WAIT_SECONDS:g} s") from None
            raise

    def _done(self, future: Future[None]) -> None:
        with self._lock:
            self._behind -= 1


async def _put(board: Board, id: str) -> None:
    await board.put(new_record({"id": id}))


class Word:
    """What is to be different, for `Board.write`; `is_heard` says whether there was a record to change."""

    def __init__(self, update: Update) -> None:
        self._update, self.is_heard = update, False

    def __call__(self, record: Record, now: int) -> Record | None:
        self.is_heard = True
        return updated(record, self._update, now)


async def _say(board: Board, id: str, update: Update) -> None:
    word = Word(update)
    while await asyncio.wrap_future(board.write(id, word)) is None and not word.is_heard:
        await _put(board, id)


_saying: Saying | None = None


def saying() -> Saying:
    """That of this process."""
    global _saying
    board, found = get_board(), _saying
    if found is None or found.board is not board:
        found = _saying = Saying(board)
    return found


def unshown(error: Exception) -> None:
    """The task goes on; of what cannot be shown there is a line."""
    emit(TASK_UNSHOWN, error=error)
