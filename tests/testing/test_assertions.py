"""What was scheduled, what was delivered, and the sentences of an assertion that fails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

from delayserver import Message, Retry, group_send_later, send_later
from delayserver.testing import Delays


@pytest.fixture
def delays() -> Any:
    with Delays(start=datetime(2027, 1, 15, 8, tzinfo=UTC)) as delays:
        yield delays


def test_what_is_scheduled_is_there_in_due_order_and_whole(delays: Delays) -> None:
    group_send_later("dashboard", {"type": "refresh"}, delay=timedelta(hours=1))
    send_later("reports", {"type": "a", "n": [1]}, delay=200, key="k", expires=timedelta(minutes=1), retry=Retry(3))
    assert delays.scheduled == [
        Message(
            channel="reports",
            content={"type": "a", "n": [1]},
            eta=delays.now + timedelta(milliseconds=200),
            key="k",
            expires=delays.now + timedelta(minutes=1),
            retry=Retry(3),
        ),
        Message(group="dashboard", content={"type": "refresh"}, eta=delays.now + timedelta(hours=1)),
    ]


@pytest.mark.parametrize(
    "sought",
    [
        {},
        {"channel": "reports"},
        {"channel": "reports", "group": None},
        {"type": "report.build"},
        {"content": {"id": 7}},
        {"content": {"id": 7, "rows": [1, 2]}},
        {"key": "report:7"},
        {"delay": 300_000},
        {"delay": timedelta(minutes=5)},
        {"eta": datetime(2027, 1, 15, 8, 5, tzinfo=UTC)},
    ],
)
def test_a_scheduled_message_is_found_by_any_part_of_it(delays: Delays, sought: Any) -> None:
    content = {"type": "report.build", "id": 7, "rows": [1, 2]}
    send_later("reports", content, delay=timedelta(minutes=5), key="report:7")
    assert delays.assert_scheduled(**sought).content == content
    with pytest.raises(AssertionError, match="expected none scheduled"):
        delays.assert_not_scheduled(**sought)


@pytest.mark.parametrize(
    "sought",
    [
        {"channel": "exports"},
        {"group": "reports"},
        {"type": "report"},
        {"content": {"id": 8}},
        {"content": {"id": 7, "of": "x"}},
        {"key": None},
        {"delay": 299_999},
        {"delay": timedelta(minutes=5, milliseconds=1)},
        {"eta": datetime(2027, 1, 15, 8, 6, tzinfo=UTC)},
        {"channel": "reports", "delay": 0},
    ],
)
def test_a_message_that_differs_in_one_part_is_not_found(delays: Delays, sought: Any) -> None:
    content = {"type": "report.build", "id": 7, "rows": [1, 2]}
    send_later("reports", content, delay=timedelta(minutes=5), key="report:7")
    delays.assert_not_scheduled(**sought)
    with pytest.raises(AssertionError, match="expected 1 scheduled"):
        delays.assert_scheduled(**sought)


def test_a_delay_counts_from_where_the_clock_stands(delays: Delays) -> None:
    send_later("reports", {"type": "report.build"}, delay=1000)
    delays.advance(400)
    delays.assert_scheduled(delay=600)


def test_how_many_match_is_counted_and_the_first_is_returned(delays: Delays) -> None:
    for number in range(3):
        send_later("reports", {"type": "report.build", "id": number}, delay=10 - number)
    assert delays.assert_scheduled(channel="reports", count=3).content["id"] == 2
    with pytest.raises(AssertionError, match="expected 2 scheduled with channel 'reports', found 3"):
        delays.assert_scheduled(channel="reports", count=2)


def test_a_failure_lists_what_is_scheduled(delays: Delays) -> None:
    async_to_sync(get_channel_layer().group_add)("full", "nobody")
    send_later("reports", {"type": "report.build", "id": 7}, delay=timedelta(minutes=5), key="report:7")
    group_send_later("dashboard", {"type": "refresh"}, delay=timedelta(days=2, hours=1, milliseconds=30))
    send_later("mail", {"type": "mail.send", "text": "x" * 100}, delay=0)
    with pytest.raises(AssertionError) as failed:
        delays.assert_scheduled(channel="reports", type="report.built")
    assert str(failed.value).splitlines() == [
        "expected 1 scheduled with channel 'reports', type 'report.built', found 0; there are:",
        f"   now: channel mail, mail.send, {{'text': '{'x' * 67}...",
        "   in 5 min: channel reports, report.build, key 'report:7', {'id': 7}",
        "   in 2 d 1 h 30 ms: group dashboard, refresh",
    ]


def test_a_failure_marks_what_matches_and_tells_of_what_is_overdue(delays: Delays) -> None:
    for number in range(101):
        send_later("nobody", {"type": "tick", "n": number}, delay=0)
    send_later("reports", {"type": "report.build"}, delay=2000)
    delays.advance(1500)
    with pytest.raises(AssertionError) as failed:
        delays.assert_not_scheduled(channel="nobody")
    assert str(failed.value).splitlines() == [
        "expected none scheduled with channel 'nobody', found 1; there are:",
        "-> overdue for 1 s 500 ms: channel nobody, tick, {'n': 100}",
        "   in 500 ms: channel reports, report.build",
    ]


def test_a_failure_is_short_where_much_is_scheduled(delays: Delays) -> None:
    for _ in range(25):
        send_later("reports", {"type": "report.build"}, delay=2000)
    with pytest.raises(AssertionError) as failed:
        delays.assert_nothing_scheduled()
    first, *lines, last = str(failed.value).splitlines()
    assert (first, len(lines), last) == ("expected none scheduled, found 25; there are:", 20, "   and 5 more")


def test_a_failure_says_that_there_is_nothing(delays: Delays) -> None:
    delays.assert_nothing_scheduled()
    with pytest.raises(AssertionError) as failed:
        delays.assert_scheduled(key="report:7")
    assert str(failed.value) == "expected 1 scheduled with key 'report:7', found 0; there are none at all"


def test_what_was_delivered_is_found_and_listed_too(delays: Delays) -> None:
    send_later("reports", {"type": "report.sent", "id": 7}, delay=timedelta(hours=1))
    group_send_later("dashboard", {"type": "refresh"}, delay=1)
    delays.advance(1)
    delays.assert_delivered(group="dashboard", type="refresh")
    with pytest.raises(AssertionError) as failed:
        delays.assert_delivered(channel="reports", content={"id": 7})
    assert str(failed.value).splitlines() == [
        "expected 1 delivered with channel 'reports', content {'id': 7}, found 0; there are:",
        "   2027-01-15 08:00:00.001000+00:00: group dashboard, refresh",
    ]


@pytest.mark.parametrize(
    ("sought", "error", "sentence"),
    [
        ({"chanel": "reports"}, TypeError, "expected no names but channel, group, type, content, key, delay, eta, got"),
        ({"delay": 0.5}, ValueError, r"did you mean timedelta\(seconds=0\.5\)\?"),
        ({"eta": datetime(2027, 1, 1)}, ValueError, "expected eta to be an aware datetime"),  # noqa: DTZ001
        ({"count": 0}, ValueError, "expected count to be 1 or more, got 0; for none there is assert_not_scheduled"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(
    delays: Delays, sought: Any, error: type[Exception], sentence: str
) -> None:
    send_later("reports", {"type": "report.build"}, delay=1)
    with pytest.raises(error, match=sentence):
        delays.assert_scheduled(**sought)
