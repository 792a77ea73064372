"""The layer protocol: how due messages get onto a channel layer, and how `asgi.delay` is read from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from ..content import Content
from ..message import Target


class Delivery(NamedTuple):
    """One message to put on its target now, before the tick `until` (`clock.ticks`).

    That is when the claim's lease ends, or when the message expires, whichever comes first.
    """

    target: Target
    content: Content
    until: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """It is on its target."""


@dataclass(frozen=True, slots=True)
class Full:
    """The channel is at its capacity; the message waits."""


@dataclass(frozen=True, slots=True)
class Late:
    """The time for it was over before it went out: it has expired, or is somebody else's now."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The layer will never take it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The layer could not be reached, or did not say; the message waits."""

    error: Exception


Outcome = Delivered | Full | Late | Refused | Failed


class Placed(NamedTuple):
    """A message as it lies on a channel: the channel's key, its capacity, and the bytes."""

    key: str
    capacity: int
    member: bytes


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message found on a channel: `raw` as it lies there, cut at a limit, and what it decodes to.

    `content` is anything at all; `fault` says why there is none. `sent_at` is the sender's own clock, in
    microseconds since the epoch. `token` is what the inbox needs to remove it.
    """

    token: bytes
    raw: bytes
    sent_at: int
    content: object = None
    fault: str | None = None


class Inbox(ABC):
    """One channel on one host of a layer, read for `intake`.

    What `read` gave comes again until it is discarded.
    """

    place: str | None = None  # the server and database the channel lies on, as `Store.place`
    key: str = ""  # its key there
    taking_key: str = ""  # and that of who has claimed what on it

    @abstractmethod
    async def open(self, wake: Callable[[], None]) -> None:
        """Start to listen; `wake` is called whenever something may have arrived."""

    @abstractmethod
    async def read(self, limit: int, *, claim: bool) -> Sequence[Arrived]:
        """What has arrived, oldest first, at most `limit`; with `claim`, what no other server reads at present."""

    @abstractmethod
    async def discard(self, arrived: Sequence[Arrived]) -> None:
        """On the channel -> gone."""

    async def leave(self, arrived: Sequence[Arrived]) -> None:
        """On the channel -> on the channel, and not read again for a while: it cannot be stored at present."""

    @abstractmethod
    async def aclose(self) -> None:
        """Stop listening. What was read and not stored is lost where the layer does not keep it."""

    def poll_seconds(self) -> float:
        """How long to sleep when nothing is there and nothing wakes us."""
        return 5.0


class Desired(NamedTuple):
    """How many messages of a channel a worker can take now; `keep` is False where they may be lost with it."""

    channel: str
    most: int
    keep: bool = True


@dataclass(slots=True, eq=False)
class Taken:
    """A message in a worker's hand. Nobody else has it before its lease is over.

    `raw` is as it lay on the channel; `content` what it decodes to, anything at all; `fault` says why there is none.
    `again` where it was in another worker's hand when that died. `generation` is the ticket to show; empty where the
    layer has forgotten the message.
    """

    channel: str
    raw: bytes
    content: object = None
    fault: str | None = None
    again: bool = False
    generation: bytes = b""


class Turn(NamedTuple):
    """What came of one turn: what was taken, which of what was done was no longer ours, and for how many seconds there
    will be nothing that nobody tells of.
    """

    taken: Sequence[Taken]
    lost: Sequence[Taken]
    seconds: float


class Source(ABC):
    """Some worker channels on one host of a layer, as a worker takes from them. A lease is `lease` seconds."""

    lease: float = 0.0  # 0.0: what is taken is in this process alone, and nobody else could take it
    remembers: bool = False  # whether it keeps `charge`

    @abstractmethod
    async def open(self, wake: Callable[[], None]) -> None:
        """Start to listen; `wake` is called whenever something may have come."""

    @abstractmethod
    async def turn(self, done: Sequence[Taken], desired: Sequence[Desired], most: int, *, over: bool) -> Turn:
        """In hand -> gone, what is `done`; on the channels -> in hand, what is desired, and `most` in all.

        With `over`, first what is in hands whose lease is over.
        """

    def renew(self, taken: Sequence[Taken]) -> list[bool]:
        """In hand -> in hand, for another lease; whether each was still ours. From any thread."""
        return [True] * len(taken)

    @abstractmethod
    async def give_back(self, taken: Sequence[Taken]) -> None:
        """In hand -> on the channel, where the next worker takes it at once."""

    async def charges(self, names: Sequence[str], act: Charge) -> list[int]:
        """How often each of these messages was begun since a worker first died with it; 0 for those that were not."""
        return [0] * len(names)

    @abstractmethod
    async def aclose(self) -> None:
        """Stop listening."""


class Charge(StrEnum):
    """What to do with the count of `Source.charges`, before it is told."""

    READ = "read"
    DIED = "died"  # it was in the hand of a worker that died: 1, where there is none
    BEGUN = "begun"  # one more
    SPARED = "spared"  # one fewer: it was cut off, and nobody died
    CLEARED = "cleared"


class Layer(ABC):
    """A channel layer, as dispatch and intake use it. `places` are the servers its channels lie on, if it has any."""

    places: Sequence[str] = ()  # as `Store.place`; a host is a position in it
    format: object | None = None  # what a store on a host needs to put plain messages on channels there itself
    expiry: int = 0  # after how many seconds a channel that nobody sends to is dropped

    @abstractmethod
    def check(self, content: Content) -> None:
        """Raise `InvalidMessage` for content that this layer cannot serialise."""

    def seal(self, body: bytes) -> bytes:
        """A packed body as it shall lie in a store: encrypted, where the layer encrypts."""
        return body

    def unseal(self, body: bytes) -> bytes:
        """The packed body again; any exception where it was not sealed by a key of this layer."""
        return body

    @abstractmethod
    async def open(self) -> None:
        """Before the first delivery."""

    def host_of(self, target: Target) -> int | None:
        """The host that a target's messages must go through; None where any will do."""
        return None

    def backlog_of(self, target: Target) -> str:
        """Behind what a message waits when its target is full: the one of `Target.backlogs` with a capacity."""
        return target.backlogs[0]

    @abstractmethod
    def lane(self, target: Target) -> Hashable:
        """What may be slow, or away, by itself: `deliver` is given the messages of one lane together."""

    @abstractmethod
    async def deliver(self, lane: Hashable, batch: Sequence[Delivery]) -> list[Outcome]:
        """Put each message on its target, those of one channel in order, none after its `until`; one outcome for each.

        The last look at the time comes right before a message goes out, however long the others took.
        """

    def place(self, delivery: Delivery, now: int) -> Placed:
        """How a message for a channel lies on a host, whose clock says `now`; any exception for what the layer cannot
        serialise.
        """
        raise NotImplementedError

    @abstractmethod
    def inboxes(self, channel: str, max_bytes: int) -> Sequence[Inbox]:
        """The reading ends of `channel`, one for each host; content over `max_bytes` is told, not fetched whole."""

    @abstractmethod
    def sources(self, channels: Sequence[str]) -> Sequence[Source]:
        """The ends at which a worker takes from `channels`, one for each host."""

    @abstractmethod
    async def aclose(self) -> None:
        """Let the connections go."""
