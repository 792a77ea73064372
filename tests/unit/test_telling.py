"""An error in words: short, on one line, without secrets, and without the machine's paths."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delayserver.telling import _SECRETS, told, where

SECRET = "hunter2xyz"


@pytest.mark.parametrize(
    "message",
    [
        f"postgres://shop:{SECRET}@db.example/shop",
        f"redis://:{SECRET}@cache:6379/0 is away",
        f"password={SECRET}",
        f"PASSWORD: {SECRET}",
        f"bad passwd '{SECRET}'".replace("passwd ", "passwd="),
        f"api_key={SECRET}&page=2",
        f"api-key: {SECRET}, x",
        f"X-Secret-Key={SECRET};",
        f'{{"access_token": "{SECRET}"}}',
        f"{{'client_secret': '{SECRET}'}}",
        f"Authorization: Bearer {SECRET}",
        f"Authorization: Basic {SECRET}",
        f"sent bearer {SECRET} to it",
        f"credential={SECRET}",
        f"?signature={SECRET}",
        f"AWS_SECRET_ACCESS_KEY={SECRET}",
    ],
)
def test_secrets_are_hidden(message: str) -> None:
    line = told(ValueError(message))
    assert SECRET not in line
    assert "***" in line


@pytest.mark.parametrize("message", ["the shop is closed", "expected a token", "7 of 9 at 10:30", "http://a.example/b"])
def test_what_is_none_is_told_whole(message: str) -> None:
    assert told(KeyError.__bases__[0](message)) == f"LookupError: {message}"


def test_only_the_first_line_and_no_more_than_fits_and_nothing_that_moves_a_cursor() -> None:
    assert told(ValueError("first\nsecond")) == "ValueError: first"
    assert told(ValueError()) == "ValueError"
    assert told(None) == ""
    assert told(ValueError("a\x1b[2Jb\r")) == "ValueError: a\\x1b[2Jb\\r"
    assert len(told(ValueError("x" * 100_000))) <= 320


@given(st.text(max_size=2_000))
def test_whatever_it_says_is_one_bounded_line_of_ascii(message: str) -> None:
    line = told(ValueError(message))
    assert line.isascii()
    assert line.isprintable()
    assert len(line) <= 20 + 10 * 300


@pytest.mark.parametrize("word", ["token", "a-secret", "api_key-", "password"])
def test_long_words_are_read_once(word: str) -> None:
    """Not as often as they are long, squared: that would take minutes, in the event loop."""
    assert _SECRETS.search(word * 1_000) is None


def test_an_error_that_has_no_words() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert told(Mute()) == "Mute: (it has no words)"


def test_where_is_the_innermost_place_of_the_projects_own_code_without_paths() -> None:
    try:
        json.loads("{")
    except ValueError as error:
        place = where(error)
    assert place.startswith(
        f"{__name__}.test_where_is_the_innermost_place_of_the_projects_own_code_without_paths, line "
    )
    assert "/" not in place
    assert where(ValueError()) == ""
