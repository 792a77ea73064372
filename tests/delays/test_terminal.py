"""How numbers, times, contents and tables are told, and what the command line takes for a time."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import timedelta

import msgpack
import pytest
from pytest_django import Settings

from delayserver.management.delays import contents, terminal, values
from delayserver.management.delays.cursor import read, written
from delayserver.management.delays.terminal import Column
from delayserver.stores.shelf import Spot

from ..support.clock import NOW

DAY = 86_400_000
SPANS = [
    *((0, "0 ms"), (999, "999 ms"), (1_000, "1 s"), (119_400, "119 s"), (120_000, "2 min"), (150_001, "3 min")),
    *((7_199_999, "120 min"), (7_200_000, "2 h"), (47 * 3_600_000, "47 h"), (2 * DAY, "2 d"), (700 * DAY, "700 d")),
    *((730 * DAY, "2 years"), (2_000_000 * 365 * DAY, "2 000 000 years")),
]


@pytest.mark.parametrize(("ms", "text"), SPANS)
def test_a_span_is_told_in_one_unit(ms: int, text: str) -> None:
    assert terminal.span(ms) == text
    assert terminal.relative(NOW - ms, NOW) == f"{text} ago"
    assert terminal.relative(NOW - ms, NOW, "overdue {}") == f"overdue {text}"
    assert terminal.relative(NOW + ms, NOW) == f"in {text}" or ms == 0


def test_instants(settings: Settings) -> None:
    assert terminal.iso(NOW + 7) == "2027-01-15T08:00:00.007Z"
    assert terminal.iso(None) is None
    settings.TIME_ZONE = "Asia/Kolkata"
    assert terminal.local(NOW + 7) == "2027-01-15 13:30:00.007 IST"


@pytest.mark.parametrize("at", [2**63, 10**17, 253_402_300_799_999])
def test_an_instant_that_no_calendar_has_is_told_all_the_same(at: int, settings: Settings) -> None:
    settings.TIME_ZONE = "Asia/Kolkata"
    assert terminal.local(at) == f"{at} ms after 1970"


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (999_949, "999.9 kB"), (1_048_576, "1.0 MB")]
)
def test_sizes(size: int, text: str) -> None:
    assert terminal.size(size) == text


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("e\u0301e", 2, "e\u0301e"),
    ],
)
def test_text_is_cut_to_the_places_it_takes(text: str, width: int, expected: str) -> None:
    assert terminal.cut(text, width) == expected


def test_what_does_not_fit_is_cut_then_left_out_and_the_rest_stays_whole() -> None:
    columns = [Column("A", least=4), Column("B", least=4, optional=True), Column("N", right=True), Column("ID")]
    rows = [["a" * 10, "b" * 8, "7", "0" * 12], ["a", "", "10", "1"]]
    assert list(terminal.table(columns, rows, 28)) == [
        "A     B      N  ID",
        "aaa…  bbb…   7  000000000000",
        "a           10  1",
    ]
    assert list(terminal.table(columns, rows, 22)) == ["A      N  ID", "aaa…   7  000000000000", "a     10  1"]
    assert list(terminal.table(columns, rows, 5))[1] == "aaa…   7  000000000000"
    assert list(terminal.table(columns, rows))[1] == "aaaaaaaaaa  bbbbbbbb   7  000000000000"
    assert list(terminal.table(columns, [["a", "", "", "1"]])) == ["A  ID", "a  1"]


# -- contents ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "type_"),
    [
        (msgpack.packb({"type": "a"}), "a"),
        (msgpack.packb({"x": [1, {"y": b"z"}], "type": "a"}), "a"),
        (msgpack.packb({"type": "a", "x": "y" * 9_999})[:100], "a"),
        (msgpack.packb({"x": "y" * 9_999, "type": "a"})[:100], None),
        (msgpack.packb({"type": 7}), None),
        (msgpack.packb({"x": 7}), None),
        (msgpack.packb(["type", "a"]), None),
        (b"\xc1", None),
        (b"", None),
    ],
)
def test_the_type_is_read_from_the_beginning(body: bytes, type_: str | None) -> None:
    assert contents.type_of(body, bytes) == type_


def test_what_is_shown_is_as_long_as_it_may_be() -> None:
    value = {"a": [1, "x" * 1_000]}
    text, whole = contents.shown(value, 30)
    assert (len(text), text[-1], whole) == (31, "…", False)
    assert contents.shown(value, None)[1]
    assert contents.shown([]) == ("[]", True)


def test_deep_content_of_a_raw_writer_is_cut() -> None:
    value: object = 1
    for _ in range(900):
        value = [value]
    assert contents.shown(value, None)[0].count("[") == repr(contents.jsonable(value)).count("[") == 101


# -- the command line ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ms"),
    [("200ms", 200), ("30s", 30_000), ("1h30m", 5_400_000), ("-5m", -300_000), ("1d", DAY), ("2w", 14 * DAY)],
)
def test_times_from_now(text: str, ms: int) -> None:
    assert values.when(text).at(NOW) == NOW + ms
    assert values.when(text).as_option() == ms


def test_instants_with_an_offset() -> None:
    assert values.when("2027-01-15T09:00:00+01:00").at(0) == NOW
    assert values.instant("2027-01-15T08:00:00Z").utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "1.5h", "2027-01-15", "2027-01-15T08:00:00", "tomorrow", "٣m"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"ISO 8601 instant with offset .* or a time from now"):
        values.when(text)


@pytest.mark.parametrize("spot", [Spot(NOW, "ab"), Spot(NOW + 0.5 + 1 / 1024, "00ab"), Spot(2**63 - 1, "a:b")])
def test_a_cursor_leads_back(spot: Spot) -> None:
    assert read(written(spot)) == spot
    assert type(read(written(spot)).at) is type(spot.at)
