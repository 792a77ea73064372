"""The layer protocol: how due messages get onto a channel layer, and how `asgi.delay` is read from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..content import Content
from ..message import Target


class Delivery(NamedTuple):
    """One message to put on its target now."""

    target: Target
    content: Content


@dataclass(frozen=True, slots=True)
class Delivered:
    """It is on its target."""


@dataclass(frozen=True, slots=True)
class Full:
    """The channel is at its capacity; the message waits."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The layer will never take it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The layer could not be reached, or did not say; the message waits."""

    error: Exception


Outcome = Delivered | Full | Refused | Failed


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
    """One channel of a layer, read for `intake`.

    What `read` gave comes again until it is discarded.
    """

    place: str | None = None  # the server and database the channel lies on, as `Store.place`
    key: str = ""  # its key there

    @abstractmethod
    async def open(self, wake: Callable[[], None]) -> None:
        """Start to listen; `wake` is called whenever something may have arrived."""

    @abstractmethod
    async def read(self, limit: int, *, claim: bool) -> Sequence[Arrived]:
        """What has arrived, oldest first, at most `limit`; with `claim`, what no other server reads at present."""

    @abstractmethod
    async def discard(self, arrived: Sequence[Arrived]) -> None:
        """On the channel -> gone."""

    @abstractmethod
    async def aclose(self) -> None:
        """Stop listening. What was read and not stored is lost where the layer does not keep it."""

    def poll_seconds(self) -> float:
        """How long to sleep when nothing is there and nothing wakes us."""
        return 5.0


class Layer(ABC):
    """A channel layer, as dispatch and intake use it."""

    place: str | None = None  # the one server and database all its channels lie on, if there is one
    format: object | None = None  # what a store on that server needs to put messages on channels itself

    @abstractmethod
    def check(self, content: Content) -> None:
        """Raise `InvalidMessage` for content that this layer cannot serialise."""

    @abstractmethod
    async def open(self) -> None:
        """Find out where the layer is; connect."""

    @abstractmethod
    async def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        """Put each message on its target, those of one channel in order; one outcome for each."""

    @abstractmethod
    def inbox(self, channel: str, max_bytes: int) -> Inbox:
        """The reading end of `channel`; content over `max_bytes` is told, not fetched whole."""

    @abstractmethod
    async def aclose(self) -> None:
        """Let the connections go."""
