"""When to look again at a target that was full: soon while room appears, less and less often while it does not."""

from __future__ import annotations

from collections.abc import Iterable, KeysView
from dataclasses import dataclass

FIRST_PAUSE_MS, LAST_PAUSE_MS = 5, 100
SHARE_MS = 4  # where many are full, each adds this much to the last pause of all: looks cost
FIRST_WINDOW = 4  # how many to try at first, where the store cannot see how much room there is


@dataclass(slots=True)
class Pace:
    """How one backlog goes: when to look next, how long that pause is, and how many messages to try."""

    at: int
    pause: int = FIRST_PAUSE_MS
    window: int = FIRST_WINDOW


class Pacing:
    """The backlogs that this server knows of; all times in milliseconds."""

    def __init__(self) -> None:
        self._paces: dict[str, Pace] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._paces

    @property
    def names(self) -> KeysView[str]:
        return self._paces.keys()

    def due(self, now: int) -> list[str]:
        """The backlogs to look at now, the longest due first."""
        return [name for name, pace in sorted(self._paces.items(), key=_at) if self._left(pace, now) <= 0]

    def next_at(self, now: int) -> int | None:
        """When to look at the next."""
        left = min((self._left(pace, now) for pace in self._paces.values()), default=None)
        return None if left is None else now + max(0, left)

    def _left(self, pace: Pace, now: int) -> int:
        """Milliseconds until the next look. Longer than a pause it is never: then the clock was set back."""
        left = pace.at - now
        return left if left <= self._longest() else 0

    def _longest(self) -> int:
        return max(LAST_PAUSE_MS, SHARE_MS * len(self._paces))

    def window(self, name: str) -> int:
        """How many messages to try: it doubles while all of them go out."""
        return self._paces[name].window

    def learn(self, names: Iterable[str], now: int) -> None:
        """These are all there are."""
        self._paces = {name: self._paces.get(name) or Pace(now + FIRST_PAUSE_MS) for name in names}

    def add(self, name: str, now: int) -> None:
        """This one is there too."""
        self._paces.setdefault(name, Pace(now + FIRST_PAUSE_MS))

    def drop(self, name: str) -> None:
        """Nothing is left in it."""
        self._paces.pop(name, None)

    def went_out(self, name: str, number: int, now: int) -> None:
        """A look is over, and there was room for `number` messages."""
        pace = self._paces.get(name)
        if pace is None:
            return
        pace.pause = FIRST_PAUSE_MS if number else min(2 * pace.pause, self._longest())
        pace.at = now + pace.pause
        if number < pace.window:
            pace.window = max(number, FIRST_WINDOW)
        else:
            pace.at, pace.window = now, 2 * pace.window


def _at(item: tuple[str, Pace]) -> int:
    return item[1].at
