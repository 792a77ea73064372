"""Whatever comes in is a message or is refused with a sentence; nothing else happens, and soon."""

from __future__ import annotations

import re
import string
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import hypothesis
import msgpack
import pytest
from hypothesis import strategies as st

from delayserver.backoff import Retry
from delayserver.content import MAX_DEPTH, Content, pack, shown, unpack
from delayserver.errors import InvalidMessage
from delayserver.message import (
    MAX_DELAY,
    Message,
    Occurrence,
    Target,
    Waiting,
    derived_id,
    new_id,
    pack_options,
    parse,
    unpack_options,
)

from ..support.clock import NOW, FakeClock

MAX_BYTES = 1_048_576
GOOD: dict[str, Any] = {"channel": "sink", "content": {"type": "probe"}, "delay": 1_000}


def without(*names: str, **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name not in names} | changes


def content(**parts: Any) -> dict[str, Any]:
    return without(content={"type": "probe", **parts})


def nested(depth: int) -> list[Any]:
    """A list in a list in a list ...: `depth` of them."""
    inner: list[Any] = []
    for _ in range(depth - 1):
        inner = [inner]
    return inner


def accept(wire: object) -> Waiting:
    return parse(wire).waiting(FakeClock(), MAX_BYTES)


def refuse(wire: object) -> str:
    with pytest.raises(InvalidMessage) as refusal:
        accept(wire)
    return str(refusal.value)


# -- anything at all -----------------------------------------------------------------------------------------


class Hostile:
    """An object that cannot be compared, shown, hashed or counted."""

    def _fail(self, *args: object) -> Any:
        raise ZeroDivisionError

    __eq__ = __ne__ = __lt__ = __le__ = __bool__ = __len__ = __iter__ = __repr__ = __str__ = _fail
    __hash__ = None  # type: ignore[assignment]


class Text(str):
    __slots__ = ()


instants = st.datetimes(timezones=st.none() | st.timezones())
anything_flat = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(st.characters()),  # lone surrogates, too
    st.text().map(Text),
    st.binary(),
    st.decimals(),
    st.complex_numbers(),
    st.timedeltas(),
    instants,
    instants.map(datetime.isoformat),
    st.builds(Hostile),
    st.builds(object),
    st.just(Message),
)
hashable = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary(), st.tuples(st.text()))
anything = st.recursive(
    anything_flat,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(hashable, inner, max_size=4),
        st.dictionaries(st.text(), inner, max_size=4),
        st.tuples(inner, inner),
        st.sets(hashable, max_size=4),
    ),
    max_leaves=12,
)
wire_keys = st.sampled_from(
    ["channel", "group", "content", "delay", "eta", "key", "on_conflict", "expires", "retry", "type", "other"]
)
RETRY_PARTS = ("max_attempts", "backoff", "max_wait", "jitter", "ack_timeout", "give_up_on", "x")
nearly_right = st.one_of(
    st.sampled_from(
        ["sink", "a!b", "", "x" * 99, "keep", "error", "2030-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00"]
    ),
    st.integers(-1, MAX_DELAY + 1),
    st.fixed_dictionaries({"type": anything}, optional={"a": anything, "__delay__": anything}),
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(RETRY_PARTS, anything),
    ),
)


@st.composite
def nearly_messages(draw: st.DrawFn) -> dict[Any, Any]:
    """A good message with some of its parts taken away or exchanged."""
    kept = draw(st.sets(st.sampled_from(sorted(GOOD)), min_size=1))
    changes = draw(st.dictionaries(wire_keys, nearly_right | anything, max_size=3))
    return {name: GOOD[name] for name in kept} | changes


@hypothesis.settings(max_examples=300)
@hypothesis.given(wire=anything | nearly_messages())
def test_whatever_comes_in_is_a_message_or_is_refused(wire: object) -> None:
    try:
        waiting = accept(wire)
    except InvalidMessage as refusal:
        sentence = str(refusal)
        assert sentence.startswith("expected ")
        assert len(sentence) < 1_000
        sentence.encode()
        assert sentence.isprintable()
    else:
        assert isinstance(waiting, Waiting)
        assert waiting.content()["type"] == wire["content"]["type"]  # type: ignore[index]


