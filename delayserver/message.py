"""A message on its way: what a caller asks for, what a store keeps, and the bytes between.

`Message` is the request, checked when it is made. `Message.waiting()` resolves it against a clock and packs
its content: `Waiting` is what stores hold. `parse()` makes a `Message` of anything at all that came in
on ``asgi.delay``, or raises `InvalidMessage`; it never raises anything else, and its work is bounded by the
size limit.
"""

from __future__ import annotations

import functools
import hashlib
import os
import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import msgpack

from .backoff import Retry
from .clock import Clock, microseconds
from .content import Content, check_envelope, pack, shown, unpack
from .errors import InvalidMessage

MAX_DELAY = 100 * 365 * 24 * 3_600_000  # 100 years of 365 days, in ms
MAX_NAME_LENGTH = 99  # Channels: "length < 100"
MAX_KEY_LENGTH = 200
MAX_DEAD_BYTES = 4_096  # how much is kept of what was refused
OCCURRENCE = "schedule:"  # so begins the id of what a schedule sends

# Channels' own patterns let "a\n", "a!" and non-ASCII digits through; these do not.
_CHANNEL = re.compile(r"[a-zA-Z0-9._-]+(![a-zA-Z0-9._-]+)?")
_GROUP = re.compile(r"[a-zA-Z0-9._-]+")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_WIRE_KEYS = frozenset(
    {"channel", "group", "content", "delay", "eta", "key", "on_conflict", "expires", "retry", "type"}
)

