"""What a server says is short, on one line, and not too often."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from delayserver import events
from delayserver.events import Event, count, emit


class Time:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    events._allowances.clear()
    yield
    events._allowances.clear()


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Time:
    now = Time()
    monkeypatch.setattr(events, "monotonic", now)
    return now


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "delayserver")
    return caplog


ONE = Event("test_one", logging.WARNING, "one {what}")
THREE = Event("test_three", logging.ERROR, "three", burst=3)


def test_an_event_is_a_line_of_its_level_with_its_gaps_filled(said: pytest.LogCaptureFixture, now: Time) -> None:
    emit(ONE, what="thing")
    [record] = said.records
    assert (record.name, record.levelno, record.getMessage()) == ("delayserver", logging.WARNING, "one thing")
    assert record.__dict__["event"] == "test_one"


def test_a_burst_goes_through_and_then_one_line_a_second(said: pytest.LogCaptureFixture, now: Time) -> None:
    for _ in range(10):
        emit(THREE)
    assert len(said.messages) == 3
    for _ in range(10):
        now.seconds += 0.5
        emit(THREE)
    assert len(said.messages) == 3 + 5


def test_the_next_line_tells_how_many_were_left_out(said: pytest.LogCaptureFixture, now: Time) -> None:
    for _ in range(5):
        emit(ONE, what="x")
    now.seconds += 1
    emit(ONE, what="y")
    now.seconds += 1
    emit(ONE, what="z")
    assert said.messages == ["one x", "one y (4 more such lines were left out)", "one z"]


def test_after_a_quiet_time_a_burst_goes_through_again_and_no_more(said: pytest.LogCaptureFixture, now: Time) -> None:
    emit(THREE)
    now.seconds += 1_000
    said.clear()
    for _ in range(10):
        emit(THREE)
    assert len(said.messages) == 3


def test_each_subject_has_an_allowance_of_its_own(said: pytest.LogCaptureFixture, now: Time) -> None:
    for of in ("a", "b", "a", "b"):
        emit(ONE, of=of, what=of)
    assert said.messages == ["one a", "one b"]


def test_subjects_from_outside_do_not_fill_the_memory(said: pytest.LogCaptureFixture, now: Time) -> None:
    for n in range(5_000):
        emit(ONE, of=f"channel {n}", what="x")
    assert len(events._allowances) <= 1_001


def test_every_event_is_counted_whether_it_is_logged_or_not(said: pytest.LogCaptureFixture, now: Time) -> None:
    before = events.counts["test_one"]
    for _ in range(7):
        emit(ONE, what="x")
    count(ONE, 5)
    assert events.counts["test_one"] - before == 12


def test_an_error_is_told_by_its_kind_and_first_line(said: pytest.LogCaptureFixture, now: Time) -> None:
    emit(events.DELIVERY_FAILED, target="sink", error=ValueError("first\nsecond"))
    assert said.messages == ["could not deliver to sink: ValueError: first; it waits"]


@pytest.mark.parametrize("bad", ["\x1b[31mred", "a\rb", "nul\0", "bell\x07", "line\u2028sep", "\ud800", "\x9b1m"])
def test_no_control_character_gets_from_an_error_into_the_log(
    said: pytest.LogCaptureFixture, now: Time, bad: str
) -> None:
    emit(events.DELIVERY_FAILED, target="sink", error=ValueError(bad))
    [line] = said.messages
    assert line.isprintable()
    line.encode()


def test_an_error_as_long_as_a_book_is_cut(said: pytest.LogCaptureFixture, now: Time) -> None:
    emit(events.DELIVERY_FAILED, target="sink", error=ValueError("\0" * 10_000_000))
    assert len(said.messages[0]) < 1_500


@pytest.mark.parametrize("raw", [b"", b"plain", b"\x1b[31m\n\r\0", bytes(range(256)), b"\xff" * 10_000_000])
def test_a_payload_is_at_most_500_characters_without_control_characters(raw: bytes) -> None:
    shown = events.payload(raw)
    assert len(shown) <= 500
    assert shown.isprintable()
    assert shown.isascii()


def test_a_short_payload_is_shown_whole() -> None:
    assert events.payload(b'{"type": "x\n"}') == r"""b'{"type": "x\n"}'"""


def test_braces_and_percent_signs_from_outside_are_only_text(said: pytest.LogCaptureFixture, now: Time) -> None:
    emit(ONE, what="{0} {x!r} %s %(y)d")
    assert said.messages == ["one {0} {x!r} %s %(y)d"]


def all_events() -> list[Event]:
    return [value for value in vars(events).values() if isinstance(value, Event)]


def test_no_two_events_have_one_name() -> None:
    names = [event.name for event in all_events()]
    assert len(set(names)) == len(names) > 10


def test_names_from_outside_neither_flood_the_log_nor_fill_the_memory(
    said: pytest.LogCaptureFixture, now: Time
) -> None:
    for _ in range(3):
        for n in range(events.MAX_ALLOWANCES + 500):
            emit(ONE, of=f"channel {n}", what="thing")
    assert len(said.messages) <= events.MAX_ALLOWANCES + 1
    assert len(events._allowances) <= events.MAX_ALLOWANCES + 1
