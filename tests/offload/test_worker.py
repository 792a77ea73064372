"""The consumer on ``asgi.offload``: whatever comes in, and whatever becomes of the answer, it goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from channels.exceptions import StopConsumer
from channels.layers import get_channel_layer
from pytest_django import Settings

from delayserver import events, offload
from delayserver.clock import SystemClock
from delayserver.handling import OneMessage, handle
from delayserver.layers.base import Delivered, Delivery, Failed, Full, Layer, Outcome
from delayserver.message import Target
from delayserver.offload import OffloadConsumer, answering
from delayserver.outbox import Outbox

from .functions import HERE
from .server import OddServer

ASKED: dict[str, Any] = {"type": "offload.call", "id": "7", "path": f"{HERE}.double", "args": [21]}


async def work(*messages: dict[str, Any]) -> None:
    """As a worker does: an instance for each message."""
    application = OffloadConsumer.as_asgi()
    async with asyncio.timeout(20):
        await asyncio.gather(*(handle(application, "asgi.offload", OneMessage(message)) for message in messages))


async def received(channel: str, number: int = 1) -> list[dict[str, Any]]:
    async with asyncio.timeout(10):
        return [await get_channel_layer().receive(channel) for _ in range(number)]


async def test_an_answer_goes_to_its_channel(on_redis: str) -> None:
    await work({**ASKED, "reply_channel": "answers"})
    assert await received("answers") == [{"type": "offload.reply", "id": "7", "ok": True, "result": 42}]


async def test_an_answer_goes_to_every_channel_of_a_group(on_redis: str) -> None:
    layer = get_channel_layer()
    own = await layer.new_channel()
    await layer.group_add("everyone", own)
    await work({**ASKED, "reply_group": "everyone"})
    assert (await received(own))[0]["result"] == 42


async def test_an_answer_on_a_layer_with_several_hosts_arrives(
    on_redis: str, settings: Settings, offload_options: dict[str, Any]
) -> None:
    hosts = [{"address": f"{on_redis.rpartition('/')[0]}/{number}", "socket_timeout": None} for number in (0, 1, 2)]
    layer = {**settings.CHANNEL_LAYERS["default"], "CONFIG": {"hosts": hosts}}
    settings.CHANNEL_LAYERS = {"default": layer}
    own = await get_channel_layer().new_channel()
    await work(*({**ASKED, "args": [number], "reply_channel": own} for number in range(12)))
    assert sorted(one["result"] for one in await received(own, 12)) == list(range(0, 24, 2))


MALFORMED: list[tuple[dict[str, Any], str | None]] = [
    ({"type": "offload.unknown"}, None),
    ({"type": "offload_call"}, None),
    ({"type": "__init__"}, None),
    ({"type": 5}, None),
    ({"type": "offload.call", "id": 5}, None),
    ({"type": "offload.call", "id": "7", "reply_channel": "no name"}, None),
    ({"type": "offload.call", "id": "7", "reply_channel": "a", "reply_group": "b"}, None),
    ({**ASKED, "path": 5}, "expected path to be a str, got 5"),
    ({**ASKED, "args": "ab"}, "expected args to be a list, got 'ab'"),
    ({**ASKED, "kwargs": [1]}, "expected kwargs to be a dict with str keys"),
    ({**ASKED, "timeout": "soon"}, "expected timeout to be a number of seconds"),
    ({**ASKED, "timeout": 1e9}, "is over DELAYSERVER['OFFLOAD']['MAX_TIMEOUT']"),
    ({**ASKED, "deadline": "soon"}, "expected deadline to be milliseconds"),
    ({**ASKED, "path": "os.system", "args": ["id"]}, "'os.system' is not in DELAYSERVER['OFFLOAD']['CALLABLES']"),
    ({"type": "offload.command", "name": "rm"}, "'rm' is not in DELAYSERVER['OFFLOAD']['COMMANDS']"),
    ({"type": "offload.command", "name": "echo", "args": "a"}, "expected args to be a list of str"),
    ({"type": "offload.command", "name": "echo", "args": [5]}, "expected args to be a list of str"),
    ({"type": "offload.request"}, "expected url to be a str, got None"),
    ({"type": "offload.request", "url": "http://169.254.169.254/"}, "['HOSTS']"),
    ({"type": "offload.request", "url": "file:///etc/passwd"}, "['SCHEMES']"),
    ({"type": "offload.request", "url": "https://api.example.com/", "headers": 5}, "expected headers"),
    ({"type": "offload.request", "url": "https://api.example.com/", "method": [5]}, "expected method"),
]


@pytest.mark.parametrize(("message", "sentence"), MALFORMED)
async def test_what_was_sent_past_the_callers_checks_is_refused_here(
    on_redis: str, message: dict[str, Any], sentence: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    if sentence is not None:
        message = {**message, "reply_channel": "answers"}
    await work(message)
    assert [vars(record)["event"] for record in caplog.records if record.name == "delayserver"] == ["offload_refused"]
    if sentence is not None:
        [answer] = await received("answers")
        assert (answer["ok"], answer["failure"]) == (False, "refused")
        assert sentence in answer["error"]


async def test_what_nobody_waits_for_any_more_is_not_begun(on_redis: str, server: OddServer) -> None:
    before = events.counts["offload_expired"]
    url = f"{server.url}/status/200"
    await work({"type": "offload.request", "url": url, "deadline": SystemClock().now() - 1})
    assert server.seen == []
    assert events.counts["offload_expired"] == before + 1
    await work({"type": "offload.request", "url": url, "deadline": SystemClock().now() + 10_000})
    assert len(server.seen) == 1


async def test_one_instance_does_many_at_once_and_ends_with_its_messages(on_redis: str, server: OddServer) -> None:
    """As ``runworker`` has it: the first that hangs must not hold up the others."""
    slow = {
        "type": "offload.request",
        "id": "slow",
        "url": f"{server.url}/hang",
        "timeout": 1,
        "reply_channel": "answers",
    }
    messages: list[dict[str, Any]] = [slow, *({**ASKED, "reply_channel": "answers"} for _ in range(50))]

    async def receive() -> dict[str, Any]:
        if not messages:
            raise StopConsumer
        return messages.pop(0)

    await OffloadConsumer.as_asgi()({"type": "channel", "channel": "asgi.offload"}, receive, None)
    answers = await received("answers", 51)
    assert [answer["ok"] for answer in answers] == [True] * 50 + [False]
    assert answers[-1]["failure"] == "timeout"


async def test_a_worker_that_ends_ends_what_it_has_begun(on_redis: str, server: OddServer) -> None:
    message = {"type": "offload.request", "url": f"{server.url}/hang", "timeout": 50}
    running = asyncio.create_task(work(message))
    async with asyncio.timeout(10):
        while not server.seen:
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_an_answer_nobody_can_take_is_one_line(
    on_redis: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(answering, "ANSWER_SECONDS", 0.2)
    host = {"address": on_redis, "socket_timeout": None}
    backend = settings.CHANNEL_LAYERS["default"]["BACKEND"]
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": {"hosts": [host], "capacity": 1}}}
    caplog.set_level(logging.INFO, "delayserver")
    await work({**ASKED, "reply_channel": "nobody"})
    await work({**ASKED, "reply_channel": "nobody"})
    [record] = [one for one in caplog.records if one.name == "delayserver"]
    assert record.getMessage() == "the answer of an offload (call) did not reach nobody: channel nobody is full"


# -- the outbox ------------------------------------------------------------------------------------------------------


class FakeLayer(Layer):
    """Has room for so many messages at a time; each deliver makes room for one more."""

    def __init__(self, room: int, failures: int = 0) -> None:
        self.room, self.failures = room, failures
        self.sent: list[Any] = []
        self.batches: list[int] = []

    def check(self, content: Any) -> None: ...

    async def open(self) -> None: ...

    def lane(self, target: Target) -> str:
        return target.name

    async def deliver(self, lane: Any, batch: Sequence[Delivery]) -> list[Outcome]:
        await asyncio.sleep(0)
        self.batches.append(len(batch))
        if self.failures:
            self.failures -= 1
            return [Failed(ConnectionError("away"))] * len(batch)
        fit = batch[: self.room]
        self.sent += [delivery.content.get("n", delivery.content) for delivery in fit]
        self.room += 1 - len(fit)
        return [*([Delivered()] * len(fit)), *([Full()] * (len(batch) - len(fit)))]

    def sources(self, channels: Any) -> Any: ...

    def inboxes(self, channel: str, max_bytes: int) -> Any: ...

    async def aclose(self) -> None: ...


TARGET = Target("channel", "target")


async def test_messages_of_one_target_go_in_batches_and_in_order() -> None:
    box = Outbox(layer := FakeLayer(room=1_000))
    outcomes = await asyncio.gather(*(box.send(TARGET, {"n": n}, 5) for n in range(300)))
    assert outcomes == [Delivered()] * 300
    assert box._layer.sent == list(range(300))  # type: ignore[attr-defined]
    assert len(layer.batches) <= 10


async def test_a_full_channel_is_waited_for_in_order() -> None:
    box = Outbox(FakeLayer(room=2))
    outcomes = await asyncio.gather(*(box.send(TARGET, {"n": n}, 10) for n in range(10)))
    assert outcomes == [Delivered()] * 10
    assert box._layer.sent == list(range(10))  # type: ignore[attr-defined]


async def test_a_full_channel_is_waited_for_no_longer_than_asked() -> None:
    box = Outbox(FakeLayer(room=-1_000))
    assert await box.send(TARGET, {"n": 1}, 0.1) == Full()


async def test_a_layer_that_is_away_is_told_at_once_or_waited_for() -> None:
    box = Outbox(FakeLayer(room=5, failures=1))
    assert isinstance(await box.send(TARGET, {"n": 1}, 5), Failed)
    box = Outbox(FakeLayer(room=5, failures=3))
    assert await box.send(TARGET, {"n": 1}, 5, insists=True) == Delivered()


async def test_an_answer_waits_for_a_layer_that_is_away(in_memory: object, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Outbox(FakeLayer(room=5, failures=2))
    monkeypatch.setattr(answering, "outbox", lambda: box)
    await work({**ASKED, "reply_channel": "answers"})
    assert box._layer.sent == [{"type": "offload.reply", "id": "7", "ok": True, "result": 42}]  # type: ignore[attr-defined]


async def test_who_gave_up_is_not_sent_for() -> None:
    box = Outbox(FakeLayer(room=0))
    given_up = asyncio.create_task(box.send(TARGET, {"n": 1}, 10))
    await asyncio.sleep(0.01)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    await box.send(TARGET, {"n": 2}, 10)
    assert box._layer.sent == [2]  # type: ignore[attr-defined]


def test_the_reply_of_another_kind_of_offload_is_read() -> None:
    ended = offload.read_reply({"id": "1", "ok": True, "returncode": 1, "stdout": b"", "stderr": b"x"})
    assert ended == offload.CommandReply(id="1", returncode=1, stdout=b"", stderr=b"x")
