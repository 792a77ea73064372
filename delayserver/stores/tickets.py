"""What becomes of a ticket that is shown to a store."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from ..message import Ticket
from .moves import MAX_BATCH

MAX_ID_BYTES = 255


class Acked(IntEnum):
    """What an ack found."""

    GONE = 0  # no such message: acked before, cancelled, buried, or never kept, as an occurrence without retry
    DONE = 1  # it was handed over, and is gone now
    OTHER = 2  # it is there, but this is not its last hand-over: it goes out again, or did; nothing is done


def can_be_an_id(id: str) -> bool:
    """Whether a message can have this id. A ticket is what a consumer was sent, maybe by others than us: one that names
    what no store can hold fits nothing, and does not keep the others of its call from being answered.
    """
    try:
        return 0 < len(id.encode()) <= MAX_ID_BYTES and "\0" not in id
    except UnicodeEncodeError:
        return False


def refuse_tickets(tickets: Sequence[Ticket]) -> None:
    """Raise `ValueError` for more than one act takes."""
    if len(tickets) > MAX_BATCH:
        raise ValueError(f"expected at most {MAX_BATCH} tickets in one call, got {len(tickets)}")
