"""Where a process writes progress, and reads it: one background thread, whatever thread or event loop asks.

What is noted is written soon, and what is noted meanwhile goes with the next: at most 20 times a second for each piece
of work, and the last word always. What is written goes to whoever watches, in this process and over the channel layer.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import wait as wait_for_all
from dataclasses import dataclass, field, replace
from datetime import timedelta
from multiprocessing.util import Finalize, register_after_fork

from ..background import Background, OneOfAProcess
from ..conf import get_layer_settings, get_progress_settings, get_settings
from ..errors import StoreUnavailable
from ..layers import get_layer
from ..loops.base import Failures
from ..message import Target
from ..outbox import outbox
from ..stores import get_stores
from ..stores.base import Store
from ..stores.entries import Change, Entry
from .batching import Batching
from .record import Record, Update, updated

PERIOD_SECONDS = 0.05  # between two writes of one piece of work
KEPT_UNFINISHED = timedelta(days=30)  # so long what is not over is kept after its last change
PUBLISH_SECONDS = 1.0  # how long a frame may take to get onto the layer; who watches looks for himself anyway
TRIES = 100  # each failure means that another process got ahead
LAST_SECONDS = 5.0  # how long what was noted may take to be written when the process ends

Decide = Callable[[Record, int], Record | None]  # the record after, at an instant (ms); None where it is not to be


def name_of(id: str) -> str:
    """The entry of a piece of work."""
    return f"progress.{id}"


def group_of(id: str) -> str:
    """The group of those who watch a piece of work."""
    return f"progress.{id}"


@dataclass(eq=False, slots=True)
class Slot:
    """What is to be written of one piece of work."""

    id: str
    noted: Update | None = None
    asked: deque[tuple[Decide, Future[Record | None]]] = field(default_factory=deque)
    alarm: asyncio.Event = field(default_factory=asyncio.Event)
    known: Record | None = None  # as this process wrote it last

    @property
    def is_empty(self) -> bool:
        return self.noted is None and not self.asked


class Board(Background):
    """The public methods may be called from any thread."""

    def __init__(self) -> None:
        self.alias = alias = get_settings().channel_layer
        self.in_memory = get_layer_settings(alias).in_memory
        self._stores, self._layer = get_stores(alias), get_layer(alias)
        self._slots: dict[str, Slot] = {}
        self._lock = threading.Lock()
        self._reads = {store: Batching(store.entries) for store in self._stores}
        self._changes = {store: Batching(store.change_entries) for store in self._stores}
        self.watched: Callable[[Record], None] = _nobody  # is told of each record that is written
        super().__init__("delayserver progress")

    def note(self, id: str, update: Update) -> None:
        """Soon, and with what else is noted meanwhile."""
        with self._lock:
            slot, is_new = self._slot(id)
            slot.noted = update if slot.noted is None else slot.noted.and_then(update)
        if is_new:
            self.soon(self._begin, slot)

    def write(self, id: str, decide: Decide) -> Future[Record | None]:
        """At once, after what was noted: the record as it is then; None where there is none, or it was not to be."""
        future: Future[Record | None] = Future()
        with self._lock:
            slot, is_new = self._slot(id)
            slot.asked.append((decide, future))
        self.soon(self._begin if is_new else _ring, slot)
        return future

    def read(self, id: str) -> Future[Record | None]:
        """The record as it is, with what was noted here."""
        return self.write(id, _as_it_is) if id in self._slots else self.submit(self.look(id))

    def age(self, record: Record) -> int:
        """Milliseconds since the work was created; of a record that was read here."""
        return max(0, self._store(record.id).clock.now() - record.created)

    def flush(self) -> list[Future[Record | None]]:
        """Write what was noted, without a pause; each is done when one piece of work is written and shown."""
        with self._lock:
            slots = list(self._slots)
        return [self.read(id) for id in slots]

    def close(self) -> None:
        """Write what was noted, and end the thread. Whoever still waits is told that it was not to be."""
        if self.is_open:
            wait_for_all(self.flush(), LAST_SECONDS)
        super().close()
        for slot in self._slots.values():
            for _, future in slot.asked:
                future.cancel()

    # -- in the thread -------------------------------------------------------------------------------------------

    async def look(self, id: str) -> Record | None:
        """The record as the store has it."""
        return self._unpacked(id, await self._reads[self._store(id)].ask(name_of(id)))

    async def entry(self, store: Store, name: str) -> Entry | None:
        return await self._reads[store].ask(name)

    async def change(self, store: Store, change: Change) -> int:
        return await self._changes[store].ask(change)

    async def put(self, record: Record) -> Record:
        """Nowhere -> there; or the one that is there."""
        store, name = self._store(record.id), name_of(record.id)
        while True:
            there = await self.entry(store, name)
            found = self._unpacked(record.id, there)
            if found is not None:
                return found
            now = store.clock.now()
            new = replace(record, created=now, changed=now)
            seen = 0 if there is None else there.version  # of what is no record
            entry = await self.change(store, self._change(new, seen))
            if entry:
                return replace(new, entry=entry)

    async def forget(self, record: Record) -> None:
        """There -> gone, within a second."""
        await self.change(self._store(record.id), self._change(record, record.entry)._replace(keep=1_000))

    def _change(self, record: Record, seen: int) -> Change:
        """Sealed as messages are, where the layer encrypts."""
        return Change(name_of(record.id), seen, self._layer.seal(record.pack()), _keep(record))

    def _unpacked(self, id: str, entry: Entry | None) -> Record | None:
        if entry is None:
            return None
        try:
            return Record.unpack(id, entry._replace(body=self._layer.unseal(entry.body)))
        except Exception:  # noqa: BLE001  a raw writer can put anything there
            return None

    def _store(self, id: str) -> Store:
        return self._stores.choose(key=id)

    def _slot(self, id: str) -> tuple[Slot, bool]:
        slot = self._slots.get(id)
        if slot is not None:
            return slot, False
        slot = self._slots[id] = Slot(id)
        return slot, True

    def _begin(self, slot: Slot) -> None:
        self.keep(self._serve(slot))

    async def _serve(self, slot: Slot) -> None:
        """Until nothing is left to be written."""
        failures = Failures("progress")
        while taken := self._take(slot):
            noted, asked = taken
            try:
                answers = await self._write(slot, noted, [decide for decide, _ in asked])
            except asyncio.CancelledError:
                for _, future in asked:
                    future.set_exception(CancelledError())
                raise
            except Exception as error:  # noqa: BLE001  a store that is away may raise anything
                for _, future in asked:
                    future.set_exception(error)
                self._put_back(slot, noted)
                await _pause(slot, failures.failed(error))
            else:
                for (_, future), answer in zip(asked, answers, strict=True):
                    future.set_result(answer)
                failures.succeeded()
                await _pause(slot, PERIOD_SECONDS)

    def _take(self, slot: Slot) -> tuple[Update | None, list[tuple[Decide, Future[Record | None]]]] | None:
        with self._lock:
            if slot.is_empty:
                del self._slots[slot.id]
                return None
            noted, slot.noted = slot.noted, None
            asked = [one for one in slot.asked if one[1].set_running_or_notify_cancel()]
            slot.asked.clear()
            slot.alarm.clear()
        return noted, asked

    def _put_back(self, slot: Slot, noted: Update | None) -> None:
        with self._lock:
            if noted is not None:
                slot.noted = noted if slot.noted is None else noted.and_then(slot.noted)

    async def _write(self, slot: Slot, noted: Update | None, decides: Sequence[Decide]) -> list[Record | None]:
        """What each asked for, in one write."""
        store = self._store(slot.id)
        for _ in range(TRIES):
            before = slot.known or await self.look(slot.id)
            if before is None:
                return [None] * len(decides)
            now = store.clock.now()
            after, answers = _decided(before, noted, decides, now)
            if after == before and slot.known is not None:  # which may be old
                slot.known = None
                continue
            entry = before.entry
            if after != before:
                entry = await self.change(store, self._change(after, before.entry))
            if entry:
                self._written(slot, before, replace(after, entry=entry))
                return [answer and replace(answer, entry=entry) for answer in answers]
            slot.known = None
        raise StoreUnavailable(f"expected to write progress {slot.id} in {TRIES} tries, got overtaken each time")

    def _written(self, slot: Slot, before: Record, after: Record) -> None:
        slot.known = after
        if not after.shows_as(before):
            self.watched(after)
            if not self.in_memory:  # whose every watcher is in this process, and was told
                message = {"type": "progress.frame", "frame": after.frame()}
                self.keep(outbox().send(Target("group", group_of(after.id)), message, PUBLISH_SECONDS))


def _decided(
    before: Record, noted: Update | None, decides: Sequence[Decide], now: int
) -> tuple[Record, list[Record | None]]:
    """The record after all of it, and what is answered to each."""
    after = before if noted is None else updated(before, noted, now) or before
    answers: list[Record | None] = []
    for decide in decides:
        decided = decide(after, now)
        answers.append(decided)
        after = after if decided is None else decided
    return after, answers


def _as_it_is(record: Record, now: int) -> Record | None:
    return record


def _keep(record: Record) -> int:
    """For how many ms it is kept."""
    time = get_progress_settings().retention
    return (time if record.is_over else max(time, KEPT_UNFINISHED)) // timedelta(milliseconds=1)


async def _pause(slot: Slot, seconds: float) -> None:
    """Until so many seconds have passed, or somebody waits for an answer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await slot.alarm.wait()


def _ring(slot: Slot) -> None:
    slot.alarm.set()


def _nobody(record: Record) -> None:
    """No one in this process watches."""


_board = OneOfAProcess(Board)
get_board, peek_board = _board.get, _board.peek


def _close_at_the_end(board: OneOfAProcess[Board]) -> None:
    """A process of `multiprocessing` ends without `atexit`, and forgets at its begin what shall be done at its end."""
    Finalize(None, board.close, exitpriority=0)


atexit.register(_board.close)
_close_at_the_end(_board)
register_after_fork(_board, _close_at_the_end)
