"""What is due for a full target waits in that target's backlog, out of the others' way, and keeps its place."""

from __future__ import annotations

import asyncio

import pytest

from delayserver.backoff import Retry
from delayserver.message import OnConflict, Target, Waiting
from delayserver.stores.base import Named, Store

from ..support.clock import NOW
from .places import BODY, LEASE, Place, each, ids, in_thread, waiting


async def held_back(store: Store, *messages: Waiting, name: str = "sink") -> None:
    """Put them, all of them due, and have them go into this backlog."""
    await store.aput(messages)
    assert await store.claim(NOW, 10, LEASE, full=[name]) == []


async def emptied(store: Store, name: str = "sink") -> list[str]:
    """The ids of what was in this backlog; all of it is finished."""
    found: list[str] = []
    while claims := await store.claim_backlog(name, NOW, 500, LEASE):
        found += ids(claims)
        assert all(await store.finish(claims))
    return found


# -- in ------------------------------------------------------------------------------------------------------


async def test_what_is_due_for_a_full_target_makes_way_for_the_rest(store: Store) -> None:
    messages = [waiting(NOW - 9 + n, channel=["full", "free"][n % 2]) for n in range(10)]
    await store.aput(messages)
    claimed: list[str] = []
    while claims := await store.claim(NOW, 3, LEASE, full=["full"]):
        assert len(claims) <= 3
        claimed += ids(claims)
    assert claimed == ids(messages[1::2])
    assert await emptied(store, "full") == ids(messages[::2])


async def test_a_claim_does_not_come_back_empty_while_something_behind_a_crowd_is_due(store: Store) -> None:
    await store.aput([waiting(NOW - 1) for _ in range(300)])
    await store.aput([waiting(NOW - 1) for _ in range(300)])
    free = waiting(NOW, channel="free")
    await store.aput([free])
    assert ids(await store.claim(NOW, 7, LEASE, full=["sink"])) == [free.id]


async def test_what_is_not_due_yet_does_not_go_into_a_backlog(store: Store) -> None:
    message = waiting(NOW + 1)
    await held_back(store, message)
    assert await store.backlogs() == []
    assert await store.next_due() == NOW + 1
    assert ids(await store.claim(NOW + 1, 10, LEASE)) == [message.id]


async def test_a_backlog_counts_but_is_nothing_to_claim_or_to_wait_for(store: Store) -> None:
    await held_back(store, waiting(NOW - 5), waiting(NOW - 3))
    assert await store.claim(NOW + 9 * LEASE, 10, LEASE, full=["sink"]) == []
    assert await store.next_due() is None
    assert await store.count() == 2
    assert await store.first_due() == NOW - 5
    await store.aput([waiting(NOW + 7), waiting(NOW - 9, channel="other")])
    assert await store.next_due() == await store.first_due() == NOW - 9


async def test_the_first_due_may_lie_in_any_backlog(store: Store) -> None:
    await held_back(store, waiting(NOW - 1, channel="a"), name="a")
    await held_back(store, waiting(NOW - 3, channel="b"), name="b")
    await held_back(store, waiting(NOW - 2, channel="c"), name="c")
    await store.aput([waiting(NOW)])
    assert await store.first_due() == NOW - 3
    assert await store.next_due() == NOW


async def test_a_claim_that_ran_out_goes_into_the_backlog_too(store: Store, other: Store) -> None:
    message = waiting()
    await store.aput([message])
    stale = await store.claim(NOW, 10, LEASE)
    assert await other.claim(NOW + LEASE, 10, LEASE, full=["sink"]) == []
    assert await other.next_due() is None
    assert await store.finish(stale) == [False]
    assert ids(await other.claim_backlog("sink", NOW + LEASE, 10, LEASE)) == [message.id]


# -- out -----------------------------------------------------------------------------------------------------


async def test_a_backlog_is_taken_from_in_due_order_and_up_to_a_limit(store: Store) -> None:
    messages = [waiting(NOW - 9 + n) for n in range(9)]
    await held_back(store, *messages[::-1])
    taken = [ids(await store.claim_backlog("sink", NOW, 4, LEASE)) for _ in range(4)]
    assert taken == [ids(messages[:4]), ids(messages[4:8]), ids(messages[8:]), []]


async def test_what_is_due_at_once_is_taken_in_the_order_in_which_it_was_made(store: Store) -> None:
    messages = [waiting() for _ in range(9)]
    await held_back(store, *messages[5:])
    await held_back(store, *messages[:5])
    assert await emptied(store) == ids(messages)


