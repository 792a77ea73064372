"""One schedule as a server knows it: which step comes next, and what the store's answer means for it.

Nothing here waits or asks: `Tick` carries each `Move` to the store, and brings back what became of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ..message import Occurrence
from ..occurrences import Cursor, Rule
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
    """The schedule of this name; `seal` and `home` are for its messages. `rule` is None where there is none that can be
    kept (any more).

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
    _is_new: bool = True  # the rule: the cursor may still go by another
    _take: str | None = None  # what was put ahead by another rule
    _anew: bool = False  # what was put ahead sends something else now
    _instead: Plan | None = None  # of what must not overlap
    _held_until: int = 0

    @property
    def is_gone(self) -> bool:
        """Whether it was removed, and the store knows."""
        return self.rule is None and not self.broken and self.wake is None

    # -- what there is to know -------------------------------------------------------------------------------

    def obey(self, rule: Rule | None, *, broken: bool) -> None:
        """From now on by this rule. `adopt` compares the cursor with it."""
        if (rule, broken) != (self.rule, self.broken):
            self.rule, self.broken, self._is_new = rule, broken, True

    def adopt(self, seen: bytes | None, now: int) -> bool:
        """The store's cursor stands here. Answers whether the schedule starts anew."""
        self.seen, self.cursor = seen, Cursor.unpack(seen) if seen is not None else None
        self._take, self._anew, self._instead = None, False, None
        starts = self.rule is not None and self._compare(self.rule, now)
        self._set_wake(now)
        return starts

    def _compare(self, rule: Rule, now: int) -> bool:
        """A rule is compared once: where two servers know two rules of one name, the one that came last is kept."""
        cursor = self.cursor
        if cursor is None or (self._is_new and _begins(rule, cursor)):
            self._take = None if cursor is None else self._id(cursor.waiting)
            self.cursor = Cursor.begin(rule, now, cursor)
            return True
        if self._is_new and cursor.message != rule.message:
            self.cursor = cursor._replace(message=rule.message)
            self._anew = cursor.waiting is not None
        elif self._is_new:
            self._is_new = False
        return False

    def _set_wake(self, now: int) -> None:
        cursor = self.cursor
        if cursor is None:
            self.wake = None
        elif self.rule is None:
            stands_still = cursor.off if self.broken else cursor.removed is not None
            self.wake = None if stands_still else now
        elif cursor.pack() != self.seen:
            self.wake = now
        elif cursor.removed is not None:
            self.wake = cursor.removed + REVIVE_MS
        elif not _goes_by(self.rule, cursor):
            self.wake = _left_alone_by(self.rule, cursor)
        else:
            wake = wake_at(self.rule, cursor)
            self.wake = None if wake is None else max(wake, self._held_until)

    # -- the next step ---------------------------------------------------------------------------------------

    def propose(self, since: int, now: int) -> Proposal | None:
        """The step to make at `now`, where there is one; see `plan` for `since`."""
        if self.rule is None:
            return self._stop(now)
        cursor, rule = self._own(self.rule, now), self.rule
        ahead = self._id(cursor.waiting)
        if self._anew:
            assert cursor.waiting is not None
            return self._proposal(now, Plan(cursor, (cursor.waiting,)), take=ahead, sure=True)
        planned = self._instead or Plan(cursor)
        if self._instead is None and wake_at(rule, cursor) is not None:
            planned = plan(rule, cursor, since, now)
        if planned.take_back:
            return self._proposal(now, planned, take=ahead, sure=True)
        return self._proposal(now, planned, take=self._take)

    def _stop(self, now: int) -> Proposal | None:
        """Without a rule nothing waits."""
        assert self.cursor is not None
        back = taken_back(self.cursor)
        then = back._replace(off=True) if self.broken else back._replace(removed=now)
        return self._proposal(now, Plan(then), take=self._id(self.cursor.waiting), sure=True)

    def _own(self, rule: Rule, now: int) -> Cursor:
        """The cursor, to go by our rule: another server has left it."""
        assert self.cursor is not None
        if self.cursor.removed is not None:
            self.cursor = self.cursor._replace(removed=None)
        if not _goes_by(rule, self.cursor):
            self._is_new = True
            self._compare(rule, now)
        return self.cursor

    def _proposal(self, now: int, planned: Plan, *, take: str | None, sure: bool = False) -> Proposal | None:
        assert self.cursor is not None
        then, rule = planned.cursor.pack(), self.rule
        if then == self.seen and not planned.put and take is None:
            self._set_wake(now)
            return None
        put = () if rule is None else tuple(rule.occurrence(instant, self.seal, self.home) for instant in planned.put)
        alone = rule is not None and rule.overlap != "allow"
        unless = self._id(self.cursor.newest) if alone and put else None
        taken = () if take is None else (take,)
        return Proposal(Move(self.name, self.seen, then, put, taken, sure, unless), planned)

    def settle(self, proposal: Proposal, moved: Moved, now: int) -> tuple[Skipped, ...]:
        """What the store made of it; what is left out for good."""
        skipped: tuple[Skipped, ...] = ()
        match moved.step:
            case Step.DONE:
                self.seen, self.cursor, skipped = moved.cursor, proposal.plan.cursor, proposal.plan.skipped
                self._is_new, self._take, self._anew, self._instead = False, None, False, None
                self._set_wake(now)
            case Step.OVERTAKEN:
                self.adopt(moved.cursor, now)
            case Step.GONE:  # what was put ahead goes out at this moment, or has
                self._let_go()
                self.wake = now
            case Step.HELD:
                self._held_until = now + HELD_MS
                self._hold(proposal.plan, now)
        return skipped

    def _let_go(self) -> None:
        assert self.cursor is not None
        if not self._anew:
            self.cursor = gone_out(self.cursor)
        self._anew = False

    def _hold(self, planned: Plan, now: int) -> None:
        assert self.rule is not None and self.cursor is not None
        instead = held(self.rule, self.cursor, planned)
        if instead.cursor == self.cursor:
            self.wake = self._held_until
        else:
            self._instead, self.wake = instead, now

    def _id(self, instant: int | None) -> str | None:
        return None if instant is None else Occurrence(self.name, instant).id


def _begins(rule: Rule, cursor: Cursor) -> bool:
    """Whether the schedule begins anew by a rule that is new to us."""
    return cursor.removed is not None or cursor.rhythm != rule.rhythm or cursor.off is rule.enabled


def _goes_by(rule: Rule, cursor: Cursor) -> bool:
    return not _begins(rule, cursor) and cursor.message == rule.message


def _left_alone_by(rule: Rule, cursor: Cursor) -> int | None:
    """When we take a schedule over that goes by another server's rule, should it not go on by itself."""
    if cursor.off or cursor.paused is not None:
        return None
    due = cursor.waiting if cursor.waiting is not None else next_after(rule, cursor.anchor, cursor.at)
    return None if due is None else due + PATIENCE_MS
