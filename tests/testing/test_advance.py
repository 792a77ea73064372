"""The clock goes from one due instant to the next, and everything happens in order."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.layers import get_channel_layer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from django.utils import translation
from django.utils.translation import get_language

from delayserver import Retry, group_send_later, send_later
from delayserver.testing import Delays

from .project import book_report, happened, received


def test_a_message_is_delivered_when_the_clock_reaches_it_and_not_before(delays: Delays) -> None:
    send_later("reports", {"type": "report.build", "id": 7}, delay=timedelta(hours=1))
    assert delays.advance(minutes=59, seconds=59, milliseconds=999) == []
    [delivered] = delays.advance(milliseconds=1)
    assert happened == [7]
    assert (delivered.at, delivered.channel, delivered.group) == (delays.now, "reports", None)
    assert delivered.content == {"type": "report.build", "id": 7}


def test_the_clock_stands_still_until_it_is_moved_and_then_stands_where_it_was_sent(delays: Delays) -> None:
    start = delays.now
    delays.advance(200)
    delays.advance(timedelta(days=1))
    delays.advance(hours=1)
    assert delays.now == start + timedelta(days=1, hours=1, milliseconds=200)
    delays.advance(to=start + timedelta(days=2))
    assert delays.now == start + timedelta(days=2)


def test_it_begins_in_the_present_or_where_the_test_says(delays: Delays) -> None:
    assert abs(delays.now - datetime.now(UTC)) < timedelta(minutes=1)
    with Delays(start=datetime(2040, 2, 29, tzinfo=UTC)) as then:
        assert then.now == datetime(2040, 2, 29, tzinfo=UTC)


def test_an_eta_is_reached_by_advancing_to_it(delays: Delays) -> None:
    eta = datetime.now(UTC) + timedelta(hours=1)
    send_later("reports", {"type": "report.build", "id": 7}, eta=eta)
    delays.advance(to=eta)
    assert happened == [7]


def test_advance_by_nothing_delivers_what_is_due_now(delays: Delays) -> None:
    send_later("reports", {"type": "report.build", "id": 1}, delay=0)
    send_later("reports", {"type": "report.build", "id": 2}, delay=1)
    delays.advance(0)
    assert happened == [1]


def test_what_is_due_together_goes_out_as_it_was_sent_and_the_rest_in_due_order(delays: Delays) -> None:
    for number, delay in enumerate([500, 200, 200, 900, 200]):
        send_later("reports", {"type": "report.build", "id": number}, delay=delay)
    delays.advance(seconds=1)
    assert happened == [1, 2, 4, 0, 3]


def test_a_poller_that_schedules_itself_runs_through(delays: Delays) -> None:
    send_later("exports", {"type": "export.poll", "done": 0, "total": 5}, delay=200)
    delays.advance(600)
    assert happened == [1, 2, 3]
    delays.advance(seconds=10)
    assert happened == [1, 2, 3, 4, 5]
    assert [one.at - delays.delivered[0].at for one in delays.delivered] == [
        timedelta(milliseconds=200 * n) for n in range(5)
    ]
    delays.assert_nothing_scheduled()


def test_a_consumer_runs_to_its_end_before_the_next_message_goes_out(delays: Delays) -> None:
    """The poller's second look is due with the report, and was sent later."""
    send_later("exports", {"type": "export.poll", "done": 0, "total": 2}, delay=200)
    send_later("reports", {"type": "report.build", "id": "report"}, delay=400)
    delays.advance(400)
    assert happened == [1, "report", 2]


def test_a_debounced_message_goes_out_once_a_minute_after_the_last_time(delays: Delays) -> None:
    book_report(7)
    delays.advance(seconds=59)
    book_report(7)
    delays.advance(seconds=59)
    assert happened == []
    delays.advance(seconds=1)
    assert happened == [7]


def test_a_message_that_expired_behind_a_full_channel_is_dropped(delays: Delays) -> None:
    for number in range(101):
        send_later("nobody", {"type": "tick", "n": number}, delay=0, expires=timedelta(seconds=5))
    assert len(delays.advance(seconds=6)) == 100
    delays.assert_nothing_scheduled()
    assert async_to_sync(received)("nobody")["n"] == 0


