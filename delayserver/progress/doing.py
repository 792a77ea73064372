"""``with progress() as p``: for as long as it is entered the work is running, and then it has succeeded, or failed."""

from __future__ import annotations

import asyncio
from typing import Any, Unpack

from ..current import CURRENT
from ..message import Waiting
from ..stores import get_stores
from ..stores.base import Named
from ..telling import told
from ..verdicts import Again, Fail
from .handle import Known, Progress
from .record import short

INTERRUPTED = "it was interrupted"


def progress(work: Progress | str | None = None, **known: Unpack[Known]) -> Doing:
    """``with`` or ``async with``: a piece of work is running, and when that is left it has succeeded, or failed.

    `work` is a `Progress`, or the id of one, as a message may carry it; new work if left out. Set ``p.result`` for what
    it ends with. What is raised inside goes on, and is the reason why it failed, on one line; but in a consumer whose
    message has `retry`, and attempts left, it stays running, and its attempt is the next. So it does after `Again`, and
    where the handler was cut off and will run elsewhere.
    """
    if isinstance(work, str):
        known["id"] = work
    return Doing(work if isinstance(work, Progress) else None, known)


class Doing:
    """What `progress` returns."""

    def __init__(self, work: Progress | None, known: Known) -> None:
        self._work, self._known = work, known

    def __enter__(self) -> Progress:
        self._work = work = self._work or Progress.create(**self._known)
        work._waited(work._write({"state": "running", "attempt": _attempt()}, again=True))
        return work

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        assert self._work is not None
        ending = _ending(self._work, error)
        if ending is None:
            return
        if isinstance(error, Exception) and not isinstance(error, Fail) and _has_attempts(error, *map(_get, _asked())):
            ending = {"attempt": _attempt() + 1}
        self._work._waited(self._work._write(ending))

    async def __aenter__(self) -> Progress:
        self._work = work = self._work or await Progress.acreate(**self._known)
        await work._awaited(work._write({"state": "running", "attempt": _attempt()}, again=True))
        return work

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        assert self._work is not None
        ending = _ending(self._work, error)
        if ending is None:
            return
        if isinstance(error, Exception) and not isinstance(error, Fail):
            found = [await store.aget(named) for store, named in _asked()]
            if _has_attempts(error, *found):
                ending = {"attempt": _attempt() + 1}
        await self._work._awaited(self._work._write(ending))


def _ending(work: Progress, error: BaseException | None) -> dict[str, Any] | None:
    """What is different when it is left; None where it is not over."""
    match error:
        case None:
            return {"state": "succeeded", "result": work.result}
        case Again() | asyncio.CancelledError() | GeneratorExit():
            return None
        case Fail(reason=reason):
            return {"state": "failed", "error": short(reason)}
        case Exception():
            return {"state": "failed", "error": short(told(error))}
    return {"state": "failed", "error": INTERRUPTED}


# -- the message that is being handled -----------------------------------------------------------------------------


def _ticket() -> Any:
    current = CURRENT.get()
    return (current and current.message and current.message.get("__delay__")) or {}


def _attempt() -> int:
    return int(_ticket().get("attempt") or 1)


def _asked() -> list[tuple[Any, Named]]:
    """Where the message may be kept, until it is acked."""
    id = _ticket().get("id")
    return [(store, Named(id)) for store in get_stores()] if id else []


def _get(asked: tuple[Any, Named]) -> Waiting | None:
    store, named = asked
    found: Waiting | None = store.get(named)
    return found


def _has_attempts(error: Exception, *kept: Waiting | None) -> bool:
    """Whether the message comes again after this error."""
    retry = next((one.retry for one in kept if one is not None), None)
    return retry is not None and _attempt() < retry.max_attempts and not retry.gives_up_on(error)
