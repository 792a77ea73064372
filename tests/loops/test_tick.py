"""Schedules put their occurrences: `Tick` beside `Dispatch`, any number of servers, by a clock that only tests move."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import msgpack
import pytest

from delayserver.loops.dispatch import Dispatch
from delayserver.loops.tick import GAP_MS, GRACE_MS, KEPT_MS, Tick
from delayserver.message import Message
from delayserver.occurrences import Cursor, Rule
from delayserver.rules import make_rule
from delayserver.schedules import Reading, Timetable
from delayserver.stores.memory import MemoryStore
from delayserver.stores.moves import Move, Moved

from ..support.clock import FakeClock
from .conftest import FakeLayer

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000


class FakeTimetable(Timetable):
    """The rules that the test says."""

    def __init__(self) -> None:
        self.now = Reading(has_rows=True)

    async def read(self) -> Reading:
        return self.now

    def says(self, *rules: Rule, faults: dict[str, str] | None = None, has_rows: bool = True) -> None:
        self.now = Reading({rule.name: rule for rule in rules}, faults or {}, {}, has_rows)


class Server:
    """A tick and a dispatch, as a delay server has them."""

    def __init__(self, world: World) -> None:
        self.tick = Tick(world.store, world.layer, world.timetable, lambda name: True)
        self.dispatch = Dispatch(world.store, world.layer, before=self.tick.before_dispatch)

    async def run_once(self) -> float:
        """Once each; for how long there is nothing to do."""
        waits = []
        for loop in (self.dispatch, self.tick):
            while (seconds := await loop.run_once()) == 0:
                pass
            waits.append(seconds)
        return min(waits)


class World:
    def __init__(self, clock: FakeClock, store: MemoryStore, layer: FakeLayer) -> None:
        self.clock, self.store, self.layer = clock, store, layer
        self.timetable = FakeTimetable()
        layer.capacity = None

    def server(self) -> Server:
        return Server(self)

    async def run(self, *servers: Server, for_ms: int, looks: bool = True) -> list[tuple[str, int]]:
        """Let them run, one after the other at each instant; what arrived: schedules and their instants.

        Without `looks`, only at instants at which something is due.
        """
        before, until = len(self.layer.sent), self.clock.now() + for_ms
        while True:
            seconds = min([await server.run_once() for server in servers])
            left = until - self.clock.now()
            if left <= 0:
                return self.arrived()[before:]
            wakes = [server.tick.wakes_at for server in servers]
            stops = [at - self.clock.now() for at in (await self.store.next_due(), *wakes) if at is not None]
            self.clock.advance(max(1, min([left, *([round(seconds * 1000)] if looks else []), *stops])))

    def arrived(self) -> list[tuple[str, int]]:
        told = [sent.content["__delay__"] for sent in self.layer.sent]
        return [(one["schedule"], one["scheduled_for"]) for one in told]

    async def cursor(self, name: str) -> Cursor:
        cursor = Cursor.unpack((await self.store.cursors())[name])
        assert cursor is not None
        return cursor


@pytest.fixture
def world(clock: FakeClock, store: MemoryStore, layer: FakeLayer) -> World:
    return World(clock, store, layer)


def rule(name: str = "nightly", **options: Any) -> Rule:
    options.setdefault("channel", "sink")
    options.setdefault("message", {"type": "probe"})
    if "every" not in options:
        options.setdefault("cron", "0 * * * *")
    return make_rule(name, options, options.pop("source", "code"))


def hours(arrived: list[tuple[str, int]]) -> list[int]:
    """Which hours, from that in which the test began."""
    return [instant // HOUR for _, instant in arrived]


# -- the rhythm ----------------------------------------------------------------------------------------------


async def test_the_next_occurrence_waits_like_any_message(world: World) -> None:
    world.timetable.says(rule())
    await world.server().run_once()
    first = (world.clock.now() // HOUR + 1) * HOUR
    (waiting,) = [entry.message for entry in world.store._messages.values()]
    assert (waiting.id, waiting.due) == (f"schedule:nightly:{first}", first)
    assert (await world.cursor("nightly")).waiting == first


async def test_it_goes_out_at_its_instant_again_and_again(world: World) -> None:
    world.timetable.says(rule(), rule("often", every=0.1))
    arrived = Counter(await world.run(world.server(), for_ms=3 * HOUR // 100))
    begun = world.clock.now() - 3 * HOUR // 100
    often = sorted(instant for name, instant in arrived if name == "often")
    assert often == [begun + n * 100 for n in range(1, 1081)]
    assert set(arrived.values()) == {1}
    assert all(sent.until > 0 for sent in world.layer.sent)


@pytest.mark.parametrize("servers", [1, 2, 5])
async def test_any_number_of_servers_send_each_once(world: World, servers: int) -> None:
    world.timetable.says(*(rule(f"schedule {n}", every=float(n)) for n in range(1, 20)))
    crew = [world.server() for _ in range(servers)]
    begun = world.clock.now()
    arrived = Counter(await world.run(*crew, for_ms=MINUTE))
    expected = {(f"schedule {n}", begun + at * SECOND) for n in range(1, 20) for at in range(n, 61, n)}
    assert set(arrived) == expected
    assert set(arrived.values()) == {1}


async def test_seven_days_with_a_restart_each_day(world: World) -> None:
    world.timetable.says(rule("weekly", every=7.0 * 86_400))
    begun = world.clock.now()
    for _ in range(60):
        await world.run(world.server(), for_ms=DAY - HOUR, looks=False)
        world.clock.advance(HOUR)  # no server runs
    assert [instant - begun for _, instant in world.arrived()] == [n * 7 * DAY for n in range(1, 9)]


# -- what was missed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "expected"), [("one", [3]), ("all", [1, 2, 3]), ("skip", [])])
@pytest.mark.parametrize("how", ["restarted", "stopped", "two"])
async def test_down_three_hours(
    world: World, how: str, policy: str, expected: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """A new server; the same one, that could not look; or two of those, that wake together."""
    world.clock.advance(-world.clock.now() % HOUR + MINUTE)
    hour = world.clock.now() // HOUR
    world.timetable.says(rule(catch_up=policy))
    servers = [world.server() for _ in range(2 if how == "two" else 1)]
    await world.run(*servers, for_ms=5 * MINUTE)
    world.clock.advance(3 * HOUR)
    servers = [world.server()] if how == "restarted" else servers
    with caplog.at_level(logging.WARNING, "delayserver"):
        arrived = await world.run(*servers, for_ms=2 * HOUR)
    assert [at - hour for at in hours(arrived)] == [*expected, 4, 5]
    cursor = await world.cursor("nightly")
    assert cursor.skipped == 3 - len(expected)
    assert cursor.runs == len(arrived) + 1
    assert len([line for line in caplog.messages if "missed while no server ran" in line]) <= 1


async def test_a_short_pause_misses_nothing(world: World) -> None:
    world.timetable.says(rule("often", every=1.0, catch_up="skip"))
    server, begun = world.server(), world.clock.now()
    for _ in range(5):
        await world.run(server, for_ms=10 * SECOND)
        world.clock.advance(GAP_MS - 1)
    arrived = await world.run(server, for_ms=SECOND)
    assert len(world.arrived()) == (world.clock.now() - begun) // SECOND
    assert arrived


async def test_a_server_that_comes_leaves_the_present_to_the_others(world: World) -> None:
    """What is hardly late may be in another's hand."""
    world.timetable.says(rule("often", every=1.0, catch_up="skip"))
    await world.run(world.server(), for_ms=10 * SECOND)
    world.clock.advance(SECOND + GRACE_MS - 10)
    arrived = await world.run(world.server(), for_ms=2 * SECOND)
    assert len(arrived) == 3


