"""What a project calls: a piece of work, moved on and ended from anywhere, and seen by whoever may."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

from .board import get_board
from .making import Known, is_id, new_record
from .record import Number, Record, Run, State, Update, shown_result, steps, updated
from .record import reason as checked_reason
from .tokens import Token, key_of


class Progress:
    """The last known state of a piece of work, as it was read last, or said here since; made by `create` and `get`.

    What moves it on may be called from any thread and any event loop. The plain names wait, where there is something to
    wait for; their a-twins are for async code.
    """

    def __init__(self, record: Record, *, user: object = None, run: Run | None = None) -> None:
        self._record, self._user, self._run = record, key_of(user), run
        self._more: dict[str, Any] = {} if run is None else {"attempt": record.failures + 1}
        self._said: dict[str, Any] = {}  # by `update`, since it was read

    def __repr__(self) -> str:
        return f"<Progress {self.id}: {self.state}, {self.current} of {self.total}>"

    # -- made and found ------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, **known: Unpack[Known]) -> Progress:
        """A new piece of work, pending. `StoreUnavailable` where it cannot be stored."""
        board = get_board()
        return cls(board.submit(board.put(new_record(known))).result(), user=known.get("user"))

    @classmethod
    async def acreate(cls, **known: Unpack[Known]) -> Progress:
        """As `create`."""
        board = get_board()
        return cls(await asyncio.wrap_future(board.submit(board.put(new_record(known)))), user=known.get("user"))

    @classmethod
    def get(cls, id: str, *, user: object = None) -> Progress | None:
        """The work of this id; None where there is none, or it is over for longer than is kept.

        `user` is whom its `token` is for. `StoreUnavailable` where that cannot be told.
        """
        return cls._found(get_board().read(id).result(), user) if is_id(id) else None

    @classmethod
    async def aget(cls, id: str, *, user: object = None) -> Progress | None:
        """As `get`."""
        return cls._found(await asyncio.wrap_future(get_board().read(id)), user) if is_id(id) else None

    @classmethod
    def _found(cls, record: Record | None, user: object) -> Progress | None:
        return None if record is None else cls(record, user=user)

    # -- what is known -------------------------------------------------------------------------------------------

    @property
    def record(self) -> Record:
        """All that is kept of it, as it was read last."""
        return self._record

    @property
    def id(self) -> str:
        return self._record.id

    @property
    def token(self) -> str:
        """Who has it may see this work; signed, and good for ``PROGRESS["TOKEN_AGE"]``."""
        return Token(self.id, self._user).sign()

    def token_for(self, user: object) -> str:
        """A token for this user alone."""
        return Token(self.id, key_of(user)).sign()

    @property
    def user(self) -> str:
        """The primary key of whom the token is for, as text; empty for whoever has it."""
        return self._user

    @property
    def state(self) -> State:
        """pending, running, succeeded, failed, timed_out or cancelled; the last four are final."""
        state: State = self._said_or_read("state")
        return state

    @property
    def is_over(self) -> bool:
        return self._record.is_over

    @property
    def current(self) -> Number | None:
        current: Number | None = self._said_or_read("current")
        return current

    @property
    def total(self) -> Number | None:
        total: Number | None = self._said_or_read("total")
        return total

    @property
    def text(self) -> str:
        return str(self._said_or_read("text"))

    def _said_or_read(self, name: str) -> Any:
        return self._said[name] if name in self._said and not self.is_over else getattr(self._record, name)

    @property
    def result(self) -> object:
        """What came of it. Set inside ``with progress() as p``, it is what that ends with."""
        return self._record.result

    @result.setter
    def result(self, result: object) -> None:
        self._record = replace(self._record, result=shown_result(result))

    @property
    def error(self) -> str:
        return self._record.error

    @property
    def attempt(self) -> int:
        return self._record.attempt

    @property
    def version(self) -> int:
        return self._record.version

    @property
    def elapsed_ms(self) -> int:
        """Milliseconds since it was created; of what is over, until it was."""
        record = self._record
        return record.changed - record.created if record.is_over else get_board().age(record)

    @property
    def quiet_ms(self) -> int:
        """Milliseconds for which nothing has changed, as it was read last."""
        return get_board().age(self._record) - (self._record.changed - self._record.created)

    def frame(self) -> dict[str, Any]:
        """As browsers get it."""
        return self._record.frame()

    # -- moved on ------------------------------------------------------------------------------------------------

    def update(self, current: Number | None = None, total: Number | None = None, *, text: str | None = None) -> Noted:
        """It is running, and so far; what is left out stays as it was.

        It never waits: however often it is called, at most 20 states a second are written and shown, and the last one
        always. It can be awaited, for the sake of looks. `InvalidMessage` for what is no number.
        """
        said = {"state": "running", **self._more, **steps(current, total, text)}
        self._said.update(said)
        get_board().note(self.id, Update(said, self._run))
        return Noted()

    def succeed(self, result: object = None) -> bool:
        """It is done: stored when this returns; False where it was over before. `result` is what JSON can hold."""
        return self._waited(self._end("succeeded", result=shown_result(result)))

    def fail(self, reason: str) -> bool:
        """It failed, for a reason that is shown, at most 500 characters; as `succeed`."""
        return self._waited(self._end("failed", error=checked_reason(reason)))

    def cancel(self) -> bool:
        """Nobody wants it any more: a poller ends with its next step; as `succeed`."""
        return self._waited(self._end("cancelled"))

    def refresh(self) -> None:
        """Read it again."""
        self._waited(get_board().read(self.id))

    async def asucceed(self, result: object = None) -> bool:
        """As `succeed`."""
        return await self._awaited(self._end("succeeded", result=shown_result(result)))

    async def afail(self, reason: str) -> bool:
        """As `fail`."""
        return await self._awaited(self._end("failed", error=checked_reason(reason)))

    async def acancel(self) -> bool:
        """As `cancel`."""
        return await self._awaited(self._end("cancelled"))

    async def arefresh(self) -> None:
        """As `refresh`."""
        await self._awaited(get_board().read(self.id))

    def _end(self, state: State, **changes: object) -> Future[Record | None]:
        return self._write({"state": state, "paused": False, **changes})

    def _write(self, changes: dict[str, Any], *, again: bool = False) -> Future[Record | None]:
        decide = partial(updated_by, Update(changes, self._run, again))
        return get_board().write(self.id, decide)

    def _waited(self, future: Future[Record | None]) -> bool:
        return self._kept(future.result())

    async def _awaited(self, future: Future[Record | None]) -> bool:
        return self._kept(await asyncio.wrap_future(future))

    def _kept(self, record: Record | None) -> bool:
        if record is not None:
            self._record, self._said = record, {}
        return record is not None


class Noted:
    """What `update` returns: there is nothing to wait for, in async code either."""

    __slots__ = ()

    def __await__(self) -> Any:
        return asyncio.sleep(0).__await__()


def updated_by(update: Update, record: Record, now: int) -> Record | None:
    return updated(record, update, now)
