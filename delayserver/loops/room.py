"""How many more messages a worker can take: in all, and of each channel."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..layers.base import Desired, Taken

Wake = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Subscription:
    """A channel that a worker takes from.

    limit
        at most so many of its messages at once; None for as many as the worker runs
    keep
        False where what is in hand may be lost with the worker: it is out of the layer as soon as it is taken
    """

    channel: str
    limit: int | None = None
    keep: bool = True


class Room:
    """For `concurrency` messages at once. `ends` sources take from it, each its share: none waits for another."""

    def __init__(self, subscriptions: Sequence[Subscription], concurrency: int, ends: int) -> None:
        self._turns = deque(subscriptions)  # the first is asked first
        self.concurrency, self._free, self._ends = concurrency, concurrency, ends
        self._used: Counter[str] = Counter()
        self._short: defaultdict[str | None, set[Wake]] = defaultdict(set)  # who had no room: of a channel, or in all
        self.closed = False  # for good
        self._crowded = False  # for now: too much of what was handled is not settled

    @property
    def empty(self) -> bool:
        """Whether nothing can be taken."""
        return self.closed or self._crowded or self._free <= 0

    def reserve(self, roomier: Wake) -> tuple[list[Desired], int]:
        """What one source may take now, of each channel and in all; nobody else has that room until `settle`.

        Where it gets none, in all or of a channel, `roomier` is called once there is some.
        """
        if self.empty:
            self._short[None].add(roomier)
            return [], 0
        most = -(-self._free // self._ends)
        desired = []
        for channel, limit, keep in ((one.channel, one.limit, one.keep) for one in self._turns):
            room = most if limit is None else min(most, -(-(limit - self._used[channel]) // self._ends))
            if room > 0:
                desired.append(Desired(channel, room, keep))
                self._used[channel] += room
            else:
                self._short[channel].add(roomier)
        self._turns.rotate(-1)
        if not desired:
            return [], 0
        self._free -= most
        return desired, most

    def settle(self, desired: Sequence[Desired], most: int, taken: Sequence[Taken]) -> None:
        """What was taken needs its room until `free`; the rest of what was reserved is there again."""
        used = Counter(one.channel for one in taken)
        for channel, room, _ in desired:
            self._used[channel] -= room - used[channel]
            if used[channel] < room:
                self._wake(channel)
        self._add(most - len(taken))

    def free(self, channel: str) -> None:
        """A message of this channel is handled."""
        self._used[channel] -= 1
        self._wake(channel)
        self._add(1)

    def crowd(self, crowded: bool) -> None:
        """Whether nothing is to be taken for now, however much room there is."""
        was_crowded, self._crowded = self._crowded, crowded
        if was_crowded and not crowded:
            self._wake(None)

    def _add(self, number: int) -> None:
        was_full = self._free <= 0
        self._free += number
        if was_full and self._free > 0:
            self._wake(None)

    def _wake(self, short_of: str | None) -> None:
        for roomier in self._short.pop(short_of, ()):
            roomier()