async def test_a_claimed_occurrence_is_not_taken_back(world: World) -> None:
    """A server that died with it in hand: it goes out when the lease is over, and not twice."""
    world.timetable.says(rule())
    await world.run(world.server(), for_ms=MINUTE)
    (waiting,) = [entry.message for entry in world.store._messages.values()]
    world.clock.advance(waiting.due - world.clock.now())
    assert await world.store.claim(world.clock.now(), 1, 30_000)
    world.clock.advance(5 * HOUR)  # and so it is on the hour
    arrived = await world.run(world.server(), for_ms=MINUTE)
    hour = waiting.due // HOUR
    assert sorted(at - hour for at in hours(arrived)) == [0, 4, 5]


# -- edits ---------------------------------------------------------------------------------------------------


async def test_a_new_rhythm_begins_now_and_what_waited_is_taken_away(world: World) -> None:
    world.timetable.says(rule(every=60.0))
    server = world.server()
    await world.run(server, for_ms=10 * SECOND)
    world.timetable.says(rule(every=90.0))
    edited = world.clock.now()
    arrived = await world.run(server, for_ms=200 * SECOND)
    (first, second) = [instant for _, instant in arrived]
    assert 90 * SECOND <= first - edited <= 95 * SECOND and second == first + 90 * SECOND


