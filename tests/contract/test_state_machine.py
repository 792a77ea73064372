"""Whatever is done in whatever order, every store answers as `MemoryStore` does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from delayserver.backoff import Retry
from delayserver.errors import KeyTaken
from delayserver.message import Claim, DeadLetter, Occurrence, OnConflict, Ticket, Waiting
from delayserver.stores.base import Acked, Named, Store
from delayserver.stores.entries import Change
from delayserver.stores.memory import MemoryStore
from delayserver.stores.moves import Move
from delayserver.stores.shelf import Wanted

from ..support.clock import NOW
from .entries import KEEP
from .places import BODY, Place, each, waiting

offsets = st.integers(-2, 12).map(lambda half: 2 * half)
keys = st.sampled_from([None, "a", "b", "c"])
conflicts: st.SearchStrategy[OnConflict] = st.sampled_from(["keep", "replace", "error"])
choices = st.integers(0, 50)
channels = st.sampled_from(["sink", "specific.x!1", "specific.x!2"])
backlog_names = st.sampled_from(["sink", "specific.x!", "specific.x!1"])
firings = st.tuples(st.sampled_from("st"), st.integers(0, 2)).map(lambda parts: Occurrence(parts[0], NOW + parts[1]))
bodies = st.sampled_from([BODY, BODY + b"other"])
versions = st.one_of(st.none(), st.integers(0, 3))
shown = st.lists(st.tuples(choices, st.sampled_from([0, 0, 0, 0, 0, -1, 1])), min_size=1, max_size=3)
RETRY = Retry(ack_timeout=timedelta(milliseconds=16))
wishes = st.builds(
    Wanted,
    kind=st.sampled_from([None, "channel", "group"]),
    name=st.sampled_from([None, "sink", "s*", "specific.x!*"]),
    key=st.sampled_from([None, "a", "*"]),
    due_from=st.sampled_from([0, 1]),
)


class StoreMachine(RuleBasedStateMachine):
    """Does the same to a store and to the model, and compares what they say."""

    place: Place

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = MemoryStore()
        self.real: Store = self.place.store()
        self.now = NOW
        self.made = 0
        self.ends: set[int] = set()
        self.messages: list[Waiting] = []
        self.fired: dict[str, None] = {}  # the ids of all occurrences
        self.claims: list[tuple[Claim, Claim]] = []  # the model's, and the store's

    @initialize()
    def open(self) -> None:
        self.place.empty()
        self.both(lambda store: store.open())

    def both(self, act: Callable[[Store], Awaitable[Any]]) -> tuple[Any, Any]:
        return self.run(act(self.model)), self.run(act(self.real))

    def run(self, act: Awaitable[Any]) -> Any:
        async def done() -> Any:
            try:
                return await act
            except KeyTaken:
                return KeyTaken

        return self.runner.run(done())

    def agree(self, act: Callable[[Store], Awaitable[Any]]) -> Any:
        expected, came = self.both(act)
        assert came == expected
        return came

    # -- what callers do ----------------------------------------------------------------------------------

    def make(self, offset: int, key: str | None, retried: bool, channel: str) -> Waiting:
        due, self.made = self.now + offset, self.made + 1
        id = f"{due:012x}{self.made:020x}"
        message = waiting(due, id=id, channel=channel, key=key, retry=RETRY if retried else None)
        self.messages.append(message)
        return message

    @rule(
        parts=st.lists(st.tuples(offsets, keys, st.booleans(), channels), min_size=1, max_size=3),
        on_conflict=conflicts,
    )
    def put(self, parts: list[tuple[int, str | None, bool, str]], on_conflict: OnConflict) -> None:
        batch = [self.make(*part) for part in parts]
        self.agree(lambda store: store.aput(each(on_conflict, batch)))

    @rule(which=choices, on_conflict=conflicts)
    def put_again(self, which: int, on_conflict: OnConflict) -> None:
        if self.messages:
            message = self.messages[which % len(self.messages)]
            self.agree(lambda store: store.aput(each(on_conflict, [message])))

    @rule(which=choices, key=keys)
    def cancel(self, which: int, key: str | None) -> None:
        named = self.named(which, key)
        self.agree(lambda store: store.acancel([named]))

    @rule(which=choices, key=keys, offset=offsets)
    def reschedule(self, which: int, key: str | None, offset: int) -> None:
        named = self.named(which, key)
        self.agree(lambda store: store.areschedule(named, self.now + offset))

    @rule(which=choices, key=keys)
    def get(self, which: int, key: str | None) -> None:
        named = self.named(which, key)
        self.agree(lambda store: store.aget(named))

    @rule(wanted=wishes, offset=offsets)
    def look(self, wanted: Wanted, offset: int) -> None:
        wanted = wanted._replace(due_from=max(0, wanted.due_from and self.now + offset))

        async def seen(store: Store) -> list[tuple[Any, ...]]:
            page = await store.look(wanted, 100)  # fewer than one act passes over
            assert page.rest is None
            return sorted((one.message.id, one.message, one.size, one.claimed, one.held_back) for one in page.listed)

        self.agree(seen)

    @rule()
    def tally(self) -> None:
        self.agree(lambda store: store.tally())

    def named(self, which: int, key: str | None) -> Named:
        if key is not None or not self.messages:
            return Named(key=key or "none")
        return Named(id=self.id(which))

    def id(self, which: int) -> str:
        known = [*(message.id for message in self.messages), *self.fired]
        return known[which % len(known)] if known else "nobody"

    # -- what schedules do --------------------------------------------------------------------------------

    @rule(
        schedule=st.sampled_from("st"),
        stale=st.sampled_from([False, False, False, True]),
        removed=st.booleans(),
        put=st.lists(st.tuples(firings, offsets, channels, bodies, st.booleans(), st.booleans()), max_size=3),
        take=st.lists(choices, max_size=3),
        sure=st.booleans(),
        unless=st.one_of(st.none(), firings),
    )
    def move(
        self,
        schedule: str,
        stale: bool,
        removed: bool,
        put: list[tuple[Occurrence, int, str, bytes, bool, bool]],
        take: list[int],
        sure: bool,
        unless: Occurrence | None,
    ) -> None:
        """Twice, so that the second is overtaken, unless the cursor stays where it is."""
        stands = self.run(self.model.cursors()).get(schedule)
        self.made += 1 + len(put)
        move = Move(
            schedule,
            seen=b"stale" if stale else stands,
            then=None if removed else b"%d" % self.made,
            put=self.occurrences(put),
            take=[self.id(which) for which in take],
            sure=sure,
            unless=unless and unless.id,
        )
        self.agree(lambda store: store.put_occurrences([move, move]))
        self.agree(lambda store: store.cursors())

    def occurrences(self, parts: list[tuple[Occurrence, int, str, bytes, bool, bool]]) -> list[Waiting]:
        """Not of what is dead: how often one id can be that is the store's affair."""
        dead = {letter.id for letter in self.run(self.model.dead_letters(100))}
        made = []
        for firing, offset, channel, body, retried, late in parts:
            if firing.id not in dead:
                options = {"retry": RETRY if retried else None, "expires": 1 if late else None, "body": body}
                due = self.now + offset
                made.append(waiting(due, id=firing.id, channel=channel, occurrence=firing, **options))
                self.fired[firing.id] = None
        return made

    # -- what servers do ----------------------------------------------------------------------------------

    @rule(ms=st.integers(0, 15))
    def advance(self, ms: int) -> None:
        self.now += 2 * ms

    @rule(limit=st.integers(1, 4), lease=st.integers(1, 20))
    def claim(self, limit: int, lease: int) -> None:
        if not self.backlogs():
            lease = self.own_lease(lease)
            self.claimed(lambda store: store.claim(self.now, limit, lease))

    def own_lease(self, lease: int) -> int:
        """One that ends when nothing else is due: who comes first of what is due at one instant, after it was claimed,
        is the store's affair.
        """
        end = self.now + 2 * lease + 1
        while end in self.ends:
            end += 2
        self.ends.add(end)
        return end - self.now

    def claimed(self, act: Callable[[Store], Awaitable[list[Claim]]]) -> None:
        expected, came = self.both(act)
        assert [claim.message for claim in came] == [claim.message for claim in expected]
        self.claims += zip(expected, came, strict=True)

    @rule(full=st.sets(backlog_names), limit=st.integers(1, 4), lease=st.integers(1, 20))
    def claim_all(self, full: set[str], limit: int, lease: int) -> None:
        """What has a backlog is full. Where something makes way, how many come at once is the store's affair, and so is
        then whose lease ends when: so one by one.
        """
        names = full | self.backlogs()
        limit = 1 if names else limit
        leases = [self.own_lease(lease) for _ in range(self.made + 1)]

        async def all_of(store: Store) -> list[Claim]:
            every: list[Claim] = []
            turns = iter(leases)
            while claims := await store.claim(self.now, limit, next(turns), names):
                assert len(claims) <= limit
                every += claims
            return every

        self.claimed(all_of)

    def backlogs(self) -> set[str]:
        return set(self.run(self.model.backlogs()))

    @rule(name=backlog_names, limit=st.integers(1, 4), lease=st.integers(1, 20))
    def claim_backlog(self, name: str, limit: int, lease: int) -> None:
        lease = self.own_lease(lease)
        self.claimed(lambda store: store.claim_backlog(name, self.now, limit, lease))

    @rule(which=st.sets(choices, min_size=1, max_size=3), shared=st.booleans())
    def hold_back(self, which: set[int], shared: bool) -> None:
        expected, came = self.chosen(which)
        names = [claim.message.target.backlogs[-1 if shared else 0] for claim in came]
        self.answers(self.model.hold_back(expected, names), self.real.hold_back(came, names))

    @rule(which=st.sets(choices, min_size=1, max_size=3))
    def finish(self, which: set[int]) -> None:
        expected, came = self.chosen(which)
        self.answers(self.model.finish(expected), self.real.finish(came))

    @rule(
        which=st.sets(choices, min_size=1, max_size=3),
        later=st.lists(offsets, min_size=3, max_size=3),
        spend=st.sampled_from([1, 1, 0, -1]),
    )
    def postpone(self, which: set[int], later: list[int], spend: int) -> None:
        expected, came = self.chosen(which)
        due = [self.now + offset for offset in later[: len(came)]]
        # only a message with retry counts attempts
        spend = spend if all(claim.message.retry for claim in came) else 0
        self.answers(self.model.postpone(expected, due, spend=spend), self.real.postpone(came, due, spend=spend))

    @rule(which=st.sets(choices, min_size=1, max_size=3))
    def bury(self, which: set[int]) -> None:
        expected, came = self.chosen(which)
        letters = [self.letter(claim) for claim in came]
        self.answers(self.model.bury(expected, letters), self.real.bury(came, letters))

    def letter(self, claim: Claim) -> DeadLetter:
        self.made += 1
        return DeadLetter.of(claim.message, NOW + self.made, "a reason")

    # -- what consumers do --------------------------------------------------------------------------------

    def tickets(self, parts: list[tuple[int, int]]) -> list[Ticket]:
        """Most often of last hand-overs."""
        found = []
        for which, off in parts:
            id = self.id(which)
            entry = self.model._messages.get(id)
            found.append(Ticket(id, (entry.message.attempt if entry else 1) + off))
        return found

    @rule(parts=shown)
    def ack(self, parts: list[tuple[int, int]]) -> None:
        tickets = self.tickets(parts)
        claimed = {id for id, entry in self.model._messages.items() if entry.generation}
        expected, came = self.both(lambda store: store.ack(tickets))
        for ticket, wanted, answer in zip(tickets, expected, came, strict=True):
            assert answer in ({Acked.OTHER, Acked.GONE} if ticket.id in claimed else {wanted})

    @rule(parts=shown)
    def renew(self, parts: list[tuple[int, int]]) -> None:
        tickets = self.tickets(parts)
        self.agree(lambda store: store.arenew(tickets, self.now))

    @rule(parts=shown, lease=st.integers(1, 20))
    def reclaim(self, parts: list[tuple[int, int]], lease: int) -> None:
        """One by one, for then no two leases end at one instant."""
        for ticket in self.tickets(parts):
            self.reclaim_one(ticket, self.own_lease(lease))

    def reclaim_one(self, ticket: Ticket, lease: int) -> None:
        [expected], [came] = self.both(lambda store: store.reclaim([ticket], self.now, lease))
        assert (came and came.message) == (expected and expected.message)
        if expected is not None:
            self.claims.append((expected, came))

    # -- what progress is kept as -------------------------------------------------------------------------

    @rule(changes=st.lists(st.builds(Change, st.sampled_from("ab"), versions, bodies, st.just(KEEP)), max_size=4))
    def change_entries(self, changes: list[Change]) -> None:
        self.agree(lambda store: store.change_entries(changes))
        self.agree(lambda store: store.entries("abc"))

    # -- what people do -----------------------------------------------------------------------------------

    @rule(which=choices)
    def requeue(self, which: int) -> None:
        letters = self.run(self.model.dead_letters(100))
        if letters:
            self.agree(lambda store: store.requeue([letters[which % len(letters)]], self.now))

    @rule(which=choices)
    def purge(self, which: int) -> None:
        letters = self.run(self.model.dead_letters(100))
        if letters:
            self.agree(lambda store: store.purge([letters[which % len(letters)].id, "nobody"]))

    def chosen(self, which: set[int]) -> tuple[list[Claim], list[Claim]]:
        """Some claims, of old as well: no message twice, as no server would."""
        if not self.claims:
            return [], []
        pairs = {self.claims[one % len(self.claims)][0].message.id: one % len(self.claims) for one in which}
        chosen = [self.claims[one] for one in pairs.values()]
        return [expected for expected, _ in chosen], [came for _, came in chosen]

    def answers(self, expected: Awaitable[Any], came: Awaitable[Any]) -> None:
        wanted = self.run(expected)
        assert self.run(came) == wanted

    # -- what is always so --------------------------------------------------------------------------------

    @invariant()
    def next_due_and_count_agree(self) -> None:
        self.agree(lambda store: store.next_due())
        self.agree(lambda store: store.first_due())
        self.agree(lambda store: store.count())
        expected, came = self.both(lambda store: store.backlogs())
        assert sorted(came) == sorted(expected)

    def teardown(self) -> None:
        try:
            self.agree(lambda store: store.dead_letters(100))
            self.agree(lambda store: store.cursors())
            self.drain()
        finally:
            self.both(lambda store: store.aclose())
            self.runner.close()
            self.place.empty()

    def drain(self) -> None:
        """All that is left comes out alike, and leaves nothing behind."""
        self.now += 1_000
        self.claim_all(set(), 500, 1)
        for name in self.backlogs():
            self.claim_backlog(name, 500, 1)
        self.finish(set(range(len(self.claims))))
        assert self.run(self.real.count()) == 0


@pytest.mark.timeout(600)  # to find the shortest example of a failure takes long
def test_every_store_answers_as_memory_does(place: Place) -> None:
    machine = type("Machine", (StoreMachine,), {"place": place})
    run_state_machine_as_test(machine, settings=hypothesis.settings(stateful_step_count=30))