@hypothesis.settings(max_examples=300)
@hypothesis.given(given=st.dictionaries(st.sampled_from(sorted(Message.__slots__)), nearly_right | anything))
def test_a_message_that_python_code_makes_is_made_or_refused(given: dict[str, Any]) -> None:
    given.setdefault("content", {"type": "probe"})
    try:
        Message(**given).waiting(FakeClock(), MAX_BYTES)
    except InvalidMessage as refusal:
        assert len(str(refusal)) < 1_000


# -- what is accepted ----------------------------------------------------------------------------------------

NEW_YEAR = 1_893_456_000_000  # 2030-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (GOOD, {"due": NOW + 1_000, "target": Target("channel", "sink")}),
        (without(delay=0), {"due": NOW}),
        (without(delay=MAX_DELAY), {"due": NOW + MAX_DELAY}),
        (without("channel", group="all"), {"target": Target("group", "all")}),
        (without(channel="specific.abc!def"), {"target": Target("channel", "specific.abc!def")}),
        (without(channel="x" * 99), {"target": Target("channel", "x" * 99)}),
        (without(channel="A-Z_0.9"), {"target": Target("channel", "A-Z_0.9")}),
        (without("delay", eta="2030-01-01T00:00:00Z"), {"due": NEW_YEAR}),
        (without("delay", eta="2030-01-01T09:00:00+09:00"), {"due": NEW_YEAR}),
        (without("delay", eta="2030-01-01T00:00:00.0001+00:00"), {"due": NEW_YEAR + 1}),  # never early
        (without("delay", eta="1970-01-01T00:00:00Z"), {"due": 0}),
        (without(key="k"), {"key": "k"}),
        (without(key="ключ " + "x" * 195), {"key": "ключ " + "x" * 195}),
        (without(key=None), {"key": None}),
        (without(expires=1_000), {"expires": NOW + 1_000}),
        (without(expires="2030-01-01T00:00:00Z"), {"expires": NEW_YEAR}),
        (without(expires=None), {"expires": None}),
        (without(retry={}), {"retry": Retry()}),
        (without(retry={"max_attempts": 2, "backoff": 5}), {"retry": Retry(2, timedelta(milliseconds=5))}),
        (without(retry=None), {"retry": None}),
        (without(type="anything"), {"due": NOW + 1_000}),
        (without(type=Hostile()), {"due": NOW + 1_000}),
    ],
)
def test_the_wire_takes(wire: dict[str, Any], expected: dict[str, Any]) -> None:
    waiting = accept(wire)
    assert {name: getattr(waiting, name) for name in expected} == expected
    assert waiting.content()["type"] == "probe"


@pytest.mark.parametrize("on_conflict", ["keep", "replace", "error"])
def test_the_wire_takes_each_way_out_of_a_conflict(on_conflict: str) -> None:
    assert parse(without(on_conflict=on_conflict)).on_conflict == on_conflict


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -(1 << 63), (1 << 64) - 1, 0.1, float("inf"), "", "\0", "𝄞", b"", b"\xff", [], {}, nested(99)],
    ids=shown,
)
def test_content_may_hold(value: object) -> None:
    assert accept(content(value=value)).content() == {"type": "probe", "value": value}


def test_content_may_be_exactly_as_large_as_allowed() -> None:
    empty = len(pack({"type": "probe", "data": bytes(1_000_000)}, MAX_BYTES))
    room = 1_000_000 + MAX_BYTES - empty
    assert len(pack({"type": "probe", "data": bytes(room)}, MAX_BYTES)) == MAX_BYTES
    with pytest.raises(InvalidMessage, match="at most 1048576 bytes"):
        pack({"type": "probe", "data": bytes(room + 1)}, MAX_BYTES)


# -- what is refused: what was expected, and what came ---------------------------------------------------------