OnConflict = Literal["keep", "replace", "error"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a message goes: a channel, or every channel of a group."""

    kind: Literal["channel", "group"]
    name: str

    def __post_init__(self) -> None:
        pattern = _CHANNEL if self.kind == "channel" else _GROUP
        if not isinstance(self.name, str) or len(self.name) > MAX_NAME_LENGTH or not pattern.fullmatch(self.name):
            raise InvalidMessage(
                f"expected {self.kind} to be a name of 1 to {MAX_NAME_LENGTH} ASCII letters, digits, hyphens,"
                f" underscores and periods{' (and one !local part)' if self.kind == 'channel' else ''},"
                f" got {shown(self.name)}"
            )

    @property
    def backlogs(self) -> tuple[str, ...]:
        """What it may have to wait behind: its own name; and, for ``specific.x!y``, ``specific.x!``, whose parts may
        share one channel. A group's begins with an asterisk, which no name has.
        """
        if self.kind == "group":
            return (f"*{self.name}",)
        shared, bang, _ = self.name.partition("!")
        return (self.name, shared + bang) if bang else (self.name,)


class Receipt(NamedTuple):
    """What a caller holds after scheduling: the message's id, its due instant, and whether it is new.

    id
        the message's own name, by which `cancel`, `reschedule` and `get` find it
    due
        milliseconds since the epoch, UTC, by the store's clock
    created
        False where a message with the same key was waiting already and was kept; id and due are then that message's
    """

    id: str
    due: int
    created: bool


class Occurrence(NamedTuple):
    """One firing of a schedule: of which, and the instant it is meant for (ms since the epoch)."""

    schedule: str
    scheduled_for: int

    @property
    def id(self) -> str:
        """The message's id: the same wherever this firing is put."""
        return f"{OCCURRENCE}{self.schedule}:{self.scheduled_for}"


@dataclass(slots=True, unsafe_hash=True)
class Waiting:
    """A message as a store keeps it: resolved, packed, ready to be handed over when due.

    Nobody changes one. It is not frozen because that makes it twice as dear, and there are many.
    """

    id: str
    due: int
    target: Target
    body: bytes
    key: str | None = None
    expires: int | None = None
    retry: Retry | None = None
    attempt: int = 0
    home: str = ""  # the process it must go out in, where the layer is a process's own
    occurrence: Occurrence | None = None  # which firing of a schedule it is, where it is one
    on_conflict: OnConflict = field(default="keep", compare=False)  # what a put does where its key is taken; not kept

    def asked_for(self) -> Message:
        """The request that it was: eta and expires as instants; any exception where the body is no content."""
        kind, name = self.target.kind, self.target.name
        return Message(
            content=unpack(self.body),
            channel=name if kind == "channel" else None,
            group=name if kind == "group" else None,
            eta=at_instant(self.due),
            key=self.key,
            expires=None if self.expires is None else at_instant(self.expires),
            retry=self.retry,
        )

    def content(self, unseal: Callable[[bytes], bytes] = bytes) -> Content:
        """The content as it was given; with `retry`, or from a schedule, with ``__delay__`` beside it."""
        content: Content = unpack(unseal(self.body))
        if self.retry or self.occurrence:
            content["__delay__"] = {
                "id": self.id,
                "attempt": self.attempt + 1,
                "due": self.due,
                "scheduled_for": self.occurrence and self.occurrence.scheduled_for,
                "schedule": self.occurrence and self.occurrence.schedule,
            }
        return content

    def expired(self, now: int) -> bool:
        """Whether it shall no longer be handed over."""
        return self.expires is not None and self.expires < now

    def anew(self, due: int) -> Waiting:
        """The same message from the beginning, due then, without an expiry."""
        return replace(self, due=due, attempt=0, expires=None)

    def spent(self, attempts: int = 1) -> Waiting:
        """The same message, so many attempts further; fewer where they are given back, but never below none."""
        return replace(self, attempt=max(0, self.attempt + attempts))


class Claim(NamedTuple):
    """A claimed message and its generation, which whoever finishes shows."""

    message: Waiting
    generation: int


class Ticket(NamedTuple):
    """Which message, and which of its hand-overs, from 1: `id` and `attempt` of its ``__delay__``."""

    id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that can never be handed over, or is out of attempts, kept for a person.

    `at` is milliseconds since the epoch. `message` is what can be put again; where there is none, something came that
    never was one, and `body` is its bytes, cut at a limit.
    """

    id: str
    at: int
    reason: str
    source: str
    body: bytes
    message: Waiting | None = None

    @classmethod
    def of(cls, message: Waiting, at: int, reason: str) -> DeadLetter:
        """A message that waited, whole; how often it went out is told by the reason."""
        message = replace(message, due=at, attempt=0)
        return cls(message.id, at, reason, message.target.name, message.body, message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message to be sent later, as a caller asks for it. Wrong parts are refused when it is made.

    content
        a dict with a ``type``: what the consumer receives
    channel, group
        one of the two: where it goes
    delay, eta, key, on_conflict, expires, retry
        as in `Options`
    """

    content: Content
    channel: str | None = None
    group: str | None = None
    delay: int | timedelta | None = None
    eta: datetime | None = None
    key: str | None = None
    on_conflict: OnConflict = "keep"
    expires: int | timedelta | datetime | None = None
    retry: Retry | None = None

    def __post_init__(self) -> None:
        if (self.channel is None) == (self.group is None):
            raise InvalidMessage(f"expected one of channel and group, got {_count(self.channel)}")
        check_time(self.delay, self.eta)
        self.target  # noqa: B018  refuses a bad name
        if self.expires is not None:
            _either("expires", self.expires)
        if self.key is not None and not (
            isinstance(self.key, str) and 0 < len(self.key) <= MAX_KEY_LENGTH and self.key.isprintable()
        ):
            raise InvalidMessage(
                f"expected key to be 1 to {MAX_KEY_LENGTH} printable characters, got {shown(self.key)}"
            )
        if not isinstance(self.on_conflict, str) or self.on_conflict not in ("keep", "replace", "error"):
            raise InvalidMessage(
                f'expected on_conflict to be "keep", "replace" or "error", got {shown(self.on_conflict)}'
            )
        if self.retry is not None and not isinstance(self.retry, Retry):
            raise InvalidMessage(f"expected retry to be a Retry, got {shown(self.retry)}")
        check_envelope(self.content)

    @property
    def target(self) -> Target:
        if self.channel is not None:
            return _target("channel", self.channel)
        return _target("group", self.group)  # type: ignore[arg-type]

    def pack(self, max_bytes: int) -> bytes:
        """The content as msgpack, of at most `max_bytes` bytes."""
        check_envelope(self.content)  # again: it may have been changed since
        return pack(self.content, max_bytes)

    def resolve(self, clock: Clock, body: bytes, *, id: str | None = None, home: str = "") -> Waiting:
        """With its times resolved by `clock`; `body` is what `pack` made, sealed where the layer encrypts."""
        due = due_instant(clock, self.delay, self.eta)
        expires = None
        if self.expires is not None:
            kind, value = _either("expires", self.expires)
            if kind == "instant":
                expires = value
            elif self.delay is not None:  # both from one reading of the clock
                expires = due - milliseconds("delay", self.delay) + value
            else:
                expires = clock.due(value)
            if expires < due:
                raise InvalidMessage("expected expires not to be before the message is due")
        return Waiting(
            id or new_id(due),
            due,
            self.target,
            body,
            key=self.key,
            expires=expires,
            retry=self.retry,
            home=home,
            on_conflict=self.on_conflict,
        )

    def waiting(self, clock: Clock, max_bytes: int) -> Waiting:
        """Packed and resolved at once."""
        return self.resolve(clock, self.pack(max_bytes))


def _target(kind: Literal["channel", "group"], name: str) -> Target:
    """Few names come again and again."""
    return _known_target(kind, name) if type(name) is str else Target(kind, name)


_known_target = functools.lru_cache(maxsize=256)(Target)


def parse(wire: object) -> Message:
    """A `Message` from what came in on ``asgi.delay``, or `InvalidMessage`.

    The shape is Channels 1's ``{"channel", "content", "delay"}``, with ``group`` or ``eta`` instead and the
    optional ``key``, ``on_conflict``, ``expires``, ``retry``; a ``type`` beside them is ignored.
    """
    if type(wire) is not dict:
        raise InvalidMessage(f"expected a dict, got {shown(wire)}")
    unknown = [name for name in wire if not isinstance(name, str) or name not in _WIRE_KEYS]
    if unknown:
        raise InvalidMessage(
            f"expected no keys but {', '.join(sorted(_WIRE_KEYS - {'type'}))};"
            f" got {', '.join(shown(name) for name in unknown[:5])}"
        )
    options = {name: value for name, value in wire.items() if name != "type"}
    if "content" not in options:
        raise InvalidMessage("expected content, got none")
    for name in ("channel", "group", "delay", "eta", "on_conflict"):
        if name in options and options[name] is None:
            raise InvalidMessage(f"expected {name} to have a value or be left out, got None")
    if "delay" in options and type(options["delay"]) is not int:
        raise InvalidMessage(f"expected delay to be whole milliseconds (an int), got {shown(options['delay'])}")
    if "eta" in options:
        options["eta"] = _parse_instant("eta", options["eta"])
    if isinstance(options.get("expires"), str):
        options["expires"] = _parse_instant("expires", options["expires"])
    if options.get("retry") is not None:
        options["retry"] = Retry.parse(options["retry"])
    return Message(**options)


# -- times ---------------------------------------------------------------------------------------------------


def check_time(delay: int | timedelta | None, eta: datetime | None) -> None:
    """Raise `InvalidMessage` unless one of the two is given, and says when."""
    if (delay is None) == (eta is None):
        raise InvalidMessage(f"expected one of delay and eta, got {_count(delay)}")
    if delay is not None:
        milliseconds("delay", delay)
    if eta is not None:
        instant_of("eta", eta)


def due_instant(clock: Clock, delay: int | timedelta | None, eta: datetime | None) -> int:
    """Either of the two by `clock`, in milliseconds since the epoch."""
    if delay is not None:
        return clock.due(milliseconds("delay", delay))
    due = instant_of("eta", eta)
    if due - clock.now() > MAX_DELAY:
        raise InvalidMessage(f"expected eta to be at most 100 years ahead, got {shown(eta)}")
    return due


def at_instant(ms: int) -> datetime:
    """Milliseconds since the epoch as an aware datetime, UTC."""
    return _EPOCH + ms * _MS


# -- bytes ---------------------------------------------------------------------------------------------------


def pack_options(message: Waiting) -> bytes:
    """What few messages have, as one blob; empty where a message has none of it."""
    if not (message.key or message.expires is not None or message.retry or message.attempt or message.occurrence):
        return b""
    retry = message.retry and message.retry.to_wire()
    options = [message.key, message.expires, retry, message.attempt, *(message.occurrence or ())]
    return bytes(msgpack.packb(options))


def unpack_options(blob: bytes) -> dict[str, Any]:
    """The keyword arguments of `Waiting` that `pack_options` put into the blob."""
    if not blob:
        return {}
    key, expires, retry, attempt, *occurrence = msgpack.unpackb(blob)
    options = {"key": key, "expires": expires, "retry": retry and Retry.parse(retry), "attempt": attempt}
    return {**options, "occurrence": Occurrence(*occurrence)} if occurrence else options


# -- ids -----------------------------------------------------------------------------------------------------

_chance = random.Random()  # noqa: S311  to differ from other processes, not to be secret
_last_ticket = 0
_ticket_lock = threading.Lock()


def _begin_in_child() -> None:
    global _ticket_lock
    _ticket_lock = threading.Lock()  # a thread that is not here may have held it
    _chance.seed()


os.register_at_fork(after_in_child=_begin_in_child)


def new_id(due: int) -> str:
    """A new id: 48 bits of the due instant (ms), 48 of the order in this process, 32 of chance, in hex.

    Messages due at the same millisecond sort in the order in which their process made them.
    """
    global _last_ticket
    with _ticket_lock:
        _last_ticket = ticket = max(_last_ticket + 1, microseconds())
    return f"{due & _48_BITS:012x}{ticket & _48_BITS:012x}{_chance.getrandbits(32):08x}"


def derived_id(arrival: int, raw: bytes) -> str:
    """The id of a message that came over a layer: the same bytes get the same id, later ones a later one.

    `arrival` is the instant in microseconds that came with the message.
    """
    return f"{arrival & (1 << 64) - 1:016x}{hashlib.blake2b(raw, digest_size=8).hexdigest()}"


_48_BITS = (1 << 48) - 1

# -- checks --------------------------------------------------------------------------------------------------


def _count(one: object) -> str:
    return "neither" if one is None else "both"


def milliseconds(name: str, delay: object) -> int:
    """A delay in whole milliseconds, rounded up: never early."""
    if type(delay) is timedelta:
        ms = -(-delay // _MS)
    elif type(delay) is int:
        ms = delay
    else:
        meant = f" (did you mean timedelta(seconds={delay!r})?)" if type(delay) is float and delay == delay else ""
        raise InvalidMessage(
            f"expected {name} to be whole milliseconds (int) or a timedelta, got {shown(delay)}{meant}"
        )
    if not 0 <= ms <= MAX_DELAY:
        raise InvalidMessage(f"expected {name} to be from 0 to {MAX_DELAY} ms (100 years), got {shown(delay)}")
    return ms


def instant_of(name: str, instant: object) -> int:
    """An aware datetime in milliseconds since the epoch, rounded up."""
    if not isinstance(instant, datetime) or instant.utcoffset() is None:
        raise InvalidMessage(f"expected {name} to be an aware datetime, got {shown(instant)}")
    ms = -((_EPOCH - instant) // _MS)
    if ms < 0:
        raise InvalidMessage(f"expected {name} to be 1970 or later, got {shown(instant)}")
    return ms


def _either(name: str, value: object) -> tuple[Literal["delay", "instant"], int]:
    if isinstance(value, datetime):
        return "instant", instant_of(name, value)
    return "delay", milliseconds(name, value)


def _parse_instant(name: str, text: object) -> datetime:
    if type(text) is str and len(text) <= 64:
        try:
            instant = datetime.fromisoformat(text)
        except ValueError:
            pass
        else:
            if instant.utcoffset() is not None:
                return instant
    raise InvalidMessage(f"expected {name} to be an ISO 8601 instant with offset, got {shown(text)}")
