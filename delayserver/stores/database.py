"""Messages in the Django database: PostgreSQL, MySQL, MariaDB, SQLite.

`database_table`, `database_shelf`, `database_cursors`, `database_claims`, `database_tickets` and `database_entries`
have the transactions; here is who runs them where. ``put``, ``cancel``, ``reschedule``, ``get`` and ``renew`` run on
the calling thread's connection and so join the caller's transaction; the a-twins of the first four run in the thread
that Django's own async ORM would use. A server's and a consumer's verbs run in one thread of the store's own where it
is open, so that no slow view holds them up; for the server's intake that is ``take``. ``entries`` and
``change_entries`` always run in another one (`database_thread`).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

from ..clock import Clock
from ..conf import Fault, LayerSettings
from ..message import Claim, DeadLetter, Receipt, Target, Ticket, Waiting
from . import database_listen
from .base import STORE_THREAD, Acked, Named, Store
from .database_doubts import doubts_of
from .database_entries import EntryTable
from .database_thread import CLOSE_SECONDS, OwnThread
from .entries import Change, Entry, refuse_changes, refuse_names
from .moves import Move, Moved, refuse_moves
from .shelf import Page, Spot, Tally, Wanted
from .tickets import refuse_tickets
from .wake import Wake

POLL_SECONDS = 0.1  # how often a server looks for earlier messages where nobody tells it
CLOCK_SECONDS = 10.0  # how old a server's reading of the clock may get

P = ParamSpec("P")
T = TypeVar("T")


class DatabaseStore(Store):
    """One layer's messages in the database `using`."""

    def __init__(self, layer: LayerSettings, using: str = "default", *, clock: Clock | None = None) -> None:
        self.using = self.database = using
        self.layer = layer.alias
        self._table = EntryTable(using, layer.alias, clock)
        self.clock = self._table.clock
        self._homes: tuple[str, ...] = ("",)
        self._thread: ThreadPoolExecutor | None = None
        self._entry_thread = OwnThread(self._table)
        self._listener: database_listen.Listener | None = None
        self._wake = Wake()
        self._said: int | None = None  # what `next_due` last answered; None while it asks

    def __str__(self) -> str:
        return str(self._table)

    def read_clock(self) -> Clock:
        return self._table.read_clock()

    async def aread_clock(self) -> Clock:
        return self.clock if self._table.clock_is_fresh() else await self._for_caller(self.read_clock)

    # -- for callers --------------------------------------------------------------------------------------

    def put(self, messages: Sequence[Waiting]) -> list[Receipt]:
        return self._table.put(messages)

    def cancel(self, named: Sequence[Named]) -> list[bool]:
        return self._table.cancel(named)

    def reschedule(self, named: Named, due: int) -> bool:
        return self._table.reschedule(named, due)

    def get(self, named: Named) -> Waiting | None:
        return self._table.get(named)

    async def aput(self, messages: Sequence[Waiting]) -> list[Receipt]:
        return await self._for_caller(self.put, messages)

    async def acancel(self, named: Sequence[Named]) -> list[bool]:
        return await self._for_caller(self.cancel, named)

    async def areschedule(self, named: Named, due: int) -> bool:
        return await self._for_caller(self.reschedule, named, due)

    async def aget(self, named: Named) -> Waiting | None:
        return await self._for_caller(self.get, named)

    # -- for the server's loops ---------------------------------------------------------------------------

    async def open(self, home: str = "") -> None:
        self._homes = ("", home)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=STORE_THREAD)
        self._wake.bind()
        try:
            await self._in_thread(self._next_due)  # reads the clock, and fails here where tables are missing
            await self._listen()
        except BaseException:
            await self.aclose()
            raise
        database_listen.lend(self)

    async def _listen(self) -> None:
        if self._table.vendor == "postgresql" and database_listen.can_listen():
            self._listener = database_listen.Listener(self.layer, self._listen_parameters, self._wake.ring)
            await self._listener.start()

    async def aclose(self) -> None:
        database_listen.withdraw(self)
        self._wake.ring()
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.stop()
        thread, self._thread = self._thread, None
        if thread is not None:
            closing = asyncio.get_running_loop().run_in_executor(thread, self._table.disconnect)
            thread.shutdown(wait=False)
            await asyncio.wait([closing], timeout=CLOSE_SECONDS)
        await self._entry_thread.aclose()
        self._wake.unbind()

    async def take(self, messages: Sequence[Waiting]) -> None:
        await self._in_thread(self.put, messages)

    async def claim(self, now: int, limit: int, lease: int, full: Collection[str] = ()) -> list[Claim]:
        return await self._in_thread(self._table.claim, now, limit, lease, self._homes, full)

    async def claim_backlog(self, name: str, now: int, limit: int, lease: int) -> list[Claim]:
        return await self._in_thread(self._table.claim_backlog, name, now, limit, lease, self._homes)

    async def hold_back(self, claims: Sequence[Claim], names: Sequence[str]) -> list[bool]:
        return await self._in_thread(self._table.hold_back, claims, names)

    async def backlogs(self) -> list[str]:
        return await self._in_thread(self._table.backlogs)

    async def finish(self, claims: Sequence[Claim]) -> list[bool]:
        return await self._in_thread(self._table.finish, claims)

    async def postpone(self, claims: Sequence[Claim], due: Sequence[int], *, spend: int) -> list[bool]:
        held = await self._in_thread(self._table.postpone, claims, due, spend)
        self._wake.ring()
        return held

    async def bury(self, claims: Sequence[Claim], letters: Sequence[DeadLetter]) -> list[bool]:
        return await self._in_thread(self._table.bury, claims, letters)

    async def refuse(self, letters: Sequence[DeadLetter]) -> None:
        await self._in_thread(self._table.refuse, letters)

    async def cursors(self, names: Collection[str] = ()) -> dict[str, bytes]:
        return await self._in_thread(self._table.cursors, names)

    async def put_occurrences(self, moves: Sequence[Move]) -> list[Moved]:
        refuse_moves(moves)
        return await self._in_thread(self._table.put_occurrences, moves)

    async def ack(self, tickets: Sequence[Ticket]) -> list[Acked]:
        refuse_tickets(tickets)
        return await self._in_thread(self._table.ack, tickets)

    def renew(self, tickets: Sequence[Ticket], now: int) -> list[int | None]:
        refuse_tickets(tickets)
        return self._table.renew(tickets, now)

    async def arenew(self, tickets: Sequence[Ticket], now: int) -> list[int | None]:
        return await self._in_thread(self.renew, tickets, now)

    async def reclaim(self, tickets: Sequence[Ticket], now: int, lease: int) -> list[Claim | None]:
        refuse_tickets(tickets)
        return await self._in_thread(self._table.reclaim, tickets, now, lease)

    async def entries(self, names: Sequence[str]) -> list[Entry | None]:
        refuse_names(names)
        return await self._entry_thread.run(self._table.entries, names)

    async def change_entries(self, changes: Sequence[Change]) -> list[int]:
        refuse_changes(changes)
        return await self._entry_thread.run(self._table.change_entries, changes)

    async def next_due(self) -> int | None:
        return await self._in_thread(self._next_due)

    def _next_due(self) -> int | None:
        self._said = None  # what is put meanwhile rings, whether the answer knows it or not
        self._table.read_clock(CLOCK_SECONDS)
        self._said = self._table.next_due(self._homes)
        return self._said

    async def earlier(self) -> None:
        while not await self._rang():
            if await self._in_thread(self._is_earlier):
                return

    async def _rang(self) -> bool:
        """Wait for a ring; False when it is time to look, where nobody may tell us."""
        told = self._listener is not None and self._listener.hears
        try:
            async with asyncio.timeout(None if told else POLL_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def _is_earlier(self) -> bool:
        due = self._table.next_due(self._homes)
        return due is not None and (self._said is None or due < self._said)

    def hear(self, due: int) -> None:
        """Something due then was put in this process."""
        if self._said is None or due < self._said:
            self._wake.ring()

    # -- for people ---------------------------------------------------------------------------------------

    async def count(self) -> int:
        return await self._in_thread(self._table.count)

    async def first_due(self) -> int | None:
        return await self._in_thread(self._table.first_due)

    async def look(self, wanted: Wanted, limit: int, after: Spot | None = None) -> Page:
        return await self._in_thread(self._table.look, wanted, limit, after)

    async def tally(self, after: Spot | None = None) -> tuple[Mapping[Target, Tally], Spot | None]:
        return await self._in_thread(self._table.tally), None

    async def count_dead(self) -> int:
        return await self._in_thread(self._table.count_dead)

    async def dead_letters(self, limit: int, after: Spot | None = None) -> list[DeadLetter]:
        return await self._in_thread(self._table.dead_letters, limit, after)

    async def find_dead(self, ids: Sequence[str]) -> list[DeadLetter | None]:
        return await self._in_thread(self._table.find_dead, ids)

    async def requeue(self, letters: Sequence[DeadLetter], now: int) -> list[bool]:
        requeued = await self._in_thread(self._table.requeue, letters, now)
        self._wake.ring()
        return requeued

    async def purge(self, ids: Sequence[str]) -> list[bool]:
        return await self._in_thread(self._table.purge, ids)

    async def doubts(self) -> list[Fault]:
        return await self._in_thread(doubts_of, self._table)

    # -- threads ------------------------------------------------------------------------------------------

    async def _for_caller(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """In the thread whose transaction the caller may be in."""
        return await sync_to_async(act, thread_sensitive=True)(*args, **kwargs)

    async def _in_thread(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """In the store's own thread while it is open, else where Django's async ORM would."""
        if self._thread is None:
            return await sync_to_async(act, thread_sensitive=True)(*args, **kwargs)
        tidily = functools.partial(self._tidily, functools.partial(act, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._thread, tidily)

    def _tidily(self, act: Callable[[], T]) -> T:
        self._table.tidy()
        return act()

    async def _listen_parameters(self) -> Mapping[str, Any]:
        return await self._in_thread(self._table.listen_parameters)
