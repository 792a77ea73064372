"""Messages and dead letters to rows and back, and what a `put` makes of the rows that are there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast

from ..errors import KeyTaken
from ..message import DeadLetter, OnConflict, Receipt, Target, Waiting, pack_options, unpack_options
from ..models import DeadMessage, DelayedMessage
from .base import MAX_BATCH

MAX_STATEMENT_BYTES = 1_048_576  # MySQL takes 16 MiB or less in one packet, and escaping may double it

T = TypeVar("T")


@dataclass(slots=True)
class Placing:
    """What a put will do, found message by message, as if each were put alone."""

    layer: str
    on_conflict: OnConflict
    holders: dict[str, tuple[str, int]]  # key -> id and due of the message that has it
    stored: set[str]
    new: dict[str, DelayedMessage] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)

    def place(self, message: Waiting) -> Receipt:
        if message.id not in self.stored and message.id not in self.new:  # else it was put before
            key = digest(message.key)
            if key is not None and key in self.holders:
                if self.on_conflict == "error":
                    raise KeyTaken(f"a message with key {message.key!r} is waiting already")
                if self.on_conflict == "keep":
                    return Receipt(*self.holders[key], created=False)
                self._replace(key)
            self.new[message.id] = to_row(self.layer, key, message)
            if key is not None:
                self.holders[key] = message.id, message.due
        return Receipt(message.id, message.due, created=True)

    def _replace(self, key: str) -> None:
        id, _ = self.holders.pop(key)
        if self.new.pop(id, None) is None:
            self.replaced.append(id)
            self.stored.discard(id)


def digest(key: str | None) -> str | None:
    """How a key stands in the table: of one length, and no collation takes two for the same."""
    return None if key is None else hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def key_of(row: DelayedMessage) -> str:
    return row.key or ""


def to_row(layer: str, key: str | None, message: Waiting) -> DelayedMessage:
    return DelayedMessage(
        id=message.id,
        layer=layer,
        home=message.home,
        due=message.due,
        kind=message.target.kind,
        name=message.target.name,
        key=key,
        body=message.body,
        options=pack_options(message),
    )


def to_waiting(row: DelayedMessage) -> Waiting:
    target = Target(cast(Literal["channel", "group"], row.kind), row.name)
    options: dict[str, Any] = unpack_options(bytes(row.options))
    return Waiting(row.id, row.due, target, bytes(row.body), home=row.home, **options)


def to_dead(layer: str, letter: DeadLetter) -> DeadMessage:
    return DeadMessage(
        message_id=_storable(letter.id, 200),
        layer=layer,
        at=letter.at,
        reason=_storable(letter.reason, 1_000),
        source=_storable(letter.source, 200),
        body=letter.body,
    )


def _storable(text: str, length: int) -> str:
    """Text without what no database takes (surrogates, NUL), cut to its column."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")[:length]


Row = TypeVar("Row", DelayedMessage, DeadMessage)


def portions(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows in lists small enough for one statement each."""
    portion: list[Row] = []
    size = 0
    for row in rows:
        if portion and (len(portion) == MAX_BATCH or size + len(row.body) > MAX_STATEMENT_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(row)
        size += len(row.body)
    if portion:
        yield portion


def only(items: Iterable[T], held: Sequence[bool]) -> list[T]:
    return [item for item, ours in zip(items, held, strict=True) if ours]
