"""A store -> the layer: take what is due, have it delivered, sleep until the next is due.

Where store and layer share a Redis the store hands over by itself (`Store.hand_over`), and claims only what takes more
than moving bytes. Everywhere else all is claimed. What is claimed is `delivering`'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..events import CHANNEL_FULL, HANDED_OVER, count, emit
from ..layers.base import Layer
from ..message import Claim
from ..stores.base import Store
from .base import Loop
from .delivering import Delivering
from .pacing import Pacing

BATCH = 250
LEASE_MS = 30_000
LOOK_SECONDS = 5.0  # the longest sleep: a wake-up can get lost, a look is cheap
LOCKED_SECONDS = 0.02  # when to ask again for what is due and could not be claimed: somebody's transaction has it
LOOKS = 32  # backlogs that are looked at before what is newly due has its turn


class Dispatch(Loop):
    """Hands over what is due in `store` on `layer`; a claim is held for `lease` milliseconds. `before` is done first,
    each time.
    """

    name = "dispatch"

    def __init__(
        self,
        store: Store,
        layer: Layer,
        lease: int = LEASE_MS,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__()
        self._before = before
        self._store, self._layer, self._lease = store, layer, lease
        self._host = layer.places.index(store.place) if store.place in layer.places else None
        self._pacing = Pacing()
        self._delivering = Delivering(store, layer, lease, self._host, self._pacing, self.wake)
        self._looked_at = 0  # when the store was last asked for its backlogs

    async def aclose(self) -> None:
        await self._delivering.aclose()

    async def run_once(self) -> float:
        if self._before is not None:
            await self._before()
        now = self._store.clock.now()
        return await (self._hand_over(now) if self._format else self._claim(now))

    @property
    def _format(self) -> object | None:
        """What the store needs to hand over by itself, where it can."""
        return None if self._host is None else self._layer.format

    def _seconds_until(self, due: int | None, now: int) -> float:
        """Until then, or until a backlog is looked at."""
        instants = [at for at in (due, self._pacing.next_at(now)) if at is not None]
        return min([LOOK_SECONDS, *map(self._store.clock.seconds_until, instants)])

    # -- taking -------------------------------------------------------------------------------------------

    async def _hand_over(self, now: int) -> float:
        """The store does it, and claims what takes more."""
        work = await self._store.hand_over(self._format, now, BATCH, self._lease, self._to_look_at(now))
        for name, number in work.backlogs.items():
            if number == 0 or name not in self._pacing:
                emit(CHANNEL_FULL, of=name, target=name)
        self._pacing.learn(work.backlogs, now)
        count(HANDED_OVER, work.handed)
        returned = await self._delivering.deliver(work.claims, now)
        for name, number in work.backlogs.items():
            if number >= 0:
                self._pacing.went_out(name, number - returned[name], now)
        return 0 if work.claims else self._seconds_until(work.next_due, now)

    async def _claim(self, now: int) -> float:
        """As `_hand_over`, where the store can only claim."""
        if not 0 <= now - self._looked_at < LOOK_SECONDS * 1000:
            self._pacing.learn(await self._store.backlogs(), now)
            self._looked_at = now
        claims: list[Claim] = []
        taken: dict[str, int] = {}
        for name in self._to_look_at(now):
            room = BATCH // 2 - len(claims)  # the other half is for what is newly due
            if room <= 0:
                break
            found = await self._store.claim_backlog(name, now, min(self._pacing.window(name), room), self._lease)
            if found:
                taken[name] = len(found)
                claims += found
            else:
                self._pacing.drop(name)
        claims += await self._store.claim(now, BATCH - len(claims), self._lease, full=self._pacing.names)
        returned = await self._delivering.deliver(claims, now)
        for name, number in taken.items():
            self._pacing.went_out(name, number - returned[name], now)
        if claims:
            return 0
        due = await self._store.next_due()
        return LOCKED_SECONDS if due is not None and due <= now else self._seconds_until(due, now)

    def _to_look_at(self, now: int) -> list[str]:
        """The backlogs whose time has come; not those of a lane that is slow, which would only come back."""
        names = self._pacing.due(now)[:LOOKS]
        slow = self._delivering.slow_backlogs
        for name in slow.intersection(names):
            self._pacing.went_out(name, 0, now)
        return [name for name in names if name not in slow]