async def test_what_is_put_later_and_due_earlier_overtakes(store: Store) -> None:
    first, second = waiting(NOW - 5), waiting(NOW - 3)
    await held_back(store, second)
    await held_back(store, first)
    assert await emptied(store) == ids([first, second])


async def test_what_comes_from_a_backlog_is_as_it_was_put(store: Store) -> None:
    message = waiting(NOW - 5, key="k", expires=NOW + 5, retry=Retry(max_attempts=3))
    await held_back(store, message)
    [claim] = await store.claim_backlog("sink", NOW, 10, LEASE)
    assert claim.message == message


async def test_what_was_taken_from_a_backlog_is_claimed_like_anything_else(store: Store, place: Place) -> None:
    message = waiting(NOW - 5, key="k", retry=Retry())
    await held_back(store, message)
    claims = await store.claim_backlog("sink", NOW, 10, LEASE)
    assert await store.backlogs() == []
    assert await store.acancel([Named(id=message.id), Named(key="k")]) == [False, False]
    assert await store.next_due() == NOW + LEASE
    assert await store.postpone(claims, [NOW + 3], spend=1) == [True]
    [claim] = await store.claim(NOW + 3, 10, LEASE)
    assert (claim.message.id, claim.message.attempt) == (message.id, 1)
    assert await store.finish([claim]) == [True]
    assert await in_thread(place.leftovers) == []


async def test_a_claim_from_a_backlog_that_ran_out_is_due_again_outside_of_it(store: Store, other: Store) -> None:
    message = waiting()
    await held_back(store, message)
    stale = await store.claim_backlog("sink", NOW, 10, LEASE)
    assert await other.claim(NOW + LEASE - 1, 10, LEASE) == []
    assert await other.claim_backlog("sink", NOW + LEASE, 10, LEASE) == []
    assert ids(await other.claim(NOW + LEASE, 10, LEASE)) == [message.id]
    assert await store.hold_back(stale, ["sink"]) == [False]


async def test_a_backlog_of_another_name_is_not_touched(store: Store) -> None:
    messages = [waiting(NOW - n, channel=f"c{n}") for n in range(5)]
    await store.aput(messages)
    assert await store.claim(NOW, 10, LEASE, full=[f"c{n}" for n in range(5)]) == []
    assert await store.claim_backlog("c", NOW, 10, LEASE) == []
    assert ids(await store.claim_backlog("c3", NOW, 10, LEASE)) == [messages[3].id]
    assert sorted(await store.backlogs()) == ["c0", "c1", "c2", "c4"]


async def test_no_two_servers_take_the_same_from_a_backlog(store: Store, other: Store) -> None:
    messages = [waiting() for _ in range(200)]
    await held_back(store, *messages)

    async def serve(server: Store) -> list[str]:
        seen: list[str] = []
        while await server.count():
            claims = await server.claim_backlog("sink", NOW, 7, LEASE)
            seen += ids(claims)
            assert all(await server.finish(claims))
        return seen

    async with asyncio.timeout(30):
        seen = await asyncio.gather(serve(store), serve(other))
    assert sorted(seen[0] + seen[1]) == ids(messages)


# -- held back -----------------------------------------------------------------------------------------------


async def test_what_is_held_back_keeps_its_place_and_its_due_instant(store: Store) -> None:
    messages = [waiting(NOW - 9 + n, key=f"k{n}") for n in range(9)]
    await store.aput(messages)
    claims = await store.claim(NOW, 3, LEASE)
    assert await store.claim(NOW, 10, LEASE, full=["sink"]) == []
    assert await store.hold_back(claims, ["sink"] * 3) == [True] * 3
    assert await store.first_due() == NOW - 9
    again = await store.claim_backlog("sink", NOW, 100, LEASE)
    assert [claim.message for claim in again] == messages


async def test_from_a_backlog_and_back_into_it(store: Store) -> None:
    messages = [waiting(NOW - 9 + n) for n in range(6)]
    await held_back(store, *messages)
    for _ in range(3):
        claims = await store.claim_backlog("sink", NOW, 4, LEASE)
        assert ids(claims) == ids(messages[:4])
        assert await store.hold_back(claims, ["sink"] * 4) == [True] * 4
    assert await emptied(store) == ids(messages)