async def test_a_new_message_keeps_the_rhythm(world: World) -> None:
    world.timetable.says(rule(every=60.0))
    server, begun = world.server(), world.clock.now()
    await world.run(server, for_ms=10 * SECOND)
    world.timetable.says(rule(every=60.0, message={"type": "probe", "n": 2}))
    await world.run(server, for_ms=120 * SECOND)
    assert [sent.content.get("n") for sent in world.layer.sent] == [2, 2]
    assert [instant - begun for _, instant in world.arrived()] == [MINUTE, 2 * MINUTE]
    assert (await world.cursor("nightly")).runs == 3


async def test_enabled_again_it_does_not_fire_at_once(world: World) -> None:
    world.timetable.says(rule(every=60.0))
    server = world.server()
    await world.run(server, for_ms=10 * SECOND)
    world.timetable.says(rule(every=60.0, enabled=False))
    assert not await world.run(server, for_ms=10 * MINUTE)
    assert not world.store._messages
    world.timetable.says(rule(every=60.0))
    assert not await world.run(server, for_ms=59 * SECOND)
    assert len(await world.run(server, for_ms=10 * SECOND)) == 1


async def test_a_message_and_an_overlap_that_change_together(world: World) -> None:
    world.timetable.says(rule(every=60.0))
    server = world.server()
    await world.run(server, for_ms=10 * SECOND)
    world.timetable.says(rule(every=60.0, overlap="skip", message={"type": "probe", "n": 2}))
    await world.run(server, for_ms=2 * MINUTE)
    assert [sent.content.get("n") for sent in world.layer.sent] == [2, 2]


async def test_what_is_overdue_when_the_rhythm_changes_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.timetable.says(rule("told", every=60.0))
    await world.run(world.server(), for_ms=10 * SECOND)
    world.clock.advance(5 * MINUTE)
    world.timetable.says(rule("told", every=90.0))
    with caplog.at_level(logging.WARNING, "delayserver"):
        await world.run(world.server(), for_ms=10 * SECOND)
    assert not world.layer.sent
    assert [line for line in caplog.messages if "schedule told: 1 missed" in line]
    assert (await world.cursor("told")).last is None


async def test_an_older_server_that_switched_it_off_does_not_keep_it_off(world: World) -> None:
    old, new = FakeTimetable(), FakeTimetable()
    old.says(rule(every=60.0, enabled=False))
    new.says(rule(every=60.0))
    world.timetable = new
    newer = world.server()
    await world.run(newer, for_ms=5 * MINUTE)
    world.timetable = old
    older = world.server()
    assert len(await world.run(newer, older, for_ms=5 * MINUTE)) >= 3
    assert len(await world.run(newer, for_ms=5 * MINUTE)) == 5


async def test_one_that_one_server_cannot_keep_runs_on_the_others(world: World) -> None:
    good, bad = FakeTimetable(), FakeTimetable()
    good.says(rule(every=60.0))
    bad.says(faults={"nightly": "no such time zone here"})
    world.timetable = good
    one = world.server()
    world.timetable = bad
    other = world.server()
    assert len(await world.run(one, other, for_ms=5 * MINUTE)) == 5


async def test_what_was_revived_is_not_caught_up_beyond_its_policy(world: World) -> None:
    known, lacks = FakeTimetable(), FakeTimetable()
    known.says(rule(every=0.1, catch_up="skip"))
    world.timetable = known
    older = world.server()
    await world.run(older, for_ms=5 * SECOND)
    world.timetable = lacks
    world.server()
    world.timetable = lacks
    await world.server().run_once()
    world.timetable = known
    arrived = await world.run(older, for_ms=29 * SECOND)
    assert len(arrived) <= 2
    arrived = await world.run(older, for_ms=2 * SECOND)
    assert 5 <= len(arrived) <= 20


async def test_a_store_s_clock_that_goes_forth_and_back_makes_none_silent(world: World) -> None:
    world.timetable.says(rule())
    server = world.server()
    await world.run(server, for_ms=HOUR)
    world.clock.advance(365 * DAY)
    await world.run(server, for_ms=HOUR)
    world.clock.advance(-365 * DAY)
    assert len(await world.run(server, for_ms=5 * HOUR)) >= 4


