"""The steps of schedules, as a store makes them: a cursor goes on, and messages come and go with it, in one act."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from ..message import Waiting

MAX_BATCH = 500  # the most one act takes, so that no script or statement runs long


class Move(NamedTuple):
    """One step of a schedule: its cursor goes from what was read to what it shall be, and messages come and go with it.

    seen
        the cursor's bytes, as they were read; None where there was none
    then
        what it shall be; None for none
    put
        what waits from then on; what is there already, waiting or claimed, was put before and is left as it is
    take
        the ids of what no longer does; an id that is not waiting is passed over, unless the step is `sure`
    sure
        nothing is done where one of `take` is not waiting
    unless
        an occurrence's id: nothing is done while it is in the store, whether it waits, is claimed, or has no ack yet
    """

    schedule: str
    seen: bytes | None
    then: bytes | None
    put: Sequence[Waiting] = ()
    take: Sequence[str] = ()
    sure: bool = False
    unless: str | None = None


class Step(IntEnum):
    """What became of a `Move`."""

    DONE = 1
    OVERTAKEN = 0  # the cursor stands elsewhere
    HELD = -1  # the message that it must not overlap is still there
    GONE = -2  # what it was to take was not waiting any more


class Moved(NamedTuple):
    """What a `Move` did, where the schedule's cursor stands now, and how many messages it took away."""

    step: Step
    cursor: bytes | None
    taken: int = 0


def refuse_moves(moves: Sequence[Move]) -> None:
    """Raise `ValueError` for more than one act takes, and for a message with a key: an occurrence has none."""
    numbers = len(moves), sum(len(move.put) for move in moves), sum(len(move.take) for move in moves)
    if max(numbers) > MAX_BATCH:
        moved, put, taken = numbers
        raise ValueError(
            f"expected at most {MAX_BATCH} moves, messages to put and ids to take, got {moved}, {put} and {taken}"
        )
    keyed = [message.id for move in moves for message in move.put if message.key is not None]
    if keyed:
        raise ValueError(f"expected occurrences to have no key, got one with {keyed[0]}")