BAD_NAMES: list[object] = [
    *("", "a\n", "a!", "!a", "!", "a!b!c", "é", "\u0661", "two words", "a/b", "a:b", "x" * 100, "a\0", "\ud800"),
    *(None, 7, b"sink", ["sink"], {"a": 1}),
]
NO_DICTS: list[object] = [None, "x", [], 1, Hostile()]
REFUSALS: list[tuple[object, str]] = [
    # not a dict
    (None, "expected a dict, got None"),
    ([GOOD], "expected a dict, got a value of type list"),
    (b"raw", "expected a dict, got b'raw'"),
    # keys
    (without(dely=5), "expected no keys but channel, content, .* got 'dely'"),
    (without() | {1: 2}, "expected no keys but .* got 1"),
    ({}, "expected content, got none"),
    (without("content"), "expected content, got none"),
    (without("channel"), "expected one of channel and group, got neither"),
    (without(group="all"), "expected one of channel and group, got both"),
    (without("delay"), "expected one of delay and eta, got neither"),
    (without(eta="2030-01-01T00:00:00Z"), "expected one of delay and eta, got both"),
    *((without(**{name: None}), f"expected {name} to have a value") for name in ("group", "eta", "on_conflict")),
    # delay
    (without(delay=-1), "expected delay to be from 0 to .* got -1"),
    (without(delay=MAX_DELAY + 1), r"expected delay to be from 0 to .* \(100 years\), got"),
    (without(delay=10**5_000), "got an int of 16610 bits"),
    (without(delay=True), "expected delay to be whole milliseconds .* got True"),
    (without(delay=0.5), "expected delay to be whole milliseconds .* got 0.5"),
    (without(delay=1e3), "expected delay to be whole milliseconds .* got 1000.0"),
    (without(delay="5"), "expected delay to be whole milliseconds .* got '5'"),
    (without(delay=timedelta(1)), "expected delay to be whole milliseconds .* got datetime.timedelta"),
    # eta
    (without("delay", eta="2030-01-01T00:00:00"), "expected eta to be an ISO 8601 instant with offset, got"),
    (without("delay", eta="tomorrow"), "expected eta to be an ISO 8601 instant with offset, got 'tomorrow'"),
    (without("delay", eta=NOW), "expected eta to be an ISO 8601 instant with offset, got 1800000000000"),
    (without("delay", eta="1969-12-31T23:59:59Z"), "expected eta to be 1970 or later"),
    (without("delay", eta="2199-01-01T00:00:00Z"), "expected eta to be at most 100 years ahead"),
    (without("delay", eta="9999-12-31T23:59:59-14:00"), "expected eta to be at most 100 years ahead"),
    (without("delay", eta="2" * 100_000), "expected eta to be an ISO 8601 instant"),
    # names
    *((without(channel=name), "expected channel to (be a name|have a value)") for name in BAD_NAMES),
    *((without("channel", group=name), "expected group to (be a name|have a value)") for name in BAD_NAMES),
    (without("channel", group="a!b"), "expected group to be a name .* got 'a!b'"),
    # content
    *((without(content=value), "expected content to be a dict") for value in NO_DICTS),
    (without(content={}), "expected content to have a type: .* got none"),
    (without(content={"type": 5}), "expected content to have a type: .* got 5"),
    (without(content={"type": ""}), "expected content to have a type: .* got ''"),
    (without(content={"type": "_private"}), "expected content to have a type: .* got '_private'"),
    (without(content={"type": ".a"}), "expected content to have a type: .* got '.a'"),
    (content(__asgi_channel__="x"), "expected content without the reserved key __asgi_channel__"),
    (content(__delay__={}), "expected content without the reserved key __delay__"),
    (content(a={1: 2}), r"expected the keys of content\['a'\] to be str, got 1"),
    (without(content={"type": "probe", 5: 1}), "expected the keys of content to be str, got 5"),
    (content(n=1 << 64), r"expected content\['n'\] to fit 64 bits, got an int of 65 bits"),
    (content(n=-(1 << 63) - 1), r"expected content\['n'\] to fit 64 bits"),
    (content(n=10**5_000), r"expected content\['n'\] to fit 64 bits, got an int of 16610 bits"),
    (content(a=[0, (1, 2)]), r"expected content\['a'\]\[1\] to be .* got a value of type tuple \(use a list\)"),
    (content(at=datetime(2030, 1, 1, tzinfo=UTC)), r"expected content\['at'\] to be .* got datetime.datetime"),
    (content(a=Decimal(1)), r"expected content\['a'\] to be .* got a value of type Decimal"),
    (content(a={1, 2}), r"expected content\['a'\] to be .* got a value of type set"),
    (content(a=Text("x")), r"expected content\['a'\] to be .* got 'x'"),
    (content(a=bytearray(1)), r"expected content\['a'\] to be .* got a value of type bytearray"),
    (content(a="\ud800"), "expected content that msgpack can hold: .*surrogates"),
    (without(content={"type": "probe", "\udfff": 1}), "expected content that msgpack can hold"),
    (content(a=nested(MAX_DEPTH)), f"expected content nested at most {MAX_DEPTH} deep"),
    (content(a="x" * (MAX_BYTES + 1)), "expected content of at most 1048576 bytes"),
    (content(a="ü" * 600_000), "expected content of at most 1048576 bytes .* got 1200"),
    # the rest
    (without(key=""), "expected key to be 1 to 200 printable characters, got ''"),
    (without(key="x" * 201), "expected key to be 1 to 200 printable characters"),
    (without(key="a\nb"), r"expected key to be 1 to 200 printable characters, got 'a\\nb'"),
    (without(key="\ud800"), "expected key to be 1 to 200 printable characters"),
    (without(key=5), "expected key to be 1 to 200 printable characters, got 5"),
    (without(on_conflict="skip"), "expected on_conflict to be .* got 'skip'"),
    (without(on_conflict=["keep"]), "expected on_conflict to be .* got a value of type list"),
    (without(on_conflict=Hostile()), "expected on_conflict to be .* got a value of type Hostile"),
    (without(expires=999), "expected expires not to be before the message is due"),
    (without(expires="2020-01-01T00:00:00Z"), "expected expires not to be before the message is due"),
    (without(expires="2030-01-01"), "expected expires to be an ISO 8601 instant with offset"),
    (without(expires=-1), "expected expires to be from 0 to"),
    (without(expires=1.5), "expected expires to be whole milliseconds"),
    (without(expires=[]), "expected expires to be whole milliseconds .* got a value of type list"),
    (without(retry=True), "expected retry to be a dict, got bool"),
    (without(retry={"attempts": 3}), "expected retry to have no keys but"),
    (without(retry={1: 2}), "expected retry to have no keys but"),
    (without(retry={"backoff": 0}), "expected retry backoff to be whole milliseconds"),
]


