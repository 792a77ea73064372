"""How far apart the attempts are, and what a `Retry` may say."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from delayserver.backoff import MAX_ATTEMPTS, Retry
from delayserver.errors import InvalidMessage

MS = timedelta(milliseconds=1)

milliseconds = st.integers(1, 365 * 24 * 3_600_000)
retries = st.builds(
    Retry,
    max_attempts=st.integers(1, MAX_ATTEMPTS),
    backoff=milliseconds.map(MS.__mul__),
    max_wait=milliseconds.map(MS.__mul__),
    jitter=st.floats(0, 1) | st.integers(0, 1),
    ack_timeout=milliseconds.map(MS.__mul__),
    give_up_on=st.lists(st.sampled_from([ValueError, "shop.errors.Refused", "größe.Fehler"]), max_size=3).map(tuple),
)


def never() -> float:
    return 0.0


def always() -> float:
    return 1.0


def test_each_wait_is_twice_the_last_until_the_longest() -> None:
    retry = Retry(backoff=timedelta(seconds=1), max_wait=timedelta(seconds=10))
    assert [retry.wait(attempt, never) for attempt in range(1, 7)] == [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]


def test_jitter_lengthens_a_wait_by_its_fraction_at_most() -> None:
    retry = Retry(backoff=timedelta(seconds=1), jitter=0.5)
    assert (retry.wait(1, never), retry.wait(1, lambda: 0.5), retry.wait(1, always)) == (1_000, 1_250, 1_500)
    assert Retry(jitter=0).wait(1, always) == Retry(jitter=0).wait(1, never)


@hypothesis.given(retry=retries, attempt=st.integers(1, MAX_ATTEMPTS), chance=st.floats(0, 1))
def test_a_wait_is_never_shorter_than_the_backoff_nor_longer_than_the_longest_and_its_jitter(
    retry: Retry, attempt: int, chance: float
) -> None:
    shortest = min(retry.backoff, retry.max_wait) // MS
    longest = retry.max_wait // MS
    wait = retry.wait(attempt, lambda: chance)
    assert shortest <= wait <= round(longest * (1 + retry.jitter))
    assert wait >= 1


@hypothesis.given(retry=retries)
def test_a_retry_comes_back_from_the_wire_as_it_went(retry: Retry) -> None:
    assert Retry.parse(retry.to_wire()) == retry


def test_what_the_wire_leaves_out_has_its_default() -> None:
    assert Retry.parse({}) == Retry()
    assert Retry.parse({"backoff": 250}) == Retry(backoff=timedelta(milliseconds=250))


def test_the_ack_timeout_is_told_in_milliseconds() -> None:
    assert Retry(ack_timeout=timedelta(seconds=2)).ack_timeout_ms == 2_000


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        *(({"max_attempts": value}, "max_attempts") for value in (0, -1, 1_001, True, 1.0, "3", None, 10**4_000)),
        *(({"jitter": value}, "jitter") for value in (-0.1, 1.1, float("nan"), float("inf"), True, "0", None)),
        *(
            ({name: value}, f"{name} to be a timedelta")
            for name in ("backoff", "max_wait", "ack_timeout")
            for value in (
                timedelta(0),
                timedelta(seconds=-1),
                timedelta(microseconds=999),
                timedelta(days=366),
                timedelta.max,
                5,
                None,
            )
        ),
    ],
)
def test_a_retry_that_makes_no_sense_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidMessage, match=f"expected retry {sentence}"):
        Retry(**options)


@pytest.mark.parametrize("name", ["backoff", "max_wait", "ack_timeout"])
@pytest.mark.parametrize("value", [0, -1, True, 1.5, "5", None, [], timedelta(1), 365 * 24 * 3_600_000 + 1, 10**4_000])
def test_times_on_the_wire_are_whole_milliseconds(name: str, value: object) -> None:
    with pytest.raises(InvalidMessage, match=f"expected retry {name} to be whole milliseconds"):
        Retry.parse({name: value})


@pytest.mark.parametrize("wire", [None, True, 3, "x", b"x", [], [["backoff", 5]], object()])
def test_a_retry_on_the_wire_is_a_dict(wire: object) -> None:
    with pytest.raises(InvalidMessage, match="expected retry to be a dict"):
        Retry.parse(wire)


@pytest.mark.parametrize("wire", [{"attempts": 3}, {1: 2}, {"backoff": 5, "jit": 1}])
def test_an_unknown_name_on_the_wire_is_refused(wire: object) -> None:
    with pytest.raises(InvalidMessage, match="expected retry to have no keys but ack_timeout, backoff"):
        Retry.parse(wire)


# -- give_up_on ----------------------------------------------------------------------------------------------


class Refused(Exception):
    class Politely(ValueError):
        pass


def test_classes_are_kept_as_their_dotted_names() -> None:
    given = (ValueError, "builtins.ValueError", Refused.Politely, "shop.errors.Any", KeyboardInterrupt)
    names = ("builtins.ValueError", f"{__name__}.Refused.Politely", "shop.errors.Any", "builtins.KeyboardInterrupt")
    retry = Retry(give_up_on=given)
    assert retry.give_up_on == names
    assert retry == Retry(give_up_on=names)
    assert hash(retry) == hash(Retry(give_up_on=names))
    assert retry.to_wire()["give_up_on"] == list(names)


@pytest.mark.parametrize(
    ("error", "gives_up"),
    [
        (ValueError("x"), True),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "x"), True),
        (Refused.Politely(), True),
        (Refused(), False),
        (KeyError("ValueError"), False),
        (OSError(), False),
    ],
)
def test_it_gives_up_on_a_class_and_its_subclasses(error: Exception, gives_up: bool) -> None:
    for one in (ValueError, "builtins.ValueError"):
        assert Retry(give_up_on=("shop.errors.Any", one)).gives_up_on(error) is gives_up
    assert Retry().gives_up_on(error) is False


def test_on_the_wire_it_is_a_list_of_names_and_missing_where_there_are_none() -> None:
    assert Retry.parse({"give_up_on": ["a.B", "a.B"]}).give_up_on == ("a.B",)
    assert Retry.parse({"give_up_on": []}) == Retry()
    assert "give_up_on" not in Retry().to_wire()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        *(
            ((name,), "to name each class with its module, as in builtins.ValueError")
            for name in ("ValueError", "", ".", ".x", "x.", "a..b", "a.b\n", "a." + "x" * 199)
        ),
        *(
            ((one,), "to hold exception classes or their dotted names")
            for one in (int, None, 5, ValueError("x"), b"a.b")
        ),
        *(
            (one, "to be a tuple of at most 20 exception classes")
            for one in (ValueError, "builtins.ValueError", None, {"a.b"}, 5, tuple(f"a.x{n}" for n in range(21)))
        ),
    ],
)
def test_what_is_no_class_is_refused(given: Any, sentence: str) -> None:
    with pytest.raises(InvalidMessage, match=f"expected retry give_up_on {sentence}"):
        Retry(give_up_on=given)
    with pytest.raises(InvalidMessage, match="expected retry give_up_on"):
        Retry.parse({"give_up_on": given})


def test_a_name_may_be_of_200_characters() -> None:
    name = "a." + "x" * 198
    assert Retry(give_up_on=(name,) * 20).give_up_on == (name,)
