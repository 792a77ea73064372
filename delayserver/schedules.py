"""Which schedules exist: those of the code, of ``DELAYSERVER["SCHEDULES"]``, and the rows of the model `Schedule`.

Wherever a schedule is from, it becomes a `Rule`. What can be no rule has a fault, and the others run. Where a name is
used twice, code goes before settings, and settings before rows.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .clock import monotonic
from .conf import get_settings
from .content import shown
from .declaring import declared
from .errors import DelayServerError, InvalidSchedule
from .events import SCHEDULES_UNREAD, emit
from .occurrences import Rule
from .rules import make_rule

if TYPE_CHECKING:
    from .stores.database_schedules import Row

FRESH_SECONDS = 1.0  # how old what is known may be
IN_SETTINGS = "DELAYSERVER['SCHEDULES']"


@dataclass(slots=True)
class Reading:
    """The schedules there are: rules by name; why a name has none; and which were left out, their name being taken.

    `has_rows` is whether the rows could be read, now or before.
    """

    rules: dict[str, Rule] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    clashes: dict[str, str] = field(default_factory=dict)
    has_rows: bool = False

    def add(self, name: str, where: str, make: Callable[[], Rule]) -> None:
        """One more, unless its name is taken."""
        if name in self.rules or name in self.faults:
            taken = self.rules[name].where if name in self.rules else "one that cannot be kept"
            self.clashes[name] = f"it is in {taken}, and so the one in {where} is left out"
            return
        try:
            self.rules[name] = make()
        except DelayServerError as error:
            self.faults[name] = f"{error} ({where})"
        except Exception as error:  # noqa: BLE001  settings and columns may hold any object
            self.faults[name] = f"{type(error).__name__} ({where})"


class Timetable:
    """The schedules, read again and again, for rows may change at any time and in any way. What is known may be `fresh`
    seconds old.
    """

    def __init__(self, fresh: float = FRESH_SECONDS) -> None:
        from .stores.database_schedules import ScheduleRows  # models: an ASGI module may be imported before them

        self._rows, self._fresh = ScheduleRows(), fresh
        self._fixed: Reading | None = None
        self._known_rows: list[Row] | None = None
        self._rules: dict[int, tuple[Row, Rule]] = {}
        self._is_open = False
        self._reading: Reading | None = None
        self._read_at = 0.0
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Rows are read in a thread from now on."""
        await self._rows.open()
        self._is_open = True

    async def aclose(self) -> None:
        await self._rows.aclose()

    async def read(self) -> Reading:
        """The schedules as they are, or were a moment ago; where rows cannot be read, as they were before."""
        async with self._turn:
            if self._reading is None or monotonic() - self._read_at >= self._fresh:
                self._reading = await self._read()
                self._read_at = monotonic()
            return self._reading

    async def _read(self) -> Reading:
        try:
            rows: list[Row] | None = await self._rows.read()
        except Exception as error:  # noqa: BLE001  what is in code runs all the same
            emit(SCHEDULES_UNREAD, error=error)
            rows = None
        if self._reading is not None and (rows is None or rows == self._known_rows):
            return self._reading
        if self._fixed is None:
            self._fixed = read_fixed()
        add = functools.partial(add_rows, self._fixed, rows, self._rule)
        reading = await asyncio.to_thread(add) if self._is_open else add()  # ten thousand rules take seconds
        self._known_rows = rows
        return reading

    def _rule(self, row: Row) -> Rule:
        """The same as before, where the row is: so nobody need compare its parts."""
        known = self._rules.get(row.pk)
        if known is None or known[0] != row:
            known = self._rules[row.pk] = row, rule_of(row)
        return known[1]


def read_fixed() -> Reading:
    """The schedules of code and settings, which stay as they are while a process runs."""
    reading = Reading()
    for declaration in declared():
        reading.add(declaration.name, declaration.where, declaration.rule)
    for name, options in get_settings().schedules.items():
        reading.add(str(name), IN_SETTINGS, functools.partial(_of_settings, name, options))
    return reading


def add_rows(fixed: Reading, rows: Sequence[Row] | None, make: Callable[[Row], Rule] | None = None) -> Reading:
    """And those of rows, whose names go last; None for rows that could not be read."""
    reading = Reading(dict(fixed.rules), dict(fixed.faults), dict(fixed.clashes), rows is not None)
    for row in rows or ():
        reading.add(row.name, f"row {row.pk}", functools.partial(make or rule_of, row))
    return reading


def _of_settings(name: str, options: object) -> Rule:
    if not isinstance(options, Mapping):
        raise InvalidSchedule(f"expected a dict, got {shown(options)}")
    return make_rule(name, options, "settings", IN_SETTINGS)


def rule_of(row: Row) -> Rule:
    if row.fault is not None:
        raise InvalidSchedule(row.fault)
    return make_rule(row.name, row.options, "row", f"row {row.pk}")
