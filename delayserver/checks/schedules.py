"""What can be told beforehand about schedules: that one cannot be kept, or that two have one name."""

from __future__ import annotations

from collections.abc import Collection

from ..conf import Fault, get_settings
from ..content import unpack
from ..errors import InvalidMessage
from ..handlers import check_handler
from ..schedules import Reading, add_rows, read_fixed
from ..stores.database_schedules import database, read_rows


def fixed_faults() -> list[Fault]:
    """Of code and settings."""
    return _faults(read_fixed(), "delayserver.E014", "delayserver.E015", "Correct it where it is declared.")


def row_faults(databases: Collection[str]) -> list[Fault]:
    """Of rows; none where they cannot be read."""
    fixed = read_fixed()
    try:
        rows = read_rows() if database() in databases else []
    except Exception:  # noqa: BLE001  tables may be missing, a server away: other checks tell
        return []
    reading = add_rows(fixed, rows)
    of_rows = Reading(
        rules={name: rule for name, rule in reading.rules.items() if rule.source == "row"},
        faults={name: reason for name, reason in reading.faults.items() if name not in fixed.faults},
        clashes={name: reason for name, reason in reading.clashes.items() if name not in fixed.clashes},
    )
    hint = "Correct the row, in the admin or with manage.py delays schedules edit; or remove it."
    return _faults(of_rows, "delayserver.W014", "delayserver.W015", hint)


def _faults(reading: Reading, broken_id: str, clash_id: str, hint: str) -> list[Fault]:
    reasons = {**reading.faults, **_unhandled(reading)}
    broken = [Fault(f"schedule {name} cannot be kept: {reason}", hint, broken_id) for name, reason in reasons.items()]
    clashing = [
        Fault(f"schedule {name}: {reason}", "Give one of the two another name.", clash_id)
        for name, reason in reading.clashes.items()
    ]
    return broken + clashing


def _unhandled(reading: Reading) -> dict[str, str]:
    """With ``CHECK_HANDLERS``: why no consumer would take what a schedule sends."""
    reasons = {}
    for name, rule in reading.rules.items() if get_settings().check_handlers else ():
        try:
            check_handler(rule.target, unpack(rule.body)["type"])
        except InvalidMessage as error:
            reasons[name] = f"{error} ({rule.where})"
    return reasons
