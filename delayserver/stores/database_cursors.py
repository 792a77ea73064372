"""Where schedules stand, and what moves with them: all moves of a call are one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..events import OCCURRENCE_ELSEWHERE, emit
from ..message import Waiting
from ..models import ScheduleCursor, ScheduleCursorQuerySet
from .database_rows import New, each, to_row
from .database_shelf import ShelfTable
from .moves import Move, Moved, Step


class Row(NamedTuple):
    """What is read of a message: whose it is, and whether it can be taken."""

    layer: str
    free: bool


@dataclass(slots=True)
class Course:
    """What some moves will do to the rows, found move by move, as if each were alone."""

    layer: str
    cursors: dict[str, bytes]
    rows: dict[str, Row]
    now: int
    new: dict[str, New] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)  # of what was read

    def do(self, move: Move) -> Moved:
        cursor = self.cursors.get(move.schedule)
        if cursor != move.seen:
            return Moved(Step.OVERTAKEN, cursor)
        if move.unless is not None and self._is_here(move.unless):
            return Moved(Step.HELD, cursor)
        ids = dict.fromkeys(move.take)
        found = [id for id in ids if id in self.rows and self.rows[id].free]
        if move.sure and len(found) < len(ids):
            return Moved(Step.GONE, cursor)
        for id in found:
            self._take(id)
        for message in move.put:
            self._put(message)
        if move.then is None:
            self.cursors.pop(move.schedule, None)
        else:
            self.cursors[move.schedule] = move.then
        return Moved(Step.DONE, move.then, len(found))

    def _is_here(self, id: str) -> bool:
        return id in self.rows and self.rows[id].layer == self.layer

    def _take(self, id: str) -> None:
        del self.rows[id]
        if self.new.pop(id, None) is None:
            self.gone.add(id)

    def _put(self, message: Waiting) -> None:
        if message.id not in self.rows:
            self.new[message.id] = to_row(self.layer, None, message)
            self.rows[message.id] = Row(self.layer, not message.expired(self.now))
        elif not self._is_here(message.id):  # the table has one column of ids for all layers
            emit(OCCURRENCE_ELSEWHERE, id=message.id)


class CursorTable(ShelfTable):
    """The messages of a layer, as its schedules put them."""

    @property
    def _cursors(self) -> ScheduleCursorQuerySet:
        return ScheduleCursor.objects.using(self.using).of(self.layer)

    def cursors(self, names: Collection[str]) -> dict[str, bytes]:
        return self.again(self._read_cursors, names)

    def _read_cursors(self, names: Collection[str]) -> dict[str, bytes]:
        rows = self._cursors.filter(name__in=names) if names else self._cursors
        return {name: bytes(state) for name, state in rows.values_list("name", "state")}

    def put_occurrences(self, moves: Sequence[Move]) -> list[Moved]:
        return self.serve(self._put_occurrences, moves, self.connection.in_atomic_block)

    def _put_occurrences(self, moves: Sequence[Move], joined: bool) -> list[Moved]:
        self._lock_sqlite()
        names = {move.schedule for move in moves}
        # In one order everywhere: fewer deadlocks. Of two that make the same row, the later one tries again.
        ours = self._cursors.filter(name__in=names).order_by("name").select_for_update()
        stood = {name: (id, bytes(state)) for id, name, state in ours.values_list("id", "name", "state")}
        course = Course(
            layer=self.layer,
            cursors={name: state for name, (_, state) in stood.items()},
            rows=self._rows_for(moves),
            now=self.read_clock().now(),
        )
        moved = [course.do(move) for move in moves]
        if course.gone:
            self._all.filter(pk__in=course.gone).delete()
        if course.new:
            self._insert(list(course.new.values()))
            self._announce(min(row.due for row in course.new.values()), joined)
        self._keep(stood, course.cursors)
        return moved

    def _rows_for(self, moves: Sequence[Move]) -> dict[str, Row]:
        """The rows there are of all that the moves name; those that they take are ours until the transaction ends."""
        taken = {id for move in moves for id in move.take}
        named = {move.unless for move in moves if move.unless is not None}
        named |= {message.id for move in moves for message in move.put}
        locked = self._all.filter(pk__in=taken).order_by("pk").select_for_update()
        found = list(locked.values_list("id", "layer", "generation", "options"))
        expired = self._expired({id: options for id, _, generation, options in found if not generation})
        rows = {
            id: Row(layer, free=layer == self.layer and not generation and id not in expired)
            for id, layer, generation, _ in found
        }
        others = self._all.filter(pk__in=named - taken).values_list("id", "layer")
        return rows | {id: Row(layer, free=False) for id, layer in others}

    def _keep(self, stood: Mapping[str, tuple[int, bytes]], cursors: Mapping[str, bytes]) -> None:
        """The cursors in the table as they shall stand: one statement for all that go, that change, that are new."""
        gone = [id for name, (id, _) in stood.items() if name not in cursors]
        changed = {id: cursors[name] for name, (id, was) in stood.items() if cursors.get(name, was) != was}
        new = {name: state for name, state in cursors.items() if name not in stood}
        if gone:
            self._cursors.filter(pk__in=gone).delete()
        if changed:
            placeholder = "_binary %s" if self.vendor == "mysql" else "%s"  # MySQL warns of bytes that are no text
            self._cursors.filter(pk__in=changed).update(state=each(changed, placeholder))
        if new:
            rows = [ScheduleCursor(layer=self.layer, name=name, state=state) for name, state in sorted(new.items())]
            ScheduleCursor.objects.using(self.using).bulk_create(rows)
