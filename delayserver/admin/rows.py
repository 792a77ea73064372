"""Rows of the model `Schedule` for the admin: also those that cannot be read, and how each stands."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from asgiref.sync import async_to_sync
from django.db import DatabaseError, models
from django.db.models.functions import Cast

from ..clock import SystemClock
from ..models import Schedule
from ..occurrences import Rule
from ..overseeing import Overseen, oversee
from ..schedules import Reading, read_fixed, rule_of
from ..stores.database_schedules import PARTS, Row, options_of

FRAGILE = [
    field.name
    for field in Schedule._meta.concrete_fields
    if isinstance(field, models.JSONField | models.DurationField | models.DateTimeField)
]
MOST_SHOWN = 200  # characters of what cannot be read


class MendingQuerySet(models.QuerySet[Schedule]):
    """Rows written by SQL may hold what their columns cannot. Such a row comes without those columns' values, and
    with what is there in `unreadable`, by column.
    """

    def _fetch_all(self) -> None:
        try:
            super()._fetch_all()
        except DatabaseError:
            raise
        except Exception:
            if self._fields is not None:  # type: ignore[attr-defined]  # asked for values, not for rows
                raise
            rows = Schedule.objects.using(self.db)
            self._result_cache = [_mended(rows, pk) for pk in list(self.values_list("pk", flat=True))]


def _mended(rows: models.QuerySet[Schedule], pk: int) -> Schedule:
    row = rows.defer(*FRAGILE).get(pk=pk)
    unreadable: dict[str, str] = {}
    for name in FRAGILE:
        try:
            setattr(row, name, rows.values_list(name, flat=True).get(pk=pk))
        except DatabaseError:
            raise
        except Exception:  # noqa: BLE001  whatever a converter says to what is in the column
            setattr(row, name, None)
            text = rows.values_list(Cast(name, models.TextField()), flat=True).get(pk=pk)
            unreadable[name] = str(text)
    row.unreadable = unreadable  # type: ignore[attr-defined]
    return row


def unreadable(row: Schedule) -> dict[str, str]:
    """What lies in the columns that cannot be read."""
    return getattr(row, "unreadable", {})


def glance(text: str) -> str:
    """As much of it as a person wants to see at first."""
    return repr(text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}...")


# -- how they stand --------------------------------------------------------------------------------------------


class Standing(NamedTuple):
    """How a row stands. `trouble` is why its store does not tell; `fault` why the row does not run."""

    overseen: Overseen
    trouble: str | None

    @property
    def fault(self) -> str | None:
        return self.overseen.clash or self.overseen.fault

    @property
    def rule(self) -> Rule | None:
        """None where the row does not run."""
        return None if self.fault else self.overseen.rule

    @property
    def state(self) -> str:
        if self.overseen.clash:
            return "left out"
        state = self.overseen.state
        return "unknown" if self.trouble and state not in ("broken", "disabled") else state


def read(rows: Iterable[Schedule]) -> Reading:
    """These rows beside what is in code and settings."""
    reading, rows = read_fixed(), list(rows)
    reading.has_rows = True
    for row in rows:
        reading.add(row.name, f"row {row.pk}", partial(rule_of, _row(row)))
    return reading


def _row(row: Schedule) -> Row:
    options: dict[str, Any] = options_of({part: getattr(row, part) for part in PARTS})
    told = ", ".join(f"{name} {glance(text)}" for name, text in unreadable(row).items())
    return Row(row.pk, row.name, options, f"its columns cannot be read: {told}" if told else None)


def standings(rows: Iterable[Schedule]) -> dict[str, Standing]:
    """How these rows stand, by name: asked all at once."""
    rows = list(rows)
    if not rows:
        return {}
    reading, names = read(rows), {row.name for row in rows}
    try:
        found, trouble = async_to_sync(oversee)(names, reading), None
    except Exception as error:  # noqa: BLE001  whatever ails a store, the rows are shown
        now = SystemClock().now()
        found = [
            Overseen(name, reading.rules.get(name), reading.faults.get(name), reading.clashes.get(name), None, now)
            for name in sorted(names)
        ]
        trouble = f"{type(error).__name__}: {error}"
    return {overseen.name: Standing(overseen, trouble) for overseen in found}
