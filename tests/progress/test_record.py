"""A record, and how it may change: pure."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delayserver.errors import InvalidMessage
from delayserver.progress.record import (
    MAX_RESULT_BYTES,
    MAX_TEXT_LENGTH,
    OVER,
    STATES,
    Record,
    Run,
    Update,
    changed,
    reason,
    shown_result,
    steps,
    updated,
)
from delayserver.stores.entries import Entry

RUNS = st.builds(Run, st.integers(0, 3), st.integers(0, 3))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
NUMBERS = st.none() | st.integers(0, 2**53) | st.floats(0, 2**53, allow_nan=False)
RECORDS = st.builds(
    Record,
    id=st.just("a"),
    state=st.sampled_from(STATES),
    current=NUMBERS,
    total=NUMBERS,
    text=st.text(),
    result=JSON,
    error=st.text(),
    attempt=st.integers(1, 9),
    created=st.integers(0, 2**48),
    changed=st.integers(0, 2**48),
    poller=st.booleans(),
    pauses=st.booleans(),
    paused=st.booleans(),
    cut=st.booleans(),
    run=RUNS,
    failures=st.integers(0, 9),
    version=st.integers(1, 2**48),
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from(STATES),
        "current": st.integers(0, 3),
        "text": st.sampled_from(["", "a", "b"]),
        "attempt": st.integers(1, 2),
        "paused": st.booleans(),
    },
)
UPDATES = st.builds(Update, CHANGES, st.none() | RUNS, st.booleans())


@given(RECORDS, st.integers(1, 2**48))
def test_what_is_packed_is_read_again(record: Record, version: int) -> None:
    read = Record.unpack("a", Entry(version, record.pack()))
    assert (read, read.entry) == (record, version)
    assert json.loads(json.dumps(record.frame())) == record.frame()
    assert set(record.frame()) == {
        *("id", "state", "current", "total", "text", "result", "error", "attempt", "version"),
    }


def test_what_an_older_or_a_newer_release_has_packed_is_read() -> None:
    kept = json.loads(Record("a", text="b").pack())
    del kept["cut"]
    assert Record.unpack("a", Entry(1, json.dumps({**kept, "new": 7}).encode())).text == "b"


@given(RECORDS, st.lists(UPDATES))
def test_versions_rise_with_what_is_seen_and_with_nothing_else(record: Record, updates: list[Update]) -> None:
    for now, update in enumerate(updates):
        after = updated(record, update, now)
        if after is None:
            continue
        assert (after.version > record.version) == (not after.shows_as(record))
        assert after.shows_as(record) or after.changed == now
        record = after


@given(RECORDS, st.lists(UPDATES))
def test_what_is_over_stays_over(record: Record, updates: list[Update]) -> None:
    for update in updates:
        after = updated(record, update, 0)
        if record.is_over and not (record.state == "failed" and update.again):
            assert after is None
        if update.run is not None and update.run < record.run:
            assert after is None, "another run has begun"
        record = after or record


@given(RECORDS, UPDATES, UPDATES)
def test_two_updates_of_one_run_are_as_one(record: Record, first: Update, second: Update) -> None:
    first.run = second.run
    first.again = second.again = False
    if first.changes.get("state") in OVER:
        return  # nothing follows it: only `update` is ever merged
    one_by_one = updated(record, first, 5)
    one_by_one = None if one_by_one is None else updated(one_by_one, second, 5)
    at_once = updated(record, first.and_then(second), 5)
    assert (one_by_one is None) == (at_once is None)
    assert one_by_one is None or at_once is None or one_by_one.shows_as(at_once)


def test_what_a_step_and_somebody_else_say_is_both_heard() -> None:
    """As a view that sets the text of a poller's work, in the same process."""
    step, view = Update({"current": 5}, Run(3, 1)), Update({"text": "soon"})
    for both in (step.and_then(view), view.and_then(step)):
        after = updated(Record("a", run=Run(3, 1)), both, 0)
        assert after is not None
        assert (after.current, after.text) == (5, "soon")
    assert step.and_then(Update({"current": 1}, Run(4, 1))).changes == {"current": 1}


def test_what_nobody_sees_is_no_change() -> None:
    record = Record("a", changed=1)
    assert changed(record, 9, paused=True, state="pending").version == 1
    assert changed(record, 9, paused=True).changed == 1
    assert (changed(record, 9, current=0).version, changed(record, 9, current=0).changed) == (2, 9)


@pytest.mark.parametrize(
    "number", [True, False, float("nan"), float("inf"), -1, -0.1, 2**53 + 1, 2**70, 1e300, "7", 1j, [], b"1"]
)
@pytest.mark.parametrize("name", ["current", "total"])
def test_what_is_no_number_is_refused(number: object, name: str) -> None:
    with pytest.raises(InvalidMessage, match=f"expected {name} to be"):
        steps(**{"current": None, "total": None, "text": None, name: number})


def test_texts_are_short_and_on_one_line() -> None:
    assert steps(None, None, "a\nb\x00\u202e")["text"] == "a\\nb\\x00\\u202e"
    assert len(steps(None, None, "\n" * 1_000_000)["text"]) == MAX_TEXT_LENGTH
    assert steps(0, 2**53, None) == {"current": 0, "total": 2**53}
    assert reason("ü" * 1_000) == "ü" * MAX_TEXT_LENGTH
    for no_text in (7, b"bytes", None):
        with pytest.raises(InvalidMessage, match="expected a reason to be a str"):
            reason(no_text)
    with pytest.raises(InvalidMessage, match="expected text to be a str, got bytes"):
        steps(None, None, b"bytes")


def nested(depth: int) -> object:
    value: object = None
    for _ in range(depth):
        value = [value]
    return value


def circular() -> object:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "result", [{1, 2}, b"bytes", object(), float("nan"), [float("-inf")], {(1, 2): 3}, nested(50_000), circular()]
)
def test_a_result_that_json_cannot_hold_is_refused(result: object) -> None:
    with pytest.raises(InvalidMessage, match="expected a result that JSON can hold, got"):
        shown_result(result)


def test_a_result_is_bounded() -> None:
    fits = "x" * (MAX_RESULT_BYTES - 2)
    assert shown_result(fits) == fits
    with pytest.raises(InvalidMessage, match=f"expected a result of at most {MAX_RESULT_BYTES} bytes as JSON, got"):
        shown_result(fits + "x")


@given(JSON)
def test_a_result_is_what_json_makes_of_it(result: object) -> None:
    kept = shown_result(result)
    assert kept == json.loads(json.dumps(result))
    assert shown_result((1, {2: "a"})) == [1, {"2": "a"}]
