"""With retry, a message goes onto its channel in the one act too, as if it had been unpacked, and is due again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import hypothesis
import msgpack
import pytest
import redis
from hypothesis import strategies as st

from delayserver.backoff import Retry
from delayserver.conf import REDIS_LAYER, LayerSettings
from delayserver.content import pack
from delayserver.message import Occurrence, Target, Ticket, Waiting, new_id
from delayserver.redis_link import ChannelFormat
from delayserver.stores.base import Acked, HandedOver
from delayserver.stores.redis import RedisStore
from delayserver.stores.shelf import Wanted

NOW = 1_600_000_000_000  # long ago by Redis's own clock, which the script looks at too
RANDOM_BYTES = 12
FORMAT = ChannelFormat("asgi:", expiry=60, capacity=100, random_bytes=RANDOM_BYTES, all_here=1)
TIMEOUT = 30_000


class Scene:
    """A store, step by step, and what lies on the channels beside it."""

    def __init__(self, url: str, client: redis.Redis, runner: asyncio.Runner) -> None:
        self.store = RedisStore(LayerSettings("default", REDIS_LAYER, {"hosts": [url]}))
        self._client, self._runner = client, runner

    def put(self, *messages: Waiting) -> None:
        self._runner.run(self.store.aput(messages))

    def hand_over(self, now: int = NOW, *backlogs: str, capacity: int = 100) -> HandedOver:
        format = FORMAT._replace(capacity=capacity)
        return self._runner.run(self.store.hand_over(format, now, 10, 30_000, backlogs))

    def waiting(self) -> list[Waiting]:
        page = self._runner.run(self.store.look(Wanted(), 100))
        return [one.message for one in page.listed if not one.claimed]

    def ack(self, *tickets: Ticket) -> list[Acked]:
        return self._runner.run(self.store.ack(tickets))

    def dead(self) -> int:
        return self._runner.run(self.store.count_dead())

    def on_channel(self, name: str) -> list[dict[str, Any]]:
        members: Any = self._client.zrange(f"asgi:{name}", 0, -1)
        return [msgpack.unpackb(member[RANDOM_BYTES:]) for member in members]

    def empty(self) -> None:
        self._client.flushdb()


@pytest.fixture
def scene(redis_url: str) -> Iterator[Scene]:
    with redis.Redis.from_url(redis_url) as client, asyncio.Runner() as runner:
        yield Scene(redis_url, client, runner)


def retried(due: int = NOW, **parts: Any) -> Waiting:
    retry = Retry(max_attempts=2, ack_timeout=timedelta(milliseconds=TIMEOUT))
    return Waiting(new_id(due), due, Target("channel", "sink"), pack({"type": "probe"}, 100), retry=retry, **parts)


printable = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
retries = st.builds(
    Retry,
    max_attempts=st.integers(1, 4),
    ack_timeout=st.integers(1, 365 * 24 * 3_600_000).map(lambda ms: timedelta(milliseconds=ms)),
    give_up_on=st.sampled_from([(), (ValueError,), ("größe.Fehler",)]),
)
targets = st.sampled_from([Target("channel", "sink"), Target("channel", "specific.x!1"), Target("group", "sink")])
contents = st.dictionaries(printable, st.integers(-(1 << 63), (1 << 64) - 1) | printable, max_size=16)
likely = st.sampled_from([True] * 5 + [False])


@st.composite
def messages(draw: st.DrawFn) -> Waiting:
    """With retry, or an occurrence, or both; a few have expired or are out of attempts."""
    occurrence = draw(st.none() | st.builds(Occurrence, printable, st.integers(0, 1 << 42)))
    retry = draw(retries if occurrence is None else st.none() | retries)
    due = NOW - draw(st.integers(0, 1 << 40))
    most = retry.max_attempts if retry else 1
    return Waiting(
        occurrence.id if occurrence else draw(st.sampled_from([new_id(due), new_id(NOW), "any id", "é" * 9])),
        due,
        draw(targets),
        pack({**draw(contents), "type": "probe"}, 10_000),
        key=None if occurrence else draw(st.none() | printable),
        expires=draw(st.none() | st.just(1 << 43)) if draw(likely) else NOW - 1,
        retry=retry,
        attempt=draw(st.integers(0, most - 1)) if draw(likely) else most,
        occurrence=occurrence,
    )


def goes_out(message: Waiting) -> bool:
    """Whether it takes no more than moving bytes: its map must stay within the short header."""
    added = 2 if "!" in message.target.name else 1
    small = message.target.kind == "channel" and len(msgpack.unpackb(message.body)) + added <= 15
    in_time = not message.expired(NOW) and not (message.retry and message.attempt >= message.retry.max_attempts)
    return small and in_time


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture], deadline=None)
@hypothesis.given(message=messages())
def test_it_lies_on_its_channel_as_if_it_had_been_unpacked(scene: Scene, message: Waiting) -> None:
    scene.empty()
    scene.put(message)
    work = scene.hand_over()
    if not goes_out(message):
        assert (work.handed, [claim.message for claim in work.claims]) == (0, [message])
        return
    assert (work.handed, work.claims) == (1, [])
    shared, bang, _ = message.target.name.partition("!")
    [came] = scene.on_channel(shared + bang)
    assert came.pop("__asgi_channel__", None) == (message.target.name if bang else None)
    assert repr(came) == repr(message.content())  # which tells an int from a float, and shows the order
    if message.retry is None:
        assert scene.waiting() == []
        return
    again = NOW + message.retry.ack_timeout_ms
    assert (scene.waiting(), work.next_due) == ([replace(message, due=again, attempt=message.attempt + 1)], again)
    assert scene.ack(Ticket(message.id, came["__delay__"]["attempt"])) == [Acked.DONE]


def test_a_message_that_comes_again_does_not_fall_together_with_what_still_lies_there(scene: Scene) -> None:
    scene.put(message := retried(key="k"))
    assert [scene.hand_over(now).handed for now in (NOW, NOW, NOW + TIMEOUT - 1, NOW + TIMEOUT)] == [1, 0, 0, 1]
    told = [came["__delay__"] for came in scene.on_channel("sink")]
    assert [(one["id"], one["attempt"], one["due"]) for one in told] == [
        (message.id, 1, NOW),
        (message.id, 2, NOW + TIMEOUT),
    ]
    work = scene.hand_over(NOW + 2 * TIMEOUT)
    assert (work.handed, [claim.message.attempt for claim in work.claims]) == (0, [2])  # out of attempts


def test_what_meets_a_full_channel_waits_in_its_backlog_and_goes_out_from_there(scene: Scene) -> None:
    first, second, third = (retried(NOW - 3 + n) for n in range(3))
    scene.put(first, second, third)
    work = scene.hand_over(capacity=1)
    assert (work.handed, work.claims, dict(work.backlogs)) == (1, [], {"sink": -1})
    work = scene.hand_over(NOW, "sink", capacity=2)
    assert (work.handed, work.claims, dict(work.backlogs)) == (1, [], {"sink": 1})
    assert [came["__delay__"]["id"] for came in scene.on_channel("sink")] == [first.id, second.id]
    waits = sorted((message.due, message.attempt, message.id) for message in scene.waiting())
    assert waits == sorted([(NOW - 1, 0, third.id), *((NOW + TIMEOUT, 1, one.id) for one in (first, second))])


@pytest.mark.parametrize(
    "options",
    [
        [None, None, {"ack_timeout": 0, "max_attempts": 5}, 0],
        [None, None, {"ack_timeout": 1.5, "max_attempts": 5}, 0],
        [None, None, {"ack_timeout": 1 << 60, "max_attempts": 5}, 0],
        [None, None, {"ack_timeout": "soon", "max_attempts": 5}, 0],
        [None, None, {"ack_timeout": 5}, 0],
        [None, None, "retry", 0],
        [None, "late", {"ack_timeout": 5, "max_attempts": 5}, 0],
        [None, None, {"ack_timeout": 5, "max_attempts": 5}, 0, "nightly", 1, "more"],
        [None, None, None, 0],
        {"retry": 1},
        7,
    ],
)
def test_options_that_are_not_known_go_nowhere(scene: Scene, redis_url: str, options: Any) -> None:
    packed: bytes = msgpack.packb(options)
    member = b"\x03raw\x04\x04junk" + len(packed).to_bytes(2, "big") + packed + pack({"type": "probe"}, 100)
    with redis.Redis.from_url(redis_url) as client:
        client.zadd(scene.store._keys.waiting, {member: NOW})
    scene.put(retried())
    work = scene.hand_over()
    assert (work.handed, work.claims, work.next_due) == (1, [], NOW + 30_000)
    assert scene.on_channel("junk") == []
    assert scene.dead() == 1