@pytest.mark.parametrize(("wire", "sentence"), REFUSALS, ids=[sentence[9:50] for _, sentence in REFUSALS])
def test_the_wire_refuses_and_says_what_was_expected_and_what_came(wire: object, sentence: str) -> None:
    assert re.search(sentence, refuse(wire))


def test_python_code_is_told_the_timedelta_that_was_probably_meant() -> None:
    with pytest.raises(InvalidMessage, match=r"did you mean timedelta\(seconds=0.5\)\?"):
        Message(channel="sink", content={"type": "probe"}, delay=0.5)  # type: ignore[arg-type]
    with pytest.raises(InvalidMessage, match=r"got nan$"):
        Message(channel="sink", content={"type": "probe"}, delay=float("nan"))  # type: ignore[arg-type]


def test_python_code_may_give_timedeltas_and_datetimes() -> None:
    given: dict[str, Any] = {"channel": "sink", "content": {"type": "probe"}}
    half = Message(**given, delay=timedelta(microseconds=1), expires=timedelta(hours=1))
    waiting = half.waiting(FakeClock(), MAX_BYTES)
    assert (waiting.due, waiting.expires) == (NOW + 1, NOW + 3_600_000)
    there = timezone(timedelta(hours=-5))
    at = Message(**given, eta=datetime(2029, 12, 31, 19, tzinfo=there)).waiting(FakeClock(), MAX_BYTES)
    assert at.due == NEW_YEAR
    with pytest.raises(InvalidMessage, match="expected eta to be an aware datetime"):
        Message(**given, eta=datetime(2030, 1, 1))  # noqa: DTZ001


# -- bounded -------------------------------------------------------------------------------------------------