async def test_each_is_held_back_in_a_backlog_of_its_own(store: Store) -> None:
    messages = [waiting(NOW - 3 + n, channel=f"c{n}") for n in range(3)]
    await store.aput(messages)
    claims = await store.claim(NOW, 10, LEASE)
    assert await store.hold_back(claims, ["c0", "c1", "c2"]) == [True] * 3
    for message in messages:
        assert await emptied(store, message.target.name) == [message.id]


async def test_many_can_be_held_back_at_once(store: Store) -> None:
    messages = [waiting(NOW - n) for n in range(500)]
    await store.aput(messages)
    claims = await store.claim(NOW, 500, LEASE)
    assert await store.hold_back(claims, ["sink"] * 500) == [True] * 500
    assert await emptied(store) == ids(messages[::-1])


async def test_a_late_server_holds_nothing_back(store: Store, other: Store) -> None:
    messages = [waiting(NOW), waiting(NOW + 1)]
    await store.aput(messages)
    stale = await store.claim(NOW + 1, 10, LEASE)
    await store.finish(stale[:1])
    assert await store.hold_back(stale, ["sink", "sink"]) == [False, True]
    assert await store.hold_back(stale, ["sink", "sink"]) == [False, False]
    [held] = await other.claim_backlog("sink", NOW + 1, 10, LEASE)
    assert await store.hold_back(stale, ["sink", "sink"]) == [False, False]
    assert await other.finish([held]) == [True]


async def test_a_message_held_back_has_its_key_again(store: Store) -> None:
    message = waiting(NOW - 5, key="k")
    await store.aput([message])
    assert await store.hold_back(await store.claim(NOW, 10, LEASE), ["sink"]) == [True]
    [receipt] = await store.aput(each("keep", [waiting(NOW, key="k")]))
    assert receipt == (message.id, NOW - 5, False)


async def test_a_message_held_back_leaves_its_key_to_the_one_that_took_it(store: Store) -> None:
    first, second = waiting(NOW - 5, key="k"), waiting(NOW, key="k")
    await store.aput([first])
    claims = await store.claim(NOW, 10, LEASE)
    await store.aput([second])
    assert await store.hold_back(claims, ["sink"]) == [True]
    assert await store.acancel([Named(key="k")]) == [True]
    assert await emptied(store) == [first.id]


async def test_to_be_held_back_spends_no_attempt(store: Store) -> None:
    await store.aput([waiting(retry=Retry())])
    await store.postpone(await store.claim(NOW, 10, LEASE), [NOW], spend=1)
    assert await store.hold_back(await store.claim(NOW, 10, LEASE), ["sink"]) == [True]
    [claim] = await store.claim_backlog("sink", NOW, 10, LEASE)
    assert claim.message.attempt == 1


# -- like anything that waits --------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["id", "key"])
@pytest.mark.parametrize("how", ["claim", "hold_back"])
async def test_what_is_in_a_backlog_can_be_cancelled_once(store: Store, place: Place, by: str, how: str) -> None:
    message = waiting(NOW - 5, key="k")
    await store.aput([message])
    if how == "claim":
        await store.claim(NOW, 10, LEASE, full=["sink"])
    else:
        await store.hold_back(await store.claim(NOW, 10, LEASE), ["sink"])
    named = Named(**{by: getattr(message, by)})
    assert await store.acancel([named]) == [True]
    assert await store.acancel([named]) == [False]
    assert await store.claim_backlog("sink", NOW, 10, LEASE) == []
    assert await in_thread(place.leftovers) == []


@pytest.mark.parametrize("by", ["id", "key"])
@pytest.mark.parametrize("due", [NOW - 10, NOW - 5, NOW, NOW + 10])
async def test_what_is_in_a_backlog_can_be_moved_out_of_it(store: Store, place: Place, by: str, due: int) -> None:
    message = waiting(NOW - 5, key="k")
    await held_back(store, message)
    assert await store.areschedule(Named(**{by: getattr(message, by)}), due) is True
    assert await store.backlogs() == []
    assert await store.next_due() == due
    [claim] = await store.claim(due, 10, LEASE)
    assert (claim.message.id, claim.message.due) == (message.id, due)
    assert await store.finish([claim]) == [True]
    assert await in_thread(place.leftovers) == []


