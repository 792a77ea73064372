"""Schedules over days and outages, on a clock in the test's hand: `run_once` of tick and dispatch, without any loop."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from delayserver import events
from delayserver.loops.dispatch import Dispatch
from delayserver.loops.tick import LOOK_SECONDS, Tick
from delayserver.occurrences import Cursor, Rule
from delayserver.recurrence import Cron, Every
from delayserver.rules import make_rule
from delayserver.schedules import Reading, Timetable
from delayserver.stores.memory import MemoryStore

from ..support.clock import NOW, FakeClock
from .conftest import FakeLayer

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
TARGET: Mapping[str, Any] = {"channel": "sink", "message": {"type": "probe"}}
MOST_RUNS = 2_000  # of one tick, until it has nothing more to do at one instant


class Known(Timetable):
    """The schedules that a test says there are."""

    def __init__(self, *rules: Rule) -> None:
        super().__init__()
        self.say(*rules)

    def say(self, *rules: Rule) -> None:
        self.reading = Reading({rule.name: rule for rule in rules}, has_rows=True)

    async def read(self) -> Reading:
        return self.reading


def rule(name: str = "s", /, **options: Any) -> Rule:
    return make_rule(name, {**TARGET, **options}, "code")


def hourly(catch_up: str = "one", name: str = "s", **options: Any) -> Rule:
    return rule(name, cron="0 * * * *", catch_up=catch_up, **options)


class Server:
    """A tick and a dispatch, as a process has them."""

    def __init__(self, store: MemoryStore, layer: FakeLayer, timetable: Timetable) -> None:
        self.tick = Tick(store, layer, timetable, lambda name: True)
        self.dispatch = Dispatch(store, layer, before=self.tick.before_dispatch)
        self.runs = 0

    async def turn(self) -> float:
        """Everything there is to do now; for how many seconds there is nothing then."""
        for _ in range(MOST_RUNS):
            self.runs += 1
            sleeps = await self.dispatch.run_once(), await self.tick.run_once(), await self.dispatch.run_once()
            if min(sleeps) > 0:
                return min(sleeps)
        raise AssertionError(f"there is always something to do: {self.tick.__dict__}")


class World:
    """A store, a layer, a clock, and the servers that are up."""

    def __init__(self, clock: FakeClock, store: MemoryStore, layer: FakeLayer) -> None:
        self.clock, self.store, self.layer = clock, store, layer
        layer.capacity = 1_000_000
        self.at: list[int] = []  # when each arrived

    def server(self, *rules: Rule) -> Server:
        return Server(self.store, self.layer, Known(*rules))

    async def run(self, ms: int, *servers: Server) -> None:
        """Time passes, for servers that sleep no longer than they said."""
        end = self.clock.now() + ms
        while True:
            sleep = min([await server.turn() for server in servers], default=ms / 1000)
            self.at += [self.clock.now()] * (len(self.layer.sent) - len(self.at))
            left = end - self.clock.now()
            if left <= 0:
                return
            self.clock.advance(min(left, max(1, round(sleep * 1000))))

    def instants(self, name: str = "s") -> list[int]:
        told = [one.content["__delay__"] for one in self.layer.sent]
        return [one["scheduled_for"] for one in told if one["schedule"] == name]

    async def cursor(self, name: str = "s") -> Cursor:
        cursor = Cursor.unpack((await self.store.cursors([name]))[name])
        assert cursor is not None
        return cursor


@pytest.fixture
def world(clock: FakeClock, store: MemoryStore, layer: FakeLayer) -> World:
    return World(clock, store, layer)


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks so seldom that days pass quickly."""
    for name in ("tick.LOOK_SECONDS", "dispatch.LOOK_SECONDS"):
        monkeypatch.setattr(f"delayserver.loops.{name}", 3_600.0)
    monkeypatch.setattr("delayserver.loops.tick.GAP_MS", 3 * HOUR)


# -- in time -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ms", [100, 250, 1_000])
async def test_an_interval_does_not_drift(world: World, ms: int) -> None:
    server = world.server(rule(every=timedelta(milliseconds=ms)))
    await world.run(MINUTE, server)
    instants = world.instants()
    assert instants == list(range(NOW + ms, NOW + MINUTE + 1, ms))
    assert world.at == instants


