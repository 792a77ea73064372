"""A consumer's word: what was handed over is acked, renewed or reclaimed by the ticket of its last hand-over alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from delayserver.backoff import Retry
from delayserver.message import Claim, DeadLetter, Ticket, Waiting
from delayserver.stores.base import MAX_BATCH, Acked, Named, Store
from delayserver.stores.moves import Move

from ..support.clock import NOW
from .occurrences import do, first, occurrence
from .places import LEASE, Place, each, ids, in_thread, waiting
from .tickets import RETRY, TIMEOUT, again, handed_over, retried


@pytest.fixture(params=["our id", "any id", "occurrence"])
def message(request: pytest.FixtureRequest) -> Waiting:
    match request.param:
        case "our id":
            return retried(key="k")
        case "any id":
            return retried(key="k", id="any")
    return replace(occurrence(retry=RETRY), due=NOW)


async def stay(store: Store, ticket: Ticket) -> None:
    """As the hand-over left it."""


async def back_off(store: Store, ticket: Ticket) -> None:
    [claim] = await reclaimed(store, ticket)
    assert await store.postpone([claim], [NOW + 2 * TIMEOUT], spend=0) == [True]


async def be_held_back(store: Store, ticket: Ticket) -> None:
    claims = await store.claim(NOW + TIMEOUT, 10, LEASE)
    assert await store.hold_back(claims, ["sink"]) == [True]


async def make_way(store: Store, ticket: Ticket) -> None:
    assert await store.claim(NOW + TIMEOUT, 10, LEASE, full=["sink"]) == []


async def be_moved(store: Store, ticket: Ticket) -> None:
    assert await store.areschedule(Named(ticket.id), NOW + 1)


@pytest.fixture(params=[stay, back_off, be_held_back, make_way, be_moved])
def wait(request: pytest.FixtureRequest) -> Callable[[Store, Ticket], Awaitable[None]]:
    """The ways in which a message is handed over."""
    way: Callable[[Store, Ticket], Awaitable[None]] = request.param
    return way


async def reclaimed(store: Store, *tickets: Ticket, now: int = NOW) -> list[Claim]:
    claims = await store.reclaim(tickets, now, LEASE)
    assert all(claims)
    return [claim for claim in claims if claim]


async def move_nothing(store: Store, tickets: list[Ticket]) -> None:
    """None of these fits."""
    assert await store.arenew(tickets, NOW) == [None] * len(tickets)
    assert await store.reclaim(tickets, NOW, LEASE) == [None] * len(tickets)


async def nothing_is_left(store: Store, place: Place, message: Waiting) -> None:
    if message.occurrence:
        await do(store, Move("nightly", b"1", None))
    assert await in_thread(place.leftovers) == []


async def is_untouched(store: Store, tickets: list[Ticket], due: int = NOW + TIMEOUT) -> None:
    """Still handed over, and by these tickets."""
    assert await store.first_due() == due
    assert await store.ack(tickets) == [Acked.DONE] * len(tickets)


# -- ack -----------------------------------------------------------------------------------------------------


async def test_what_was_handed_over_is_acked_once_wherever_it_waits_and_leaves_nothing(
    store: Store, place: Place, message: Waiting, wait: Callable[[Store, Ticket], Awaitable[None]]
) -> None:
    await store.put_occurrences([first(message)]) if message.occurrence else await store.aput([message])
    [ticket] = await again(store, NOW)
    await wait(store, ticket)
    assert await store.ack([ticket]) == [Acked.DONE]
    assert await store.ack([ticket]) == [Acked.GONE]
    assert (await store.count(), await store.next_due()) == (0, None)
    await nothing_is_left(store, place, message)


async def test_a_late_ack_does_nothing(store: Store) -> None:
    [old] = await handed_over(store, retried())
    [new] = await again(store)
    assert (old.attempt, new.attempt) == (1, 2)
    for attempt in (old.attempt, 3, 0, -1):
        assert await store.ack([Ticket(old.id, attempt)]) == [Acked.OTHER]
    await is_untouched(store, [new], NOW + 2 * TIMEOUT)


@pytest.mark.parametrize("attempt", [-1, 0, 1])
async def test_what_was_never_handed_over_has_no_ticket(store: Store, attempt: int) -> None:
    message = retried()
    await store.aput([message])
    ticket = Ticket(message.id, attempt)
    assert await store.ack([ticket]) == [Acked.OTHER]
    await move_nothing(store, [ticket])
    assert ids(await store.claim(NOW, 10, LEASE)) == [message.id]


async def test_what_is_gone_is_told_as_gone(store: Store) -> None:
    cancelled, buried, finished = await handed_over(store, *(retried() for _ in range(3)))
    assert await store.acancel([Named(cancelled.id)]) == [True]
    claims = await reclaimed(store, buried, finished)
    await store.bury(claims[:1], [DeadLetter.of(claims[0].message, NOW, "it failed")])
    await store.finish(claims[1:])
    tickets = [cancelled, buried, finished, Ticket("nobody", 1), Ticket("ab" * 16, 1)]
    assert await store.ack(tickets) == [Acked.GONE] * 5
    await move_nothing(store, tickets)


async def test_a_dead_letter_that_was_put_again_is_another_hand_over(store: Store) -> None:
    [ticket] = await handed_over(store, retried())
    claims = await reclaimed(store, ticket)
    letter = DeadLetter.of(claims[0].message, NOW, "it failed")
    await store.bury(claims, [letter])
    await store.requeue([letter], NOW)
    assert await store.ack([ticket]) == [Acked.OTHER]
    assert await store.count() == 1


async def test_what_is_claimed_again_is_never_acked(store: Store) -> None:
    """The first with an attempt spent, so that every store finds it; the second without."""
    [ticket] = await handed_over(store, retried())
    message = retried()
    await store.aput([message])
    claims = await store.claim(NOW + TIMEOUT, 10, LEASE)
    tickets = [ticket, Ticket(message.id, 1)]
    found, other = await store.ack(tickets)
    assert (found, other != Acked.DONE) == (Acked.OTHER, True)
    await move_nothing(store, tickets)
    assert await store.finish(claims) == [True, True]


async def test_of_many_tickets_each_is_answered_in_order(store: Store) -> None:
    one, two, three = await handed_over(store, *(retried(NOW + n) for n in range(3)))
    late, nobody = Ticket(two.id, 7), Ticket("nobody", 1)
    tickets = [two, late, nobody, one, two, one]
    assert await store.ack(tickets) == [
        Acked.DONE,
        Acked.GONE,
        Acked.GONE,
        Acked.DONE,
        Acked.GONE,
        Acked.GONE,
    ]
    await is_untouched(store, [three], NOW + 2 + TIMEOUT)


async def test_a_ticket_that_names_no_message_at_all_holds_up_no_other(store: Store) -> None:
    tickets = [Ticket(id, 1) for id in ("", "x" * 300, "a\0b", "\ud800", "'; --", "00" * 16, "\0" * 17)]
    [good] = await handed_over(store, retried())
    await move_nothing(store, tickets)
    assert await store.arenew([*tickets, good], NOW) == [None] * 7 + [NOW + TIMEOUT]
    assert await store.ack([*tickets, good, Ticket(good.id, 1 << 70)]) == [Acked.GONE] * 7 + [Acked.DONE, Acked.GONE]


async def test_as_many_as_one_call_takes_are_answered_and_no_more(store: Store) -> None:
    tickets = await handed_over(store, *(retried() for _ in range(MAX_BATCH)))
    assert await store.arenew(tickets, NOW + 1) == [NOW + 1 + TIMEOUT] * MAX_BATCH
    claims = await reclaimed(store, *tickets)
    assert all(await store.postpone(claims, [NOW] * MAX_BATCH, spend=0))
    for call in (store.ack(tickets * 2), store.arenew(tickets * 2, NOW), store.reclaim(tickets * 2, NOW, LEASE)):
        with pytest.raises(ValueError, match="at most 500 tickets in one call, got 1000"):
            await call
    assert await store.ack(tickets) == [Acked.DONE] * MAX_BATCH
    assert await store.ack([]) == []
    await move_nothing(store, [])


async def test_a_message_that_has_expired_can_be_acked(store: Store) -> None:
    [ticket] = await handed_over(store, retried(expires=NOW))
    assert await store.ack([ticket]) == [Acked.DONE]


# -- renew ---------------------------------------------------------------------------------------------------


async def test_a_renewed_message_waits_its_own_ack_timeout_from_then_on(
    store: Store, place: Place, message: Waiting, wait: Callable[[Store, Ticket], Awaitable[None]]
) -> None:
    await store.put_occurrences([first(message)]) if message.occurrence else await store.aput([message])
    [ticket] = await again(store, NOW)
    await wait(store, ticket)
    for ms in (7, TIMEOUT, 3):
        assert await store.arenew([ticket], NOW + ms) == [NOW + ms + TIMEOUT]
        assert await store.next_due() == NOW + ms + TIMEOUT
    [claim] = await store.claim(NOW + 3 + TIMEOUT, 10, LEASE)
    assert claim.message == replace(message, due=NOW + 3 + TIMEOUT, attempt=1)
    assert await store.finish([claim]) == [True]
    await nothing_is_left(store, place, message)


async def test_each_is_renewed_by_its_own_timeout(store: Store) -> None:
    timeouts = [1, 60_000, 365 * 24 * 3_600_000]
    retries = [Retry(ack_timeout=timedelta(milliseconds=ms)) for ms in timeouts]
    tickets = await handed_over(store, *(retried(NOW + n, retry=retry) for n, retry in enumerate(retries)))
    late = Ticket(tickets[0].id, 2)
    renewed = await in_thread(store.renew, [*tickets, late, tickets[0]], NOW + 9)
    assert renewed == [*(NOW + 9 + ms for ms in timeouts), None, NOW + 10]


async def test_without_retry_nothing_is_renewed(store: Store) -> None:
    tickets = await handed_over(store, waiting(NOW - 1), waiting(NOW, expires=NOW + 9))
    assert await store.arenew(tickets, NOW) == [None, None]
    await is_untouched(store, tickets)


# -- reclaim -------------------------------------------------------------------------------------------------


async def test_a_reclaimed_message_is_claimed_as_it_stood(
    store: Store, place: Place, message: Waiting, wait: Callable[[Store, Ticket], Awaitable[None]]
) -> None:
    await store.put_occurrences([first(message)]) if message.occurrence else await store.aput([message])
    [ticket] = await again(store, NOW)
    await wait(store, ticket)
    due = await store.first_due()
    assert due is not None
    [claim] = await reclaimed(store, ticket, now=NOW + 5)
    assert claim.message == replace(message, due=due, attempt=1)
    assert await store.next_due() == NOW + 5 + LEASE
    assert await store.acancel([Named(ticket.id)]) == [False]
    assert await store.reclaim([ticket], NOW, LEASE) == [None]
    assert await store.finish([claim]) == [True]
    await nothing_is_left(store, place, message)


async def test_what_was_reclaimed_can_become_anything(store: Store) -> None:
    tickets = await handed_over(store, *(retried(NOW + n) for n in range(4)))
    finished, postponed, buried, held_back = await reclaimed(store, *tickets)
    assert await store.finish([finished]) == [True]
    assert await store.postpone([postponed], [NOW + 9], spend=0) == [True]
    assert await store.bury([buried], [DeadLetter.of(buried.message, NOW, "it failed")]) == [True]
    assert await store.hold_back([held_back], ["sink"]) == [True]
    assert await store.ack(tickets) == [Acked.GONE, Acked.DONE, Acked.GONE, Acked.DONE]
    assert [letter.id for letter in await store.dead_letters(10)] == [buried.message.id]


async def test_a_reclaim_that_runs_out_is_due_again_and_a_late_one_does_nothing(store: Store, other: Store) -> None:
    [ticket] = await handed_over(store, retried())
    late = await reclaimed(store, ticket)
    assert await other.claim(NOW + LEASE - 1, 10, LEASE) == []
    [claim] = await other.claim(NOW + LEASE, 10, LEASE)
    assert claim.message.attempt == 1
    assert await store.postpone(late, [NOW], spend=-1) == await store.finish(late) == [False]
    assert await other.finish([claim]) == [True]


async def test_a_reclaim_of_large_messages_has_them_whole(store: Store) -> None:
    messages = [retried(NOW + n, body=bytes([n]) * 300_000) for n in range(8)]
    tickets = await handed_over(store, *messages)
    claims = await reclaimed(store, *tickets[::-1])
    assert [claim.message.body for claim in claims] == [message.body for message in messages[::-1]]
    assert await store.finish(claims) == [True] * 8


# -- attempts ------------------------------------------------------------------------------------------------


async def test_an_attempt_is_given_back_but_never_more_than_were_spent(store: Store, place: Place) -> None:
    await handed_over(store, retried())
    [ticket] = await again(store)
    spent = []
    for spend in (0, -1, -1, -1, 1, -1):
        [claim] = await store.claim(NOW + 9 * TIMEOUT, 10, LEASE)
        spent.append(claim.message.attempt)
        assert await store.postpone([claim], [NOW], spend=spend) == [True]
    assert spent == [2, 2, 1, 0, 0, 1]
    assert await store.ack([ticket]) == [Acked.OTHER]
    assert await store.acancel([Named(ticket.id)]) == [True]
    assert await in_thread(place.leftovers) == []


# -- keys ----------------------------------------------------------------------------------------------------


async def test_a_key_is_free_from_the_hand_over_on(store: Store) -> None:
    """So that a consumer sends its next step under the key of the one that it is just handling."""
    message, step = retried(key="k"), retried(NOW + 9 * TIMEOUT, key="k")
    [ticket] = await handed_over(store, message)
    assert await store.aget(Named(key="k")) is None
    [receipt] = await store.aput(each("error", [step]))
    assert receipt.created
    assert await store.arenew([ticket], NOW) == [NOW + TIMEOUT]
    assert await store.ack(await again(store)) == [Acked.DONE]
    found = await store.aget(Named(key="k"))
    assert found is not None
    assert found.id == step.id


@pytest.mark.parametrize("spend", [0, -1])
async def test_what_waits_for_its_next_attempt_has_its_key_until_it_is_reclaimed_renewed_or_acked(
    store: Store, spend: int
) -> None:
    await handed_over(store, retried(key="k"))
    [ticket] = await again(store)
    ticket = Ticket(ticket.id, 2 + spend)
    answers: list[object] = []
    for act in (
        lambda: store.reclaim([ticket], NOW, LEASE),
        lambda: store.arenew([ticket], NOW),
        lambda: store.ack([ticket]),
    ):
        [claim] = await store.claim(NOW + 9 * TIMEOUT, 10, LEASE)
        await store.postpone([claim], [NOW + 1], spend=ticket.attempt - claim.message.attempt)
        [kept] = await store.aput(each("keep", [retried(key="k")]))
        assert kept == (ticket.id, NOW + 1, False)
        answers += await act()
        assert await store.aget(Named(key="k")) is None
    assert all(answers)
    assert await store.count() == 0
