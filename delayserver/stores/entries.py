"""Versioned entries: what a store keeps of progress under a name, and changes only if it still is what was seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .moves import MAX_BATCH

MAX_NAME_LENGTH = 200
MAX_KEEP = 100 * 365 * 24 * 3_600_000  # 100 years of 365 days, in ms


class Entry(NamedTuple):
    """What a name stands for. The first version is 1, and each change makes it one more."""

    version: int
    body: bytes


class Change(NamedTuple):
    """What an entry becomes, if its version is still `seen` (0: there is none; None: whatever it is).

    It is kept for `keep` ms from now, and is then nothing, as if it had never been.
    """

    name: str
    seen: int | None
    body: bytes
    keep: int


def refuse_names(names: Sequence[str]) -> None:
    """Raise `ValueError` for more than one call takes, and for a name that not every store can hold."""
    if len(names) > MAX_BATCH:
        raise ValueError(f"expected at most {MAX_BATCH} entries in one call, got {len(names)}")
    for name in names:
        if not (0 < len(name) <= MAX_NAME_LENGTH and name.isprintable()):
            raise ValueError(
                f"expected a name of 1 to {MAX_NAME_LENGTH} printable characters, got {len(name)}: {name[:50]!a}"
            )


def refuse_changes(changes: Sequence[Change]) -> None:
    """As `refuse_names`, and for a time to keep that is none."""
    refuse_names([change.name for change in changes])
    for change in changes:
        if not 0 < change.keep <= MAX_KEEP:
            raise ValueError(f"expected keep to be from 1 to {MAX_KEEP} ms (100 years), got {change.keep}")