def test_a_message_does_not_expire_while_the_clock_stands_still(
    delays: Delays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow the machine is: here an hour passes between any two looks at its own clock."""
    ticks = itertools.count(1, 3_600_000_000_000).__next__
    monkeypatch.setattr("delayserver.loops.delivering.ticks", ticks)
    monkeypatch.setattr("delayserver.layers.generic.ticks", ticks)
    send_later("nobody", {"type": "tick"}, delay=1_000, expires=1_000)
    assert len(delays.advance(seconds=2)) == 1
    delays.assert_nothing_scheduled()


def test_a_full_channel_keeps_its_messages_waiting_until_there_is_room(delays: Delays) -> None:
    for number in range(103):
        send_later("nobody", {"type": "tick", "n": number}, delay=number)
    assert len(delays.advance(seconds=1)) == 100
    assert [message.content["n"] for message in delays.scheduled] == [100, 101, 102]
    assert [async_to_sync(received)("nobody")["n"] for _ in range(2)] == [0, 1]
    assert [one.content["n"] for one in delays.advance(0)] == [100, 101]
    assert [message.content["n"] for message in delays.scheduled] == [102]


def test_a_message_does_not_overtake_those_that_wait_behind_a_full_channel(delays: Delays) -> None:
    """Also where there is room again just before it is due itself."""

    async def makes_room(scope: Any, receive: Any, send: Any) -> None:
        if scope["channel"] == "reports":
            await receive()
            await received("nobody")

    delays.application = makes_room
    for number in range(101):
        send_later("nobody", {"type": "tick", "n": number}, delay=0)
    send_later("reports", {"type": "report.build"}, delay=1)
    send_later("nobody", {"type": "tick", "n": 101}, delay=1)
    delays.advance(1)
    delays.advance(0)
    numbers = [one.content["n"] for one in delays.delivered if one.channel == "nobody"]
    assert numbers == list(range(101))


def test_a_busy_machine_changes_nothing(delays: Delays, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the layer takes longer than the delivery waits for it."""
    monkeypatch.setattr("delayserver.loops.delivering.PATIENCE_SECONDS", 0)
    send = get_channel_layer().send

    async def send_slowly(channel: str, message: dict[str, Any]) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        await send(channel, message)

    monkeypatch.setattr(get_channel_layer(), "send", send_slowly)
    for number in range(102):
        send_later("nobody", {"type": "tick", "n": number}, delay=number)
    assert [one.content["n"] for one in delays.advance(1000)] == list(range(100))
    assert [message.content["n"] for message in delays.scheduled] == [100, 101]


def test_a_full_channel_holds_up_no_other(delays: Delays) -> None:
    for _ in range(101):
        send_later("nobody", {"type": "tick"}, delay=10)
    send_later("reports", {"type": "report.build", "id": 7}, delay=20)
    delays.advance(20)
    assert happened == [7]


def test_a_message_with_retry_whose_handler_returns_is_done(delays: Delays) -> None:
    send_later("reports", {"type": "report.build", "id": 7}, delay=0, retry=Retry(ack_timeout=timedelta(seconds=30)))
    assert len(delays.advance(minutes=2)) == 1
    assert happened == [7]
    delays.assert_nothing_scheduled()


def test_one_whose_handler_raises_comes_again_and_is_a_dead_letter_in_the_end(delays: Delays) -> None:
    retry = Retry(max_attempts=3, backoff=timedelta(seconds=10), jitter=0)
    send_later("reports", {"type": "report.crash"}, delay=0, retry=retry)
    start = delays.now
    delivered = delays.advance(minutes=2)
    assert [one.content["__delay__"]["attempt"] for one in delivered] == [1, 2, 3]
    assert [one.at - start for one in delivered] == [timedelta(seconds=seconds) for seconds in (0, 10, 30)]
    [letter] = delays.dead_letters
    reason = "out of attempts: 3, and the last raised ZeroDivisionError: the report has no rows"
    assert letter.reason.startswith(f"{reason} (in tests.testing.project.Reports.report_crash, line ")


def test_one_that_nobody_reads_comes_again_after_its_ack_timeout(delays: Delays) -> None:
    retry = Retry(max_attempts=3, ack_timeout=timedelta(seconds=30))
    send_later("nobody", {"type": "tick"}, delay=0, retry=retry)
    assert [one.content["__delay__"]["attempt"] for one in delays.advance(minutes=2)] == [1, 2, 3]
    [letter] = delays.dead_letters
    assert (letter.source, letter.reason) == ("nobody", "out of attempts: 3 without an ack")


def test_what_asgi_delay_cannot_accept_is_a_dead_letter(delays: Delays) -> None:
    async_to_sync(get_channel_layer().send)("asgi.delay", {"channel": "reports", "delay": 1000})
    [letter] = delays.dead_letters
    assert letter.reason == "expected content, got none"


def test_a_message_on_asgi_delay_is_scheduled_at_once(delays: Delays) -> None:
    send_later("exports", {"type": "export.wire", "id": 7}, delay=0)
    delays.advance(0)
    delays.assert_scheduled(channel="reports", delay=1000)
    delays.advance(seconds=1)
    assert happened == [7]


def test_messages_on_asgi_delay_keep_their_order(delays: Delays) -> None:
    for number in range(250):
        wire = {"channel": "reports", "content": {"type": "report.build", "id": number}, "delay": 5}
        if number == 100:  # as many as fit on the channel
            delays.advance(0)
        async_to_sync(get_channel_layer().send)("asgi.delay", wire)
        if number == 199:
            delays.advance(0)
    delays.advance(5)
    assert happened == list(range(250))


def test_endless_messages_are_stopped(delays: Delays) -> None:
    send_later("exports", {"type": "export.again"}, delay=0)
    delays.max_messages = 50
    with pytest.raises(AssertionError) as failed:
        delays.advance(1)
    assert str(failed.value) == (
        "expected one advance() to handle at most 50 messages (max_messages), got more:"
        " does a consumer send to itself for ever? What waits:\nnow: channel exports, export.again"
    )
    assert len(delays.delivered) == 51


def test_as_many_messages_as_allowed_are_delivered(delays: Delays) -> None:
    for number in range(50):
        send_later("reports", {"type": "report.build", "id": number}, delay=number)
    delays.max_messages = 50
    assert len(delays.advance(50)) == 50


def test_a_consumer_that_sends_to_itself_without_a_delay_is_stopped_too(delays: Delays) -> None:
    delays.max_messages = 50
    async_to_sync(get_channel_layer().send)("exports", {"type": "export.loop"})
    with pytest.raises(AssertionError, match=r"What waits:\nnothing"):
        delays.advance(1)


def test_what_a_handler_raises_reaches_the_test_and_the_clock_stands_there(delays: Delays) -> None:
    start = delays.now
    send_later("reports", {"type": "report.crash"}, delay=1000)
    send_later("reports", {"type": "report.build", "id": 7}, delay=2000)
    with pytest.raises(ZeroDivisionError, match="the report has no rows"):
        delays.advance(seconds=5)
    assert delays.now == start + timedelta(seconds=1)
    delays.advance(seconds=5)
    assert happened == [7]


@pytest.mark.parametrize("type", ["report.refused", "report.unknown"])
def test_a_value_error_of_a_consumer_is_not_taken_for_a_channel_without_one(delays: Delays, type: str) -> None:
    send_later("reports", {"type": type}, delay=0)
    with pytest.raises(ValueError, match=r"the report has no name|No handler for message type"):
        delays.advance(0)


async def refuses(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("not today")


async def takes_and_refuses(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await ProtocolTypeRouter({})(scope, receive, send)


@pytest.mark.parametrize("application", [refuses, takes_and_refuses])
def test_a_value_error_of_an_application_is_not_taken_for_one_either(delays: Delays, application: Any) -> None:
    delays.application = application
    send_later("reports", {"type": "report.build"}, delay=0)
    with pytest.raises(ValueError, match=r"not today|No application configured"):
        delays.advance(0)


def test_what_a_handler_does_to_context_variables_ends_with_it(delays: Delays) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        happened.append(get_language())
        translation.activate((await receive())["language"])

    delays.application = application
    with translation.override("en"):
        send_later("reports", {"type": "speak", "language": "de"}, delay=1)
        send_later("reports", {"type": "speak", "language": "fr"}, delay=2)
        delays.advance(2)
        assert [*happened, get_language()] == ["en", "en", "en"]


def test_a_group_reaches_worker_channels(delays: Delays) -> None:
    layer = get_channel_layer()
    async_to_sync(layer.group_add)("everyone", "reports")
    async_to_sync(layer.group_add)("everyone", "nobody")
    group_send_later("everyone", {"type": "report.build", "id": 7}, delay=1)
    [delivered] = delays.advance(1)
    assert (delivered.channel, delivered.group) == (None, "everyone")
    assert happened == [7]
    assert async_to_sync(received)("nobody")["id"] == 7


def test_what_was_sent_without_a_delay_is_handled_too(delays: Delays) -> None:
    async_to_sync(get_channel_layer().send)("exports", {"type": "export.report", "id": 7})
    assert delays.advance(0) == []
    assert happened == [7]


def test_a_message_on_a_channel_without_a_consumer_is_left_for_the_test(delays: Delays) -> None:
    send_later("nobody", {"type": "tick"}, delay=1)
    delays.advance(1)
    assert async_to_sync(received)("nobody") == {"type": "tick"}


def test_another_application_can_be_given(delays: Delays) -> None:
    delays.application = ChannelNameRouter({})
    send_later("reports", {"type": "report.build", "id": 7}, delay=1)
    delays.advance(1)
    assert happened == []
    assert async_to_sync(received)("reports")["id"] == 7


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({}, TypeError, "parts of a timedelta such as hours=1; got none"),
        ({"delta": 1, "hours": 1}, TypeError, "parts of a timedelta such as hours=1; got more"),
        ({"delta": -1}, ValueError, "expected the time to advance to be from 0 to"),
        ({"hours": -1}, ValueError, "expected the time to advance to be from 0 to"),
        ({"delta": 0.5}, ValueError, r"got 0.5 (did you mean timedelta(seconds=0.5)?)"),
        ({"delta": True}, ValueError, "expected the time to advance to be whole milliseconds (int) or a timedelta"),
        ({"to": datetime(2040, 1, 1)}, ValueError, "expected to= to be an aware datetime, got datetime.datetime"),  # noqa: DTZ001
        ({"to": datetime(1999, 1, 1, tzinfo=UTC)}, ValueError, "got 1999-01-01 00:00:00+00:00"),
        ({"hour": 1}, TypeError, "hour"),
    ],
)
def test_a_wrong_time_to_advance_is_refused(
    delays: Delays, arguments: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    start = delays.now
    with pytest.raises(error) as refused:
        delays.advance(**arguments)
    assert sentence in str(refused.value)
    assert delays.now == start


async def test_in_async_code_advance_names_its_twin(delays: Delays) -> None:
    with pytest.raises(RuntimeError, match=r"use `await delays\.aadvance\(\.\.\.\)` there"):
        delays.advance(1)


async def test_sync_code_that_async_code_calls_may_advance(delays: Delays) -> None:
    send_later("reports", {"type": "report.build", "id": 7}, delay=1)
    await sync_to_async(delays.advance)(1)
    assert happened == [7]


def test_delays_that_are_not_entered_are_refused() -> None:
    with pytest.raises(RuntimeError, match="expected these Delays to be entered"):
        Delays().advance(1)


def test_a_consumer_cannot_advance_the_clock_that_runs_it(delays: Delays) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await delays.aadvance(1)

    delays.application = application
    send_later("reports", {"type": "tick"}, delay=1)
    with pytest.raises(RuntimeError, match="these Delays are advancing already"):
        delays.advance(1)
