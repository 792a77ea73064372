"""The second protocol, which every store has too: what waits and what died, for people to see and to steer.

Each verb is one bounded act, however much there is: who wants more asks on from where the last answer ended.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from ..conf import Fault
from ..message import DeadLetter, Target, Waiting

MAX_LOOKED_AT = 5_000  # messages that one look may pass over, to find those that are wanted
MAX_LISTED_BYTES = 4_096  # of content that a list shows
SLOT_MS = 2**43  # positions from here on are those of backlogs: due instants lie before it, until the year 2248


class Spot(NamedTuple):
    """Where something stands in the order of a list, so that the next page can begin behind it.

    `at` is the due instant, in a backlog that and a multiple of `SLOT_MS`; of a dead letter, when it died.
    """

    at: float
    id: str


class Wanted(NamedTuple):
    """What a list shall show: what fits all of these. A name or a key that ends in "*" is the beginning of one."""

    kind: Literal["channel", "group"] | None = None
    name: str | None = None
    key: str | None = None
    due_from: int = 0
    due_before: int = SLOT_MS

    def fits(self, message: Waiting) -> bool:
        return (
            self.kind in (None, message.target.kind)
            and fits(self.name, message.target.name)
            and fits(self.key, message.key)
            and self.due_from <= message.due < self.due_before
        )


def fits(pattern: str | None, text: str | None) -> bool:
    """Whether a name or a key is one that is wanted."""
    if pattern is None or text is None:
        return pattern is None
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


class Listed(NamedTuple):
    """A message as a list shows it: its content cut at `MAX_LISTED_BYTES`, and `size`, how many bytes that has.

    What is claimed is due when its lease ends.
    """

    message: Waiting
    size: int
    claimed: bool
    spot: Spot

    @property
    def held_back(self) -> bool:
        """Whether it waits behind a full channel."""
        return self.spot.at >= SLOT_MS


class Page(NamedTuple):
    """What one look found, and where to look on; None when it has seen all."""

    listed: Sequence[Listed]
    rest: Spot | None


class Tally(NamedTuple):
    """How many messages there are for one target; `first_due` is that of those which are not claimed."""

    waiting: int = 0
    held_back: int = 0
    claimed: int = 0
    first_due: int | None = None

    def plus(self, other: Tally) -> Tally:
        dues = [due for due in (self.first_due, other.first_due) if due is not None]
        return Tally(
            self.waiting + other.waiting,
            self.held_back + other.held_back,
            self.claimed + other.claimed,
            min(dues, default=None),
        )


class Shelf(ABC):
    """What waits and what died."""

    @abstractmethod
    async def count(self) -> int:
        """How many messages wait or are claimed."""

    @abstractmethod
    async def first_due(self) -> int | None:
        """When the earliest message is due, in a backlog or not; None when none waits."""

    @abstractmethod
    async def look(self, wanted: Wanted, limit: int, after: Spot | None = None) -> Page:
        """The first messages that are `wanted`, behind `after`, at most `limit`: in due order, backlogs last.

        One look is a bounded act: it may find fewer, or none, and yet not be at the end.
        """

    @abstractmethod
    async def tally(self, after: Spot | None = None) -> tuple[Mapping[Target, Tally], Spot | None]:
        """How many messages there are behind `after`, as far as one bounded act gets, and from where to count on."""

    @abstractmethod
    async def count_dead(self) -> int:
        """How many dead letters there are."""

    @abstractmethod
    async def dead_letters(self, limit: int, after: Spot | None = None) -> list[DeadLetter]:
        """The newest dead letters behind `after`, newest first, content cut at `MAX_LISTED_BYTES`."""

    @abstractmethod
    async def find_dead(self, ids: Sequence[str]) -> list[DeadLetter | None]:
        """The dead letters of these ids, whole."""

    @abstractmethod
    async def requeue(self, letters: Sequence[DeadLetter], now: int) -> list[bool]:
        """Dead letter -> waiting, due `now`, all attempts before it, without an expiry; its key is its own again,
        unless taken. False for one that is gone, or holds no message.
        """

    @abstractmethod
    async def purge(self, ids: Sequence[str]) -> list[bool]:
        """Dead letter -> gone."""

    async def doubts(self) -> list[Fault]:
        """What an operator should know about where the messages lie, in whatever state that is; it raises nothing."""
        return []
