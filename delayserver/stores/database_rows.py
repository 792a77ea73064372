"""Messages and dead letters to rows and back, and what a `put` makes of the rows that are there."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, cast

from django.db.models import BinaryField, Case, F, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Length

from ..errors import InvalidMessage, KeyTaken
from ..message import DeadLetter, Receipt, Target, Waiting, pack_options, unpack_options
from ..models import SLOT_MS, DeadMessage, DelayedMessageQuerySet
from .base import MAX_BATCH, MAX_CLAIM_BYTES

MAX_STATEMENT_BYTES = 1_048_576  # MySQL takes 16 MiB or less in one packet, and escaping may double it
SMALL_BYTES = MAX_CLAIM_BYTES // MAX_BATCH  # a batch of such bodies can be read before it is known how large they are
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"  # not printable, as Python has it
SLOTS = 2**20 - 2  # from 1 on; all their instants fit into 63 bits

T = TypeVar("T")


class Bodied(Protocol):
    """What is stored with a body."""

    @property
    def body(self) -> Sized: ...


B = TypeVar("B", bound=Bodied)


@dataclass(slots=True)
class Placing:
    """What a put will do, found message by message, as if each were put alone."""

    layer: str
    holders: dict[str, tuple[str, int]]  # key -> id and due of the message that has it
    stored: set[str]
    new: dict[str, New] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)

    def place(self, message: Waiting) -> Receipt:
        if message.id not in self.stored and message.id not in self.new:  # else it was put before
            key = digest(message.key)
            if key is not None and key in self.holders:
                if message.on_conflict == "error":
                    raise KeyTaken(f"a message with key {message.key!r} is waiting already")
                if message.on_conflict == "keep":
                    id, due = self.holders[key]
                    return Receipt(id, due % SLOT_MS, created=False)
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


class New(NamedTuple):
    """A row to insert, column by column."""

    id: str
    layer: str
    home: str
    due: int
    generation: int
    kind: str
    name: str
    key: str | None
    body: bytes
    options: bytes


def key_of(row: New) -> str:
    return row.key or ""


def to_row(layer: str, key: str | None, message: Waiting) -> New:
    kind, name = message.target.kind, message.target.name
    return New(message.id, layer, message.home, message.due, 0, kind, name, key, message.body, pack_options(message))


class Found(NamedTuple):
    """What a claim reads of a row; `body` is None where it is not small."""

    id: str
    due: int
    home: str
    kind: str
    name: str
    options: bytes
    size: int
    body: bytes | None

    def backlog(self, full: Collection[str]) -> str | None:
        """Behind which of these its message has to wait."""
        try:
            names = to_target(self.kind, self.name).backlogs
        except InvalidMessage:
            return None
        return next((name for name in names if name in full), None)

    def waiting(self, body: bytes | memoryview) -> Waiting:
        options: dict[str, Any] = unpack_options(bytes(self.options))
        target = to_target(self.kind, self.name)
        return Waiting(self.id, self.due % SLOT_MS, target, bytes(body), home=self.home, **options)


_SIZE = Length("body")
_SMALL_BODY = Case(When(size__lte=SMALL_BYTES, then=F("body")), output_field=BinaryField(null=True))


def read_rows(query: DelayedMessageQuerySet, limit: int) -> list[Found]:
    """The first rows of `query`; large bodies are left where they are."""
    parts = query.annotate(size=_SIZE, small_body=_SMALL_BODY)
    names = ("id", "due", "home", "kind", "name", "options", "size", "small_body")
    return [Found(*row) for row in parts.values_list(*names)[:limit]]


def within(budget: int, rows: Sequence[Found]) -> Sequence[Found]:
    """The first rows whose bodies fit into `budget`, and in any case the very first."""
    for number, row in enumerate(rows):
        budget -= row.size
        if number and budget < 0:
            return rows[:number]
    return rows


def in_column(text: str) -> str:
    """Printable text as its column has it: MySQL and MariaDB take no notice of spaces at the end."""
    return text[:-1] + NO_BREAK_SPACE if text.endswith(" ") else text


def slot_of(backlog: str) -> int:
    """Where a backlog lies: `DelayedMessageQuerySet.in_slot`. That two share a slot is rare, and allowed for."""
    return 1 + zlib.crc32(backlog.encode()) % SLOTS


def backlog_in(slot: int, kind: str, name: str) -> str | None:
    """The backlog that what is for this target waits in, where it lies in that slot."""
    try:
        names = to_target(kind, name).backlogs
    except InvalidMessage:
        return None
    return next((backlog for backlog in names if slot_of(backlog) == slot), None)


@functools.lru_cache(1_024)
def to_target(kind: str, name: str) -> Target:
    if kind not in ("channel", "group"):
        raise InvalidMessage(f"expected kind to be channel or group, got {kind!r}")
    return Target(cast(Literal["channel", "group"], kind), name)


def expires_of(options: bytes | memoryview) -> int | None:
    """When a message with these options expires."""
    expires: int | None = unpack_options(bytes(options)).get("expires")
    return expires


def to_dead(layer: str, letter: DeadLetter) -> DeadMessage:
    row = DeadMessage(
        message_id=_storable(letter.id, 200),
        layer=layer,
        at=letter.at,
        reason=_storable(letter.reason, 1_000),
        source=_storable(letter.source, 200),
        body=letter.body,
    )
    if letter.message is not None:
        row.kind, row.name = letter.message.target.kind, letter.message.target.name
        row.options = pack_options(letter.message)
    return row


def from_dead(row: DeadMessage, body: bytes | memoryview) -> DeadLetter:
    """The dead letter in a row; without its message where a raw writer made that something else."""
    body = bytes(body)
    message = None
    with contextlib.suppress(Exception):
        message = Waiting(
            row.message_id, row.at, to_target(row.kind, row.name), body, **unpack_options(bytes(row.options))
        )
    return DeadLetter(row.message_id, row.at, row.reason, row.source, body, message)


def _storable(text: str, length: int) -> str:
    """Text without what no database takes (surrogates, NUL), cut to its column."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")[:length]


def portions(rows: Iterable[B]) -> Iterator[list[B]]:
    """What is to be stored, in lists small enough for one statement each."""
    portion: list[B] = []
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


def each(values: Mapping[Any, Any], placeholder: str = "%s") -> RawSQL:
    """What each of these ids gets, in one statement; Django's own `Case` takes ten times as long."""
    parts = [part for pair in values.items() for part in pair]
    return RawSQL(f"CASE id {f'WHEN %s THEN {placeholder} ' * len(values)}END", parts)  # noqa: S611  placeholders only