@pytest.mark.usefixtures("calm")
async def test_a_week_between_two_although_there_is_a_restart_each_day(world: World) -> None:
    weekly = rule(every=timedelta(days=7))
    for _ in range(60):
        await world.run(DAY, world.server(weekly))
    assert world.instants() == [NOW + n * 7 * DAY for n in range(1, 9)]
    assert world.at == world.instants()


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize(("catch_up", "late"), [("one", True), ("all", True), ("skip", False)])
async def test_a_week_between_two_and_no_server_at_night(world: World, catch_up: str, late: bool) -> None:
    """One begins in the morning, so each falls on the end of a night; one that is anchored at night is missed."""
    weekly = rule(every=timedelta(days=7), catch_up=catch_up)
    nightly = rule("night", cron="0 3 * * 1", catch_up=catch_up, catch_up_window=timedelta(days=1))
    for _ in range(60):
        await world.run(12 * HOUR, world.server(weekly, nightly))
        world.clock.advance(12 * HOUR)
    assert world.instants() == [NOW + n * 7 * DAY for n in range(1, 9)]
    nights = [at for at in range(NOW - NOW % DAY + 3 * HOUR, NOW + 60 * DAY, DAY) if (at // DAY + 4) % 7 == 1]
    nights = [at for at in nights if at > NOW]
    assert world.instants("night") == (nights[: len(world.instants("night"))] if late else [])
    assert len(world.instants("night")) >= (8 if late else 0)


@pytest.mark.parametrize(("catch_up", "missed"), [("one", [3]), ("all", [1, 2, 3]), ("skip", [])])
@pytest.mark.parametrize("overlap", ["allow", "skip", "queue_one"])
@pytest.mark.parametrize("servers", [1, 2])
async def test_down_for_three_hours(world: World, catch_up: str, missed: list[int], overlap: str, servers: int) -> None:
    if overlap != "allow" and catch_up == "all":
        missed = [3]  # the others would overlap with it
    each = [hourly(catch_up, overlap=overlap)] * servers
    await world.run(90 * MINUTE, *(world.server(one) for one in each))
    assert world.instants() == [NOW + HOUR]
    world.clock.advance(3 * HOUR)  # 9:30 -> 12:30
    await world.run(2 * HOUR, *(world.server(one) for one in each))
    hours = [1, *(1 + hour for hour in missed), 5, 6]
    assert world.instants() == [NOW + hour * HOUR for hour in hours]
    late = [at for at, instant in zip(world.at, world.instants(), strict=True) if at != instant]
    assert late == [NOW + 4 * HOUR + 30 * MINUTE] * len(missed)


@pytest.mark.parametrize(("catch_up", "missed"), [("one", [3]), ("all", [1, 2, 3]), ("skip", [])])
async def test_a_server_that_was_stopped_for_three_hours_was_none(
    world: World, catch_up: str, missed: list[int]
) -> None:
    server = world.server(hourly(catch_up))
    await world.run(90 * MINUTE, server)
    world.clock.advance(3 * HOUR)
    await world.run(HOUR, server)
    assert world.instants() == [NOW + hour * HOUR for hour in [1, *(1 + hour for hour in missed), 5]]


async def test_what_is_left_out_is_counted_and_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    told_of = hourly("skip", name="told of")
    await world.run(90 * MINUTE, world.server(told_of))
    world.clock.advance(3 * HOUR)
    before = events.counts[events.OCCURRENCES_MISSED.name]
    await world.run(MINUTE, world.server(told_of))
    assert events.counts[events.OCCURRENCES_MISSED.name] == before + 3
    assert (await world.cursor("told of")).skipped == 3
    told = [record.getMessage() for record in caplog.records if record.name == "delayserver"]
    assert any("schedule told of: 3 missed while no server ran" in line for line in told), told


async def test_a_clock_set_back_or_ahead_sends_nothing_twice(world: World) -> None:
    server = world.server(hourly("all"))
    await world.run(90 * MINUTE, server)
    world.clock.advance(-HOUR)
    await world.run(4 * HOUR, server)
    assert world.instants() == [NOW + hour * HOUR for hour in range(1, 5)]


# -- long outages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("catch_up", ["one", "skip"])
@pytest.mark.parametrize(
    ("options", "period", "away"),
    [
        ({"every": timedelta(milliseconds=100)}, 100, 7 * DAY),
        ({"every": timedelta(milliseconds=1)}, 1, 30 * DAY),
        ({"cron": "* * * * * *"}, SECOND, 3 * DAY),
    ],
    ids=["100 ms for a week", "1 ms for a month", "seconds for three days"],
)
async def test_a_long_outage_is_soon_settled(
    world: World, catch_up: str, options: dict[str, Any], period: int, away: int
) -> None:
    one = rule(**options, catch_up=catch_up)
    await world.run(2 * period, world.server(one))
    before = len(world.instants())
    world.clock.advance(away)
    server = world.server(one)
    await server.turn()
    assert server.runs <= 200, server.runs
    came = world.instants()[before:]
    since = world.clock.now() - 500
    on_time = [instant for instant in came if instant > since]
    assert len(came) - len(on_time) == (catch_up == "one"), came[:10]
    assert came == sorted(came)
    assert (await world.cursor()).skipped >= away // period - before - len(came) - 2


# -- two servers that know two rules ------------------------------------------------------------------------------


async def test_an_older_rule_does_not_move_what_goes_by_a_newer(world: World) -> None:
    """As while a project is deployed: the schedule is the one of the server that came last."""
    old = world.server(rule(cron="0 * * * *"))
    await world.run(10 * SECOND, old)
    new = world.server(rule(cron="* * * * * *"))
    await world.run(20 * SECOND, old, new)
    assert world.instants() == [NOW + n * SECOND for n in range(11, 31)]
    await world.run(10 * SECOND, new)
    assert world.instants() == [NOW + n * SECOND for n in range(11, 41)]


async def test_a_rule_goes_on_where_the_one_that_took_over_is_gone(world: World) -> None:
    """An older server that was started again, and then was no more."""
    new = world.server(rule(cron="* * * * * *"))
    await world.run(10 * SECOND, new)
    old = world.server(rule(cron="* * * * * */2"))
    await world.run(10 * SECOND, new, old)
    await world.run(30 * SECOND, new)
    came = world.instants()
    assert came == sorted(set(came))
    assert came[-5:] == [NOW + n * SECOND for n in range(46, 51)]


# -- changes -------------------------------------------------------------------------------------------------------


async def test_an_edit_starts_anew_and_fires_nothing_at_once(world: World) -> None:
    timetable = Known(hourly("all"))
    server = Server(world.store, world.layer, timetable)
    await world.run(30 * MINUTE, server)
    timetable.say(rule(cron="10 * * * *", catch_up="all"))
    await world.run(round(LOOK_SECONDS * 1000), server)
    assert world.instants() == []
    assert (await world.cursor()).waiting == NOW + 70 * MINUTE
    assert await world.store.count() == 1
    await world.run(HOUR, server)
    assert world.instants() == [NOW + 70 * MINUTE]


async def test_a_removed_schedule_that_is_made_anew_has_all_its_runs(world: World) -> None:
    once = rule(cron="* * * * *", max_runs=1)
    timetable = Known(once)
    server = Server(world.store, world.layer, timetable)
    await world.run(3 * MINUTE, server)
    assert world.instants() == [NOW + MINUTE]
    timetable.say()
    await world.run(10 * SECOND, server)
    timetable.say(once)
    await world.run(3 * MINUTE, server)
    assert world.instants() == [NOW + MINUTE, NOW + 4 * MINUTE]


async def test_many_schedules_and_one_instant(world: World) -> None:
    rules = [rule(f"s{n}", cron="* * * * *") for n in range(1_000)]
    server, other = world.server(*rules), world.server(*rules)
    await world.run(90 * SECOND, server, other)
    assert len(world.layer.sent) == 1_000
    assert {instant for one in rules for instant in world.instants(one.name)} == {NOW + MINUTE}
    assert set(world.at) == {NOW + MINUTE}


def test_the_tick_looks_often_enough_for_its_promise() -> None:
    assert LOOK_SECONDS < 5


def test_types_are_those_of_the_rule() -> None:
    assert isinstance(hourly().recurrence, Cron)
    assert isinstance(rule(every=1).recurrence, Every)
