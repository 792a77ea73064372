"""A message is the same before and after it lay in Redis, and its bytes are always the same."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from delayserver.backoff import Retry
from delayserver.message import DeadLetter, Occurrence, Target, Waiting
from delayserver.stores.redis_members import pack, pack_id, pack_letter, unpack, unpack_id, unpack_letter

names = st.text(st.characters(codec="utf-8"), max_size=50)
occurrences = st.none() | st.builds(Occurrence, names, st.integers(0, 1 << 50))
ids = st.uuids().map(lambda id: id.hex) | st.builds(Occurrence, names, st.integers(0, 1 << 43)).map(lambda one: one.id)


@hypothesis.given(
    message=st.builds(
        Waiting,
        id=ids,
        due=st.integers(0, 1 << 43),
        target=st.sampled_from([Target("channel", "sink"), Target("group", "g"), Target("channel", "a.b!c")]),
        body=st.binary(min_size=1, max_size=100),
        key=st.none() | names.filter(bool),
        expires=st.none() | st.integers(0, 1 << 50),
        retry=st.none() | st.just(Retry()),
        attempt=st.integers(0, 9),
        home=st.just(""),
        occurrence=occurrences,
        on_conflict=st.just("keep"),
    )
)
def test_a_member_is_unpacked_exactly_as_it_was_packed(message: Waiting) -> None:
    member = pack(message)
    assert unpack(member, message.due, message.attempt) == message
    assert pack(message.spent()) == member
    assert unpack_id(pack_id(message.id)) == message.id
    letter = DeadLetter.of(message, message.due, "a reason")
    assert unpack_letter(pack_letter(letter), "", 0) == letter


def test_the_id_of_an_occurrence_of_the_longest_name_fits() -> None:
    id = Occurrence("ö" * 100, (1 << 43) - 1).id
    assert unpack_id(pack_id(id)) == id
    with pytest.raises(ValueError, match="expected an id of 1 to 255 bytes"):
        pack_id("x" * 256)
