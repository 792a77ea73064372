"""Who may hold which token."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core import signing
from hypothesis import given
from hypothesis import strategies as st

from delayserver.progress.tokens import MAX_TOKEN_LENGTH, Token, key_of

ids = st.text(st.characters(codec="ascii", categories=["L", "N"], include_characters="-_."), min_size=1, max_size=80)


@given(ids, st.text(max_size=36))
def test_a_token_is_read_as_it_was_signed(id: str, user: str) -> None:
    text = Token(id, user).sign()
    assert Token.read(text) == (id, user)
    assert text.isascii()
    assert "/" not in text, "it stands in a path"


def test_the_longest_there_is_can_be_read() -> None:
    """An id of a project's own, and a UUID for a primary key."""
    token = Token("x" * 80, "123e4567-e89b-12d3-a456-426614174000")
    assert len(token.sign()) <= MAX_TOKEN_LENGTH
    assert Token.read(token.sign()) == token


@given(st.text(max_size=500))
def test_what_was_not_signed_is_none(text: str) -> None:
    with pytest.raises(signing.BadSignature):
        Token.read(text)


@given(ids, st.data())
def test_what_was_changed_is_none(id: str, data: st.DataObject) -> None:
    text = Token(id).sign()
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda one: one != text[at]))
    with pytest.raises(signing.BadSignature):
        Token.read(text[:at] + other + text[at + 1 :])


@pytest.mark.parametrize(
    ("user", "key"),
    [(None, ""), (AnonymousUser(), ""), (User(pk=7), "7"), (User(), ""), (7, "7"), (0, "0"), ("a-b", "a-b")],
)
def test_whose_it_is(user: object, key: str) -> None:
    assert key_of(user) == key