@contextmanager
def bounded(seconds: float = 10, megabytes: float = 16) -> Iterator[None]:
    tracemalloc.start()
    try:
        start = time.monotonic()
        yield
        took, (_, peak) = time.monotonic() - start, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert took < seconds
    assert peak < megabytes * 1_000_000


def laughs(levels: int, width: int) -> list[Any]:
    level: list[Any] = ["ha"]
    for _ in range(levels):
        level = [level] * width
    return level


def wrapped(inner: list[Any], times: int) -> list[Any]:
    for _ in range(times):
        inner = [inner]
    return inner


def itself() -> list[Any]:
    loop: list[Any] = []
    loop += [loop] * 50
    return loop


def itself_beside_much() -> dict[str, Any]:
    loop: dict[str, Any] = {f"k{n}": [] for n in range(100)}
    loop["k50"] = loop
    return loop


@pytest.mark.parametrize(
    "make",
    [
        lambda: nested(100_000),
        lambda: [None] * 10_000_000,
        lambda: [[]] * 2_000_000,
        lambda: [{"a": [1]}] * 2_000_000,
        lambda: wrapped([[]] * 1_100_000, 90),
        lambda: laughs(60, 10),
        lambda: laughs(90, 100),
        itself,
        itself_beside_much,
        lambda: {"a": "x" * 50_000_000},
        lambda: ["\ud800"] * 1_000_000,
    ],
    ids=[
        "deep",
        "long",
        "lists",
        "dicts",
        "deep and wide",
        "laughs",
        "more laughs",
        "itself",
        "beside",
        "large",
        "bad",
    ],
)
def test_content_that_is_far_too_much_is_refused_soon_and_in_little_memory(make: Callable[[], Any]) -> None:
    wire = content(value=make())
    with bounded():
        assert "expected content" in refuse(wire)


def test_content_at_the_size_limit_is_checked_in_little_memory() -> None:
    wire = content(value=wrapped([[]] * 1_000_000, 90))
    with bounded():
        accept(wire)


@pytest.mark.parametrize(
    "wire",
    [
        {str(n): n for n in range(200_000)},
        {"x" * 10_000_000: 1},
        without(channel="x" * 10_000_000),
        without(key="x" * 10_000_000),
        without("delay", eta="x" * 10_000_000),
        without(content="x" * 10_000_000),
        without(content={"type": "." + "x" * 10_000_000}),
        without(on_conflict=b"x" * 10_000_000),
        without(retry={"x" * 10_000_000: 1}),
        content(**{"a" * 1_000_000: (1,)}),
    ],
    ids=["keys", "key", "channel", "name", "eta", "content", "type", "conflict", "retry", "path"],
)
def test_a_refusal_is_short_however_much_came(wire: object) -> None:
    with bounded(megabytes=50):
        assert len(refuse(wire)) < 1_000


@hypothesis.given(value=anything)
def test_what_is_shown_is_never_long_and_never_fails(value: object) -> None:
    text = shown(value)
    assert len(text) < 700
    assert text.isprintable()


# -- bytes ---------------------------------------------------------------------------------------------------

flat = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
)
texts = st.text(st.characters(exclude_categories=["Cs"]))
contents = st.dictionaries(
    texts,
    st.recursive(flat, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=20),
)


@hypothesis.given(given=contents)
def test_content_is_unpacked_exactly_as_it_was_packed(given: Content) -> None:
    assert repr(unpack(pack(given, MAX_BYTES))) == repr(given)  # repr tells True from 1, -0.0 from 0.0


milliseconds = st.integers(1, 365 * 24 * 3_600_000).map(lambda ms: timedelta(milliseconds=ms))
retries = st.builds(
    Retry,
    max_attempts=st.integers(1, 1_000),
    backoff=milliseconds,
    max_wait=milliseconds,
    jitter=st.floats(0, 1),
    ack_timeout=milliseconds,
    give_up_on=st.lists(st.sampled_from([ValueError, "shop.errors.Refused", "größe.Fehler"]), max_size=3).map(tuple),
)


