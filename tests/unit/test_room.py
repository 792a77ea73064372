"""How much a worker may take: never more than it can run, and whoever had no room is told when there is some."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from delayserver.layers.base import Desired, Taken
from delayserver.loops.room import Room, Subscription

CHANNELS = ("a", "b", "c")
LIMITS = st.tuples(*[st.none() | st.integers(1, 4)] * 3)


def nobody() -> None: ...


class Told:
    """How often a source was told that there is room."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def taken(desired: list[Desired], most: int, chance: st.DataObject) -> list[Taken]:
    found: list[Taken] = []
    for channel, room, _ in desired:
        number = chance.draw(st.integers(0, min(room, most - len(found))))
        found += [Taken(channel, b"") for _ in range(number)]
    return found


@given(st.integers(1, 9), LIMITS, st.integers(1, 3), st.data())
def test_never_more_than_concurrency_in_all_nor_a_channels_limit(
    concurrency: int, limits: tuple[int | None, ...], ends: int, chance: st.DataObject
) -> None:
    limit = dict(zip(CHANNELS, limits, strict=True))
    room = Room([Subscription(*one) for one in limit.items()], concurrency, ends)
    open_turns: list[tuple[list[Desired], int]] = []
    running: Counter[str] = Counter()
    for _ in range(chance.draw(st.integers(1, 40))):
        match chance.draw(st.sampled_from(["reserve", "settle", "free"])):
            case "reserve":
                open_turns.append(room.reserve(nobody))
            case "settle" if open_turns:
                desired, most = open_turns.pop(chance.draw(st.integers(0, len(open_turns) - 1)))
                some = taken(desired, most, chance)
                room.settle(desired, most, some)
                running.update(one.channel for one in some)
            case "free" if running.total():
                channel = chance.draw(st.sampled_from(sorted(running.elements())))
                running[channel] -= 1
                room.free(channel)
        could: Counter[str] = Counter(running)
        for desired, _ in open_turns:
            could.update({one.channel: one.most for one in desired})
        assert running.total() + sum(most for _, most in open_turns) <= concurrency
        assert all(could[channel] <= most for channel, most in limit.items() if most is not None)
    for desired, most in open_turns:
        room.settle(desired, most, ())
    for channel in running.elements():
        room.free(channel)
    desired, most = room.reserve(nobody)
    assert most == -(-concurrency // ends)
    shares = {channel: most if one is None else min(most, -(-one // ends)) for channel, one in limit.items()}
    assert {one.channel: one.most for one in desired} == shares


def test_who_had_no_room_is_told_once_there_is_and_who_gives_it_back_is_not() -> None:
    room, one, other = Room([Subscription("a")], 1, 2), Told(), Told()
    turn = room.reserve(one)
    assert room.reserve(other) == ([], 0)
    room.settle(*turn, ())
    assert (one.times, other.times) == (0, 1)
    turn = room.reserve(other)
    room.settle(*turn, [Taken("a", b"")])
    assert room.reserve(one) == ([], 0)
    room.free("a")
    assert (one.times, other.times) == (1, 1)


def test_who_had_no_room_of_one_channel_is_told_when_that_has_some() -> None:
    room, told = Room([Subscription("a", 1), Subscription("b")], 5, 1), Told()
    turn = room.reserve(told)
    room.settle(*turn, [Taken("a", b""), Taken("b", b"")])
    desired, most = room.reserve(told)
    assert [one.channel for one in desired] == ["b"]
    room.settle(desired, most, ())
    room.free("b")
    assert told.times == 0
    room.free("a")
    assert told.times == 1


def test_where_no_channel_has_room_nothing_is_reserved() -> None:
    room, told = Room([Subscription("a", 1)], 5, 1), Told()
    room.settle(*room.reserve(told), [Taken("a", b"")])
    assert room.reserve(told) == ([], 0)
    room.free("a")
    assert told.times == 1


def test_a_crowded_room_gives_nothing_until_it_is_not_and_a_closed_one_never() -> None:
    room, told = Room([Subscription("a")], 5, 1), Told()
    room.crowd(True)
    assert room.reserve(told) == ([], 0)
    room.crowd(False)
    room.crowd(False)
    assert told.times == 1
    assert room.reserve(told)[1] == 5
    room.closed = True
    assert room.empty
    assert room.reserve(told) == ([], 0)


def test_channels_are_asked_in_turn_so_that_none_is_always_last() -> None:
    room = Room([Subscription(channel) for channel in CHANNELS], 5, 1)
    firsts = []
    for _ in range(3):
        turn = room.reserve(nobody)
        firsts.append(turn[0][0].channel)
        room.settle(*turn, ())
    assert sorted(firsts) == ["a", "b", "c"]
