"""One schedule as a server knows it: which step comes next, and what the store's answer means for it.

Nothing here waits or asks: `Tick` carries each `Move` to the store, and brings back what became of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ..events import OCCURRENCES_MISSED
from ..message import Occurrence
from ..occurrences import DAY_MS, Cursor, Rule
from ..planning import Plan, Skipped, gone_out, held, next_after, plan, taken_back, wake_at
from ..stores.moves import Move, Moved, Step

HELD_MS = 500  # when to ask again whether the occurrence before is done
REVIVE_MS = 30_000  # who still has a rule that another server has removed goes on with it then
PATIENCE_MS = 10_000  # so long a schedule may be overdue by another server's rule, before it goes by ours


class Proposal(NamedTuple):
    """A step for the store to make, and the plan it comes of."""

    move: Move
    plan: Plan


@dataclass(slots=True)
class Stepping:
    """The schedule of this name; `seal` and `home` are for its messages. `rule` is None where there is none, or none
    that can be kept: then it is `broken`, and left as it is.

    `seen` is the cursor as the store has it, `cursor` what it is or shall be; they differ where something is to be
    stored. `wake` is when there is something to do, None for never.
    """

    name: str
    seal: Callable[[bytes], bytes]
    home: str
    rule: Rule | None = None
    broken: bool = False
    seen: bytes | None = None
    cursor: Cursor | None = None
    wake: int | None = None
    _is_new: bool = True  # the rule: the store may still go by another
    _begins: bool = False  # whatever its cursor says: it was broken
    _since: int = 0  # as for `plan`, where this schedule alone had no server
    _instead: Plan | None = None  # of what must not overlap
    _held_until: int = 0

    # -- what there is to know -------------------------------------------------------------------------------

    @property
    def is_gone(self) -> bool:
        """Whether it was removed, and the store knows."""
        return self.rule is None and not self.broken and self.wake is None

    def obey(self, rule: Rule | None, *, broken: bool) -> None:
        """From now on by this rule."""
        if (rule, broken) != (self.rule, self.broken):
            self._begins = (self._begins or self.broken) and rule is not None
            self.rule, self.broken, self._is_new = rule, broken, True

    def adopt(self, seen: bytes | None, now: int) -> bool:
        """The store's cursor stands here. Answers whether the schedule begins anew."""
        self.seen, self.cursor = seen, None if seen is None else Cursor.unpack(seen)
        self._instead = None
        if self.rule is not None and self.cursor is None:
            self.cursor = Cursor.begin(self.rule, now)
        begins = self.rule is not None and self._is_new and self._is_to_begin(self.rule, now)
        self._is_new = self._is_new and (self.rule is None or not self._goes_by(self.rule, now))
        self._set_wake(now)
        return begins

    def _is_to_begin(self, rule: Rule, now: int) -> bool:
        """Whether the rhythm of the cursor is not that of the rule."""
        cursor = self.cursor
        assert cursor is not None
        differs = cursor.removed is not None or cursor.rhythm != rule.rhythm or cursor.off is rule.enabled
        return self._begins or self.seen is None or differs or _is_lost(rule, cursor, now)

    def _goes_by(self, rule: Rule, now: int) -> bool:
        assert self.cursor is not None
        same = self.cursor.message == rule.message and self.cursor.source == rule.source
        return same and not self._is_to_begin(rule, now)

    def _set_wake(self, now: int) -> None:
        cursor, rule = self.cursor, self.rule
        if cursor is None or self.broken:
            self.wake = None
        elif rule is None:
            self.wake = None if cursor.removed is not None else now
        elif self._goes_by(rule, now):
            wake = wake_at(rule, cursor) if cursor.pack() == self.seen else now
            self.wake = None if wake is None else max(wake, self._held_until)
        elif self._is_new or self._begins or self.seen is None or _is_lost(rule, cursor, now):
            self.wake = now
        elif cursor.removed is not None:
            self.wake = cursor.removed + REVIVE_MS
        else:
            self.wake = _left_alone_by(rule, cursor, now)

    # -- the next step ---------------------------------------------------------------------------------------

    def propose(self, since: int, now: int) -> Proposal | None:
        """The step to make at `now`, where there is one; see `plan` for `since`."""
        assert self.cursor is not None
        if self.rule is None:
            return self._take_back() or self._proposal(Plan(self.cursor._replace(removed=now)))
        if not self._goes_by(self.rule, now):
            return self._turn_to(self.rule, now)
        planned = self._instead or self._plan(self.rule, self.cursor, since, now)
        if not planned.take_back and planned.cursor.pack() == self.seen:
            self._set_wake(now)
            return None
        return self._take_back(planned) if planned.take_back else self._proposal(planned)

    def _plan(self, rule: Rule, cursor: Cursor, since: int, now: int) -> Plan:
        return Plan(cursor) if wake_at(rule, cursor) is None else plan(rule, cursor, max(since, self._since), now)

    def _turn_to(self, rule: Rule, now: int) -> Proposal | None:
        """The cursor goes by another rule, or by none: to ours."""
        cursor = self.cursor
        assert cursor is not None
        if cursor.removed is not None and not self._is_new and cursor.rhythm == rule.rhythm:  # it goes on
            own = cursor._replace(off=not rule.enabled, message=rule.message, source=rule.source)
            self.cursor, self._since = own._replace(removed=None), now
            return self._proposal(Plan(self.cursor))
        if not self._is_to_begin(rule, now):
            self.cursor = cursor._replace(message=rule.message, source=rule.source)
            put = () if cursor.waiting is None else (cursor.waiting,)
            return self._proposal(Plan(self.cursor, put), take=self._id(cursor.waiting), sure=True)
        if cursor.waiting is not None and self.seen is not None:
            overdue = Skipped(OCCURRENCES_MISSED, 1, cursor.waiting, cursor.waiting)
            return self._take_back(Plan(taken_back(cursor), skipped=(overdue,) if cursor.waiting <= now else ()))
        self.cursor, self._begins = Cursor.begin(rule, now, None if self.seen is None else cursor), False
        return self._proposal(self._plan(rule, self.cursor, 0, now))

    def _take_back(self, planned: Plan | None = None) -> Proposal | None:
        """What waits is taken away, if it waits."""
        assert self.cursor is not None
        if self.cursor.waiting is None:
            return None
        planned = planned or Plan(taken_back(self.cursor))
        return self._proposal(planned._replace(take_back=True), take=self._id(self.cursor.waiting), sure=True)

    def _proposal(self, planned: Plan, *, take: str | None = None, sure: bool = False) -> Proposal:
        put = tuple(self.rule.occurrence(instant, self.seal, self.home) for instant in planned.put) if self.rule else ()
        alone = self.rule is not None and self.rule.overlap != "allow" and take is None
        unless = self._id(self.cursor.newest) if alone and put and self.cursor is not None else None
        taken = () if take is None else (take,)
        return Proposal(Move(self.name, self.seen, planned.cursor.pack(), put, taken, sure, unless), planned)

    def settle(self, proposal: Proposal, moved: Moved, now: int) -> tuple[Skipped, ...]:
        """What the store made of it; what is left out for good."""
        skipped: tuple[Skipped, ...] = ()
        match moved.step:
            case Step.DONE:
                self.seen, self.cursor, skipped = moved.cursor, proposal.plan.cursor, proposal.plan.skipped
                self._instead = None
                self._is_new = self._is_new and self.rule is not None and not self._goes_by(self.rule, now)
                self._set_wake(now)
            case Step.OVERTAKEN:
                self.adopt(moved.cursor, now)
            case Step.GONE:  # what was put ahead goes out at this moment, or has
                if proposal.plan.take_back and self.cursor is not None:
                    self.cursor = gone_out(self.cursor)
                self.wake = now
            case Step.HELD:
                self._held_until = now + HELD_MS
                self._hold(proposal.plan, now)
        return skipped

    def _hold(self, planned: Plan, now: int) -> None:
        assert self.rule is not None and self.cursor is not None
        instead = held(self.rule, self.cursor, planned)
        if instead.cursor == self.cursor:
            self.wake = self._held_until
        else:
            self._instead, self.wake = instead, now

    def _id(self, instant: int | None) -> str | None:
        return None if instant is None else Occurrence(self.name, instant).id


def _is_lost(rule: Rule, cursor: Cursor, now: int) -> bool:
    """Whether it stands more than a day behind the next occurrence, since the store's clock was set back."""
    if cursor.at <= now + DAY_MS or cursor.removed is not None:
        return False
    following = next_after(rule, cursor.anchor, now)
    return following is not None and following < cursor.at - DAY_MS


def _left_alone_by(rule: Rule, cursor: Cursor, now: int) -> int | None:
    """When we take a schedule over that goes by another server's rule, should it not go on by itself."""
    if cursor.paused is not None:
        return None
    due = cursor.waiting if cursor.waiting is not None else next_after(rule, cursor.anchor, cursor.at)
    return None if due is None else max(due, now) + PATIENCE_MS
