"""What goes in comes out: every part of a message, exactly."""

from __future__ import annotations

import string
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import hypothesis
import msgpack
import pytest
from hypothesis import strategies as st

from delayserver.backoff import Retry
from delayserver.content import pack
from delayserver.message import Target, Waiting, new_id
from delayserver.stores.base import Store

from ..support.clock import NOW
from .places import LEASE, each, ids, waiting

NAME_CHARACTERS = string.ascii_letters + string.digits + "-_."
EACH_STORE = hypothesis.settings(
    max_examples=15, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
)
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=10
)
contents = st.dictionaries(keys, values, max_size=4).map(lambda given: {**given, "type": "test.message"})
names = st.text(NAME_CHARACTERS, min_size=1, max_size=40)
targets = st.one_of(
    names.map(lambda name: Target("channel", name)),
    st.tuples(names, names).map(lambda pair: Target("channel", "!".join(pair))),
    names.map(lambda name: Target("group", name)),
)
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


@st.composite
def messages(draw: st.DrawFn) -> Waiting:
    due = NOW - draw(st.integers(0, 3))
    retry = draw(st.none() | retries)
    return Waiting(
        new_id(due),
        due,
        draw(targets),
        pack(draw(contents), 1 << 20),
        key=draw(st.none() | st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=200)),
        expires=draw(st.none() | st.integers(NOW, NOW * 2)),
        retry=retry,
        attempt=draw(st.integers(0, 1_000)) if retry else 0,
    )


def different_keys(batch: Sequence[Waiting]) -> bool:
    taken = [message.key for message in batch if message.key is not None]
    return len(taken) == len(set(taken))


@EACH_STORE
@hypothesis.given(batch=st.lists(messages(), min_size=1, max_size=8).filter(different_keys))
async def test_a_message_comes_out_exactly_as_it_went_in(store: Store, batch: list[Waiting]) -> None:
    await store.aput(each("error", batch))
    claims = await store.claim(NOW, 100, LEASE)
    assert [claim.message for claim in claims] == sorted(batch, key=lambda message: (message.due, message.id))
    postponed = await store.postpone(claims, [NOW] * len(batch), spend=0)
    assert all(postponed)
    again = await store.claim(NOW, 100, LEASE)
    assert {claim.message.id: claim.message.body for claim in again} == {one.id: one.body for one in batch}
    assert all(await store.finish(again))


CONTENTS: dict[str, Any] = {
    "bytes": bytes(range(256)),
    "NUL": "a\0b\0",
    "astral": "𝄞 😀 \U0010ffff",
    "controls": "\x01\x1b[31m\r\n\t\x7f\u2028",
    "numbers": [-(1 << 63), (1 << 64) - 1, 0, -1, 0.1, 5e-324, float("inf"), float("-inf"), -0.0],
    "constants": [None, True, False],
    "empty": ["", b"", [], {}],
    "keys": {"": 1, "\0": 2, "ключ": 3, "😀": 4},
    "deep": [[[[[[[[{"a": [{"b": [[]]}]}]]]]]]]],
}


@pytest.mark.parametrize("name", CONTENTS)
async def test_content_comes_out_exactly_as_it_went_in(store: Store, name: str) -> None:
    content = {"type": "test.message", "value": CONTENTS[name]}
    await store.aput([waiting(body=pack(content, 1 << 20))])
    [claim] = await store.claim(NOW, 1, LEASE)
    assert repr(claim.message.content()) == repr(content)


async def test_a_megabyte_goes_through(store: Store) -> None:
    body = msgpack.packb({"type": "test.message", "data": b"\0\xff" * 524_000})
    messages = [waiting(body=body) for _ in range(3)]
    await store.aput(messages)
    claimed: list[Waiting] = []
    while found := await store.claim(NOW, 10, LEASE):  # not all at once: that would hold up the server
        claimed += [claim.message for claim in found]
    assert claimed == messages


@pytest.mark.parametrize("id", ["a", "x" * 100, "ABC", "0" * 32, "F" * 32, "a1" * 16, "with space"])
async def test_an_id_may_have_any_form(store: Store, id: str) -> None:
    message = waiting(NOW, id=id)
    [receipt] = await store.aput([message])
    assert receipt == (id, NOW, True)
    [claim] = await store.claim(NOW, 10, LEASE)
    assert ids([claim]) == [id]
    assert await store.finish([claim]) == [True]
