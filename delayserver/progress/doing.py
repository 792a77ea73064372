"""``with progress() as p``: for as long as it is entered the work is running, and then it has succeeded, or failed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeGuard, Unpack

from django.db import connections

from ..current import CURRENT
from ..errors import StoreUnavailable
from ..message import Ticket, Waiting
from ..stores import get_stores
from ..stores.base import Named, Store
from ..telling import told
from ..tickets import ticket_of
from ..verdicts import Again, Fail
from .board import get_board
from .handle import Progress
from .making import Known
from .record import Update, short

INTERRUPTED = "it was interrupted"
CUT_OFF = (asyncio.CancelledError, GeneratorExit)  # what is raised where nothing may be awaited any more


def progress(work: Progress | str | None = None, **known: Unpack[Known]) -> Doing:
    """``with`` or ``async with``: a piece of work is running, and when that is left it has succeeded, or failed.

    `work` is a `Progress`, or the id of one, as a message may carry it; new work if left out. Set ``p.result`` for what
    it ends with. What is raised inside goes on, and is the reason why it failed, on one line; but in a consumer whose
    message has `retry`, and attempts left, it stays running, and its attempt is the next. So it does after `Again`, and
    where a message's handler was cut off, which will run elsewhere; anything else that is cancelled has failed.
    """
    if isinstance(work, Progress):
        return Doing(work, known)
    if work is not None:
        known["id"] = work
    return Doing(None, known)


class Doing:
    """What `progress` returns."""

    def __init__(self, work: Progress | None, known: Known) -> None:
        self._work, self._known = work, known

    def __enter__(self) -> Progress:
        self._work = work = self._work or Progress.create(**self._known)
        work._waited(work._write(_beginning(), again=True))
        return work

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        assert self._work is not None
        ending = _ending(self._work, error)
        if ending is None or self._is_left_to_the_board(error, ending):
            return
        try:
            if _may_come_again(error) and _has_attempts(error, *_looked_up(_asked())):
                ending = {"attempt": _attempt() + 1}
            self._work._waited(self._work._write(ending))
        except StoreUnavailable:
            self._note_or_raise(error, ending)

    async def __aenter__(self) -> Progress:
        self._work = work = self._work or await Progress.acreate(**self._known)
        await work._awaited(work._write(_beginning(), again=True))
        return work

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        assert self._work is not None
        ending = _ending(self._work, error)
        if ending is None or self._is_left_to_the_board(error, ending):
            return
        try:
            if _may_come_again(error) and _has_attempts(error, *[await store.aget(named) for store, named in _asked()]):
                ending = {"attempt": _attempt() + 1}
            await self._work._awaited(self._work._write(ending))
        except StoreUnavailable:
            self._note_or_raise(error, ending)

    def _is_left_to_the_board(self, error: BaseException | None, ending: dict[str, Any]) -> bool:
        """Where there is no time to wait any more."""
        if isinstance(error, CUT_OFF):
            self._note(ending)
        return isinstance(error, CUT_OFF)

    def _note_or_raise(self, error: BaseException | None, ending: dict[str, Any]) -> None:
        """What was raised inside goes on, and is told when the store is there again; a success that is not stored is
        none.
        """
        if error is None:
            raise  # noqa: PLE0704  what is just handled
        self._note(ending)

    def _note(self, ending: dict[str, Any]) -> None:
        assert self._work is not None
        get_board().note(self._work.id, Update(ending))


def _beginning() -> dict[str, Any]:
    return {"state": "running", "attempt": _attempt()}


def _ending(work: Progress, error: BaseException | None) -> dict[str, Any] | None:
    """What is different when it is left; None where it is not over."""
    match error:
        case None:
            return {"state": "succeeded", "result": work.result}
        case Again():
            return None
        case asyncio.CancelledError() | GeneratorExit() if CURRENT.get() is not None:
            return None
        case Fail(reason=reason):
            return {"state": "failed", "error": short(reason)}
        case Exception():
            return {"state": "failed", "error": short(told(error))}
    return {"state": "failed", "error": INTERRUPTED}


def _may_come_again(error: BaseException | None) -> TypeGuard[Exception]:
    return isinstance(error, Exception) and not isinstance(error, Fail)


# -- the message that is being handled -----------------------------------------------------------------------------


def _ticket() -> Ticket | None:
    current = CURRENT.get()
    return None if current is None else ticket_of(current.message)


def _attempt() -> int:
    ticket = _ticket()
    return 1 if ticket is None else ticket.attempt


def _asked() -> list[tuple[Store, Named]]:
    """Where the message may be kept, until it is acked."""
    ticket = _ticket()
    return [] if ticket is None else [(store, Named(ticket.id)) for store in get_stores()]


def _looked_up(asked: Sequence[tuple[Store, Named]]) -> list[Waiting | None]:
    """What each store has. In async code, which may have entered it by a plain ``with``, in a thread of its own: a
    database may not be asked there.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return [store.get(named) for store, named in asked]
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_looked_up_and_left, asked).result()


def _looked_up_and_left(asked: Sequence[tuple[Store, Named]]) -> list[Waiting | None]:
    try:
        return _looked_up(asked)
    finally:
        connections.close_all()


def _has_attempts(error: Exception, *kept: Waiting | None) -> bool:
    """Whether the message comes again after this error."""
    retry = next((one.retry for one in kept if one is not None), None)
    return retry is not None and _attempt() < retry.max_attempts and not retry.gives_up_on(error)