async def test_a_put_with_its_key_keeps_or_replaces_what_is_in_a_backlog(store: Store, place: Place) -> None:
    old, new = waiting(NOW - 5, key="k"), waiting(NOW, key="k")
    await held_back(store, old)
    [receipt] = await store.aput(each("keep", [waiting(NOW - 9, key="k")]))
    assert receipt == (old.id, NOW - 5, False)
    [receipt] = await store.aput(each("replace", [new]))
    assert receipt == (new.id, NOW, True)
    assert await store.backlogs() == []
    assert ids(await store.claim(NOW, 10, LEASE)) == [new.id]
    assert await store.count() == 1


@pytest.mark.parametrize("on_conflict", ["keep", "replace", "error"])
@pytest.mark.parametrize("key", [None, "k"])
async def test_putting_it_again_leaves_it_in_its_backlog(
    store: Store, key: str | None, on_conflict: OnConflict
) -> None:
    message = waiting(NOW - 5, key=key)
    await held_back(store, message)
    [receipt] = await store.aput(each(on_conflict, [message]))
    assert receipt == (message.id, NOW - 5, True)
    assert await store.next_due() is None
    assert await emptied(store) == [message.id]


# -- names ---------------------------------------------------------------------------------------------------


async def test_the_parts_of_a_specific_channel_wait_behind_what_they_share(store: Store) -> None:
    parts = [waiting(NOW - 5 + n, channel=f"specific.x!{n}") for n in range(3)]
    others = [waiting(channel=channel) for channel in ("specific.x", "specific.xy!z", "specific.y!0")]
    await store.aput([*parts, *others])
    assert ids(await store.claim(NOW, 10, LEASE, full=["specific.x!"])) == ids(others)
    assert await store.backlogs() == ["specific.x!"]
    assert await store.claim_backlog("specific.x!1", NOW, 10, LEASE) == []
    assert await emptied(store, "specific.x!") == ids(parts)


async def test_one_part_of_a_specific_channel_may_wait_alone(store: Store) -> None:
    parts = [waiting(NOW - 5 + n, channel=f"specific.x!{n}") for n in range(3)]
    await store.aput(parts)
    assert ids(await store.claim(NOW, 10, LEASE, full=["specific.x!1"])) == ids([parts[0], parts[2]])
    assert await store.backlogs() == ["specific.x!1"]
    assert await store.claim_backlog("specific.x!", NOW, 10, LEASE) == []
    assert await emptied(store, "specific.x!1") == [parts[1].id]


async def test_a_group_waits_behind_its_name_with_an_asterisk(store: Store) -> None:
    group = Waiting("group", NOW, Target("group", "g"), BODY)
    channel, starred = waiting(channel="g"), waiting(channel="h")
    await store.aput([group, channel, starred])
    claims = await store.claim(NOW, 10, LEASE, full=["*g", "*h"])
    assert sorted(ids(claims)) == sorted(ids([channel, starred]))
    assert await store.hold_back(claims[:1], [claims[0].message.target.name]) == [True]
    assert sorted(await store.backlogs()) == sorted(["*g", claims[0].message.target.name])
    assert await emptied(store, "*g") == ["group"]


async def test_backlogs_are_those_in_which_something_waits(store: Store, place: Place) -> None:
    assert await store.backlogs() == []
    names = [*(f"c{n}" for n in range(20)), "specific.a!b", "specific.a!"]
    await store.aput([waiting(NOW - 1, channel=name + "x" * name.endswith("!")) for name in names])
    assert await store.claim(NOW, 100, LEASE, full=names) == []
    assert sorted(await store.backlogs()) == sorted(names)
    claims = await store.claim_backlog("c7", NOW, 10, LEASE)
    assert sorted(await store.backlogs()) == sorted({*names} - {"c7"})
    await store.finish(claims)
    for name in await store.backlogs():
        await emptied(store, name)
    assert await store.backlogs() == []
    assert await store.count() == 0
    assert await in_thread(place.leftovers) == []


async def test_a_claim_from_a_backlog_is_bounded_in_bytes(store: Store, kind: str) -> None:
    messages = [waiting(body=b"x" * 1_000_000) for _ in range(40)]
    for message in messages:
        await store.aput([message])
    assert await store.claim(NOW, 500, LEASE, full=["sink"]) == []
    claimed: list[str] = []
    while claims := await store.claim_backlog("sink", NOW, 500, LEASE):
        if kind != "memory":
            assert len(claims) <= 30  # a portion is read before it is known how large it is
        claimed += ids(claims)
        assert all(await store.finish(claims))
    assert claimed == ids(messages)
