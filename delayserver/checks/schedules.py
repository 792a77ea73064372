"""What can be told beforehand about schedules: that one cannot be kept, or that two have one name."""

from __future__ import annotations

from collections.abc import Collection

from ..conf import Fault
from ..schedules import Reading, add_rows, read_fixed
from ..stores.database_schedules import database, read_rows

COMMANDS = "manage.py delays schedules"


def fixed_faults() -> list[Fault]:
    """Of code and settings."""
    return _faults(read_fixed(), "E", "Correct it where it is declared.")


def row_faults(databases: Collection[str]) -> list[Fault]:
    """Of rows; none where they cannot be read."""
    fixed = read_fixed()
    try:
        rows = read_rows() if database() in databases else []
    except Exception:  # noqa: BLE001  tables may be missing, a server away: other checks tell
        return []
    reading = add_rows(fixed, rows)
    mended = Reading(
        faults={name: reason for name, reason in reading.faults.items() if name not in fixed.faults},
        clashes={name: reason for name, reason in reading.clashes.items() if name not in fixed.clashes},
    )
    return _faults(mended, "W", f"Correct the row, in the admin or with {COMMANDS} edit; or remove it.")


def _faults(reading: Reading, severity: str, hint: str) -> list[Fault]:
    broken = [
        Fault(f"schedule {name} cannot be kept: {reason}", hint, f"delayserver.{severity}014")
        for name, reason in reading.faults.items()
    ]
    clashing = [
        Fault(f"schedule {name}: {reason}", "Give one of the two another name.", f"delayserver.{severity}015")
        for name, reason in reading.clashes.items()
    ]
    return broken + clashing