@pytest.mark.parametrize(("policy", "expected"), [("one", [1]), ("all", [1]), ("skip", [])])
async def test_what_jitter_held_back_into_an_outage_was_missed(world: World, policy: str, expected: list[int]) -> None:
    jittered = rule(cron="0 0 * * *", jitter=12 * HOUR, catch_up=policy)
    world.timetable.says(jittered)
    midnight = (world.clock.now() // DAY + 1) * DAY
    late = next(n for n in range(100) if jittered.due(midnight + n * DAY) > midnight + n * DAY + HOUR)
    world.clock.advance(midnight + late * DAY - HOUR - world.clock.now())
    await world.run(world.server(), for_ms=HOUR + MINUTE)
    before = len(world.layer.sent)
    world.clock.advance(13 * HOUR)
    await world.run(world.server(), for_ms=MINUTE)
    assert [(at - midnight) // DAY - late + 1 for _, at in world.arrived()[before:]] == expected


async def test_removed_it_takes_what_waits_with_it(world: World) -> None:
    world.timetable.says(rule(), rule("stays", every=3600.0))
    server = world.server()
    await world.run(server, for_ms=SECOND)
    world.timetable.says(rule("stays", every=3600.0))
    await world.run(server, for_ms=5 * SECOND)
    assert {entry.message.id.split(":")[1] for entry in world.store._messages.values()} == {"stays"}
    assert (await world.cursor("nightly")).removed is not None


async def test_one_that_has_ended_and_is_made_anew_runs_anew(world: World) -> None:
    world.timetable.says(rule(every=10.0, max_runs=1))
    server = world.server()
    assert len(await world.run(server, for_ms=MINUTE)) == 1
    world.timetable.says()
    await world.run(server, for_ms=5 * SECOND)
    world.timetable.says(rule(every=10.0, max_runs=1))
    assert len(await world.run(server, for_ms=MINUTE)) == 1


async def test_removed_while_no_server_ran(world: World) -> None:
    world.timetable.says(rule())
    await world.run(world.server(), for_ms=SECOND)
    world.timetable.says()
    assert not await world.run(world.server(), for_ms=2 * HOUR)
    assert not world.store._messages


async def test_rows_that_cannot_be_read_are_not_removed(world: World) -> None:
    world.timetable.says(rule(source="row"))
    await world.run(world.server(), for_ms=SECOND)
    world.timetable.says(has_rows=False)
    assert len(await world.run(world.server(), for_ms=HOUR)) == 1
    assert (await world.cursor("nightly")).removed is None


async def test_it_is_forgotten_in_the_end_that_a_schedule_was_removed(world: World) -> None:
    world.timetable.says(rule())
    server = world.server()
    await world.run(server, for_ms=SECOND)
    world.timetable.says()
    await world.run(server, for_ms=5 * SECOND)
    world.clock.advance(KEPT_MS + SECOND)
    await world.run(world.server(), for_ms=SECOND)
    assert not await world.store.cursors()


async def test_two_projects_of_different_age_do_not_fight(world: World) -> None:
    """In a rolling deploy the older servers do not know a new schedule, and know a removed one: who came last wins."""
    old, new = FakeTimetable(), FakeTimetable()
    old.says(rule("removed", every=60.0), rule("changed", every=60.0))
    new.says(rule("added", every=60.0), rule("changed", every=45.0))
    world.timetable = old
    before = world.server()
    await world.run(before, for_ms=10 * SECOND)
    world.timetable = new
    after = world.server()
    begun = world.clock.now()
    arrived = await world.run(before, after, for_ms=10 * MINUTE)
    names = Counter(name for name, _ in arrived)
    assert names["removed"] in (9, 10)  # for as long as an older server knows it
    assert names["added"] == 10
    assert names["changed"] == 13
    arrived = await world.run(after, for_ms=9 * MINUTE)
    assert Counter(name for name, _ in arrived) == {"removed": 1, "added": 9, "changed": 12}  # what was ahead, once
    arrived = await world.run(after, world.server(), for_ms=9 * MINUTE)
    assert {name for name, _ in arrived} == {"added", "changed"}
    assert len(set(world.arrived())) == len(world.arrived())
    assert min(instant for _, instant in world.arrived()) > begun


async def test_a_broken_one_stops_and_is_told_and_the_others_run(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.timetable.says(rule("good", every=60.0), rule("bad", every=60.0))
    server = world.server()
    await world.run(server, for_ms=SECOND)
    world.timetable.says(rule("good", every=60.0), faults={"bad": "expected cron ..."})
    with caplog.at_level(logging.ERROR, "delayserver"):
        arrived = await world.run(server, for_ms=3 * MINUTE)
    assert Counter(name for name, _ in arrived) == {"good": 3, "bad": 1}  # what was ahead
    assert [line for line in caplog.messages if "bad" in line] == ["schedule bad does not run: expected cron ..."]
    world.timetable.says(rule("good", every=60.0), rule("bad", every=60.0))
    mended = world.clock.now()
    arrived = await world.run(server, for_ms=65 * SECOND)
    (instant,) = [instant for name, instant in arrived if name == "bad"]
    assert instant - mended >= MINUTE


# -- overlap -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "expected"), [("skip", [1, 4, 5]), ("queue_one", [1, 3, 4, 5])])
async def test_what_must_not_overlap(world: World, policy: str, expected: list[int]) -> None:
    """The first stays in the store until the fourth minute: its channel is full."""
    world.timetable.says(rule(every=60.0, overlap=policy))
    world.layer.capacity = 0
    server, begun = world.server(), world.clock.now()
    await world.run(server, for_ms=3 * MINUTE + 30 * SECOND)
    assert not world.layer.sent
    world.layer.capacity = None
    arrived = await world.run(server, for_ms=2 * MINUTE)
    assert [(instant - begun) // MINUTE for _, instant in arrived] == expected
    assert (await world.cursor("nightly")).skipped == 5 - len(expected)


# -- trouble -------------------------------------------------------------------------------------------------


class Flaky(MemoryStore):
    """Its `put_occurrences` fails, before or after it did what it was asked for."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.number = 0

    async def put_occurrences(self, moves: Any) -> list[Moved]:
        self.number += 1
        if self.number % 3 == 0:
            raise ConnectionError("it did not answer")
        moved = await super().put_occurrences(moves)
        if self.number % 3 == 1:
            raise ConnectionError("its answer was lost")
        return moved


async def test_a_store_that_fails_now_and_then_makes_no_difference(clock: FakeClock, layer: FakeLayer) -> None:
    store = Flaky(clock)
    await store.open()
    world = World(clock, store, layer)
    world.timetable.says(*(rule(f"every {n}", every=float(n)) for n in range(1, 8)))
    servers, begun = [world.server(), world.server()], world.clock.now()
    while world.clock.now() < begun + MINUTE:
        for server in servers:
            for loop in (server.dispatch, server.tick):
                try:
                    await loop.run_once()
                except ConnectionError:
                    continue
        world.clock.advance(10)
    arrived = Counter(world.arrived())
    assert set(arrived.values()) == {1}
    for n in range(1, 8):
        instants = [instant for name, instant in arrived if name == f"every {n}"]
        assert len(instants) >= 60 // n - 1
        assert all((b - a) == n * SECOND for a, b in zip(sorted(instants), sorted(instants)[1:], strict=False))
    await store.aclose()


async def test_dispatch_goes_on_where_schedules_cannot_be_read(world: World) -> None:
    async def fails() -> Reading:
        raise RuntimeError("a project's own mistake")

    world.timetable.read = fails  # type: ignore[method-assign]
    server = world.server()
    message = Message(channel="sink", content={"type": "probe"}, delay=0)
    world.store.put([message.waiting(world.clock, 10_000)])
    await server.dispatch.run_once()
    assert len(world.layer.sent) == 1
    with pytest.raises(RuntimeError, match="own mistake"):
        await server.tick.run_once()


@pytest.mark.parametrize(
    "junk",
    [b"\xff\xff", b"", *(msgpack.packb(cursor) for cursor in ([1] * 5, [-(2**60), 0, b"", b"", "row"], ["x"] * 11))],
)
async def test_a_cursor_that_is_none_begins_anew(world: World, junk: bytes) -> None:
    await world.store.put_occurrences([Move("nightly", None, junk), Move("nobody's", None, junk)])
    world.timetable.says(rule(every=60.0))
    assert len(await world.run(world.server(), for_ms=MINUTE + SECOND)) == 1


async def test_ten_thousand_due_in_the_same_minute_take_few_acts(world: World) -> None:
    world.timetable.says(*(rule(f"schedule {n}", cron="* * * * *") for n in range(10_000)))
    world.clock.advance(-world.clock.now() % MINUTE + SECOND)
    acts: list[int] = []
    put_occurrences = world.store.put_occurrences

    async def counted(moves: Any) -> list[Moved]:
        acts.append(len(moves))
        return await put_occurrences(moves)

    world.store.put_occurrences = counted  # type: ignore[method-assign]
    server = world.server()
    await server.run_once()
    assert sum(acts) == 10_000 and len(acts) <= 1_000  # how many it takes is a matter of time
    acts.clear()
    await world.run(server, for_ms=MINUTE)
    assert sum(acts) == 10_000 and len(acts) <= 1_000
    assert len(set(world.arrived())) == len(world.arrived()) == 10_000