@hypothesis.given(
    key=st.none() | st.text(string.printable, min_size=1),
    expires=st.none() | st.integers(0, 1 << 50),
    retry=st.none() | retries,
    attempt=st.integers(0, 1_000),
    occurrence=st.none() | st.builds(Occurrence, st.text(max_size=200), st.integers(0, 1 << 50)),
)
def test_options_are_unpacked_exactly_as_they_were_packed(
    key: str | None, expires: int | None, retry: Retry | None, attempt: int, occurrence: Occurrence | None
) -> None:
    attempt = attempt if retry else 0  # only a message with retry counts attempts
    message = Waiting("id", 0, Target("channel", "sink"), b"", key, expires, retry, attempt, occurrence=occurrence)
    options = unpack_options(pack_options(message))
    assert Waiting("id", 0, Target("channel", "sink"), b"", **options) == message


def test_options_without_classes_to_give_up_on_are_the_bytes_that_they_were_before_there_were_any() -> None:
    wire = {"max_attempts": 5, "backoff": 1_000, "max_wait": 3_600_000, "jitter": 0.1, "ack_timeout": 30_000}
    stored: bytes = msgpack.packb([None, None, wire, 0])
    assert unpack_options(stored) == {"key": None, "expires": None, "retry": Retry(), "attempt": 0}
    assert pack_options(Waiting("id", 0, Target("channel", "sink"), b"", retry=Retry())) == stored


def test_a_message_without_options_costs_no_bytes_for_them() -> None:
    assert pack_options(Waiting("id", 0, Target("channel", "sink"), b"")) == b""


def test_options_of_a_time_without_schedules_are_read() -> None:
    blob = msgpack.packb(["k", 5, None, 2])
    assert unpack_options(blob) == {"key": "k", "expires": 5, "retry": None, "attempt": 2}


def test_an_occurrence_has_the_same_id_wherever_it_is_put() -> None:
    assert Occurrence("nächtlich", 1_800_000_000_000).id == "schedule:nächtlich:1800000000000"


# -- what a consumer sees ------------------------------------------------------------------------------------


def test_nothing_is_added_to_the_content_of_a_plain_message() -> None:
    assert accept(content(n=1)).content() == {"type": "probe", "n": 1}


def test_a_message_with_retry_carries_its_delay_beside_its_content() -> None:
    waiting = accept(content(n=1) | {"retry": {}})
    first, second = waiting.content(), waiting.spent().content()
    assert first == {
        "type": "probe",
        "n": 1,
        "__delay__": {
            "id": waiting.id,
            "attempt": 1,
            "due": NOW + 1_000,
            "scheduled_for": None,
            "schedule": None,
        },
    }
    assert second["__delay__"]["attempt"] == 2


# -- ids -----------------------------------------------------------------------------------------------------


def test_ids_of_one_instant_sort_in_the_order_in_which_they_were_made() -> None:
    made = [new_id(NOW) for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {len(id) for id in made} == {32}


def test_ids_sort_by_their_instant_first() -> None:
    later, earlier = new_id(NOW + 1), new_id(NOW)
    assert earlier < later


def test_the_same_bytes_that_arrived_at_the_same_instant_have_the_same_id() -> None:
    assert derived_id(5, b"a") == derived_id(5, b"a")
    assert len({derived_id(5, b"a"), derived_id(6, b"a"), derived_id(5, b"b")}) == 3
    assert derived_id(5, b"z") < derived_id(6, b"a")
    assert len(derived_id(5, b"a")) == 32


class HurryingClock:
    """It goes on by a second with every look at it."""

    def __init__(self) -> None:
        self._now = 1_800_000_000_000

    def now(self) -> int:
        self._now += 1_000
        return self._now

    def due(self, delay: int) -> int:
        return self.now() + delay

    def seconds_until(self, due: int) -> float:
        return 0.0


def test_delay_and_expires_count_from_the_same_instant() -> None:
    message = Message(channel="sink", content=GOOD["content"], delay=1_000, expires=1_000)
    resolved = message.waiting(HurryingClock(), 1_000)
    assert resolved.expires == resolved.due
    with pytest.raises(InvalidMessage, match="expected expires not to be before"):
        Message(channel="sink", content=GOOD["content"], delay=1_000, expires=999).waiting(HurryingClock(), 1_000)
