"""Offloads without any other server: the process does them itself, under the same rules and limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from channels.consumer import AsyncConsumer
from channels.layers import get_channel_layer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from pytest_django import Settings

from delayserver import offload
from delayserver.conf import get_offload_settings
from delayserver.embedded import Embedded, embedded
from delayserver.errors import DelayServerError, OffloadFailed, OffloadRefused, OffloadTimeout
from delayserver.offload import OffloadConsumer

from .functions import HERE
from .server import TEXT, OddServer

pytestmark = pytest.mark.usefixtures("in_memory")
ANSWERED: asyncio.Queue[dict[str, Any]]


class Answered(AsyncConsumer):  # type: ignore[misc]
    async def offload_reply(self, message: dict[str, Any]) -> None:
        ANSWERED.put_nowait(message)


@asynccontextmanager
async def running() -> AsyncIterator[None]:
    """An embedded delay server, with a worker for offloads that come late, and one for answers."""
    global ANSWERED
    ANSWERED = asyncio.Queue()
    channels = {"answered": Answered.as_asgi(), "asgi.offload": OffloadConsumer.as_asgi()}
    app: Embedded = embedded(
        ProtocolTypeRouter({"channel": ChannelNameRouter(channels)}), workers=["answered", "asgi.offload"]
    )
    app._start()
    yield
    await app._stop()


async def answered() -> dict[str, Any]:
    async with asyncio.timeout(10):
        return await ANSWERED.get()


async def test_each_kind_is_awaited(server: OddServer) -> None:
    reply = await offload.request(f"{server.url}/gzipped")
    assert (reply.ok, reply.status, reply.text) == (True, 200, TEXT.decode())
    assert dict(reply.headers)["content-type"] == "text/plain"
    assert (await offload.call(f"{HERE}.double", 4, kwargs={"times": 5})).result == 20
    ended = await offload.command("cat", input=b"abc")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"abc", b"")


async def test_the_forms_of_a_body(server: OddServer) -> None:
    url = f"{server.url}/echo"
    json = (await offload.request(url, method="POST", json={"a": [1]})).json()
    form = (await offload.request(url, method="POST", data={"a": ["1", "2"], "b": "x y"})).json()
    text = (await offload.request(url, method="POST", content="ü", headers={"Content-Type": "text/plain"})).json()
    assert (json["body"], form["body"], text["body"]) == ('{"a": [1]}', "a=1&a=2&b=x+y", "ü".encode().decode("latin-1"))
    kinds = [seen.header("content-type") for seen in server.seen]
    assert kinds == ["application/json", "application/x-www-form-urlencoded", "text/plain"]


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("http://169.254.169.254/", {}, "['HOSTS']"),
    ("http://[::1]:8000/", {}, "['HOSTS']"),
    ("file:///etc/passwd", {}, "['SCHEMES']"),
    ("SERVER", {"timeout": 61}, "a timeout of 61 s is over DELAYSERVER['OFFLOAD']['MAX_TIMEOUT']"),
    ("SERVER", {"timeout": 0}, "expected timeout to be a number of seconds over 0, got 0"),
    ("SERVER", {"timeout": float("nan")}, "expected timeout"),
    ("SERVER", {"timeout": True}, "expected timeout"),
    ("SERVER", {"method": "CONNECT"}, "expected method to be one of DELETE, GET,"),
    ("SERVER", {"method": "GET / HTTP/1.1\r\nX: y"}, "expected method"),
    ("SERVER", {"content": b"x" * 1_000_001}, "['MAX_BODY_BYTES']"),
    ("SERVER", {"content": 5}, "expected content to be bytes, got 5"),
    ("SERVER", {"content": b"", "json": 1}, "expected one of content, json and data, got content and json"),
    ("SERVER", {"headers": {"X": "hunter2\r\nEvil: y"}}, "expected header X to be a line of Latin-1 text"),
    ("SERVER", {"headers": {"X": "hunter2\u2028"}}, "expected header X"),
    ("SERVER", {"headers": {"X": 5}}, "expected header X"),
    ("SERVER", {"headers": {"X\r\nEvil": "y"}}, "expected the name of a header"),
    ("SERVER", {"headers": {"Host": "internal"}}, "expected headers without Host"),
    ("SERVER", {"headers": [("transfer-encoding", "chunked")]}, "expected headers without transfer-encoding"),
    ("SERVER", {"headers": "X: y"}, "expected headers to be a mapping or pairs"),
    ("SERVER", {"headers": [("X",)]}, "expected headers to be a mapping or pairs"),
    ("SERVER", {"headers": [("X", "y")] * 101}, "at most 100 headers"),
    ("SERVER", {"reply_channel": "no name"}, "reply_channel or reply_group: expected channel to be a name"),
    ("SERVER", {"reply_channel": "a", "reply_group": "b"}, "one of reply_channel and reply_group"),
]


@pytest.mark.parametrize(("url", "options", "sentence"), WRONG)
async def test_what_is_wrong_is_refused_before_anything_goes_out(
    server: OddServer, url: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(OffloadRefused) as refused:
        await offload.request(server.url if url == "SERVER" else url, **options)
    assert sentence in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert isinstance(refused.value, DelayServerError | ValueError)
    assert server.seen == []


async def test_what_is_on_no_list_is_refused_with_the_setting_named() -> None:
    with pytest.raises(
        OffloadRefused, match=r"functions\.forbidden' is not in DELAYSERVER\['OFFLOAD'\]\['CALLABLES'\]"
    ):
        await offload.call(f"{HERE}.forbidden")
    for name in ("rm", "/bin/sh", "sh -c", ""):
        with pytest.raises(OffloadRefused, match=r"is not in DELAYSERVER\['OFFLOAD'\]\['COMMANDS'\]"):
            await offload.command(name)
    with pytest.raises(OffloadRefused, match="there is no shell to split it"):
        await offload.command("echo", "a b")
    with pytest.raises(OffloadRefused, match="args without a NUL"):
        await offload.command("echo", ["a\0b"])
    with pytest.raises(OffloadRefused, match="at most 200 args"):
        await offload.command("echo", ["a"] * 201)
    with pytest.raises(OffloadRefused, match="it cannot be sent: expected content"):
        await offload.call(f"{HERE}.double", object())
    with pytest.raises(TypeError, match="no option 'retries'"):
        await offload.request("https://api.example.com/", retries=3)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["hang", "drip"])
async def test_the_timeout_is_for_the_whole(server: OddServer, name: str) -> None:
    with pytest.raises(OffloadTimeout, match=r"^the request did not end within 0\.3 s$"):
        await offload.request(f"{server.url}/{name}", timeout=0.3)


async def test_a_call_and_a_command_that_take_too_long() -> None:
    with pytest.raises(OffloadTimeout, match=r"^the call did not end within 0\.2 s$"):
        await offload.call(f"{HERE}.sleep", timeout=0.2)
    with pytest.raises(OffloadTimeout, match=r"^the command did not end within 0\.2 s$"):
        await offload.command("sh", ["sleep 1000"], timeout=0.2)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("fail", "raised ValueError$"),
        ("own_timeout", "raised TimeoutError$"),
        ("unsendable", r"the answer cannot be sent: expected content\['result'\]\['a'\] to be None, bool"),
        ("large", "the answer cannot be sent: expected content of at most 1048576 bytes"),
    ],
)
async def test_a_call_that_fails_is_a_failure(name: str, sentence: str) -> None:
    with pytest.raises(OffloadFailed, match=sentence) as failed:
        await offload.call(f"{HERE}.{name}")
    assert type(failed.value) is OffloadFailed
    assert "hunter2" not in str(failed.value)


async def test_an_offload_may_offload(server: OddServer) -> None:
    assert (await offload.call(f"{HERE}.nested", f"{server.url}/status/418")).result == 418


async def test_the_answer_goes_to_a_channel_or_a_group(server: OddServer) -> None:
    async with running():
        id = await offload.request(f"{server.url}/status/418", reply_channel="answered")
        answer = await answered()
        reply = offload.read_reply(answer)
        assert isinstance(reply, offload.RequestReply)
        assert (answer["type"], answer["id"], answer["ok"], reply.status) == ("offload.reply", id, True, 418)
        await get_channel_layer().group_add("everyone", "answered")
        id = await offload.call(f"{HERE}.fail", reply_group="everyone")
        answer = await answered()
        assert (answer["id"], answer["ok"], answer["failure"]) == (id, False, "failed")
        with pytest.raises(OffloadFailed, match="fail raised ValueError"):
            offload.read_reply(answer)


async def test_a_delayed_one_is_done_when_it_is_due(server: OddServer) -> None:
    async with running():
        id = await offload.command("echo", ["late"], delay=100, reply_channel="answered")
        assert ANSWERED.empty()
        answer = await answered()
        assert (answer["id"], answer["stdout"]) == (id, b"-- late\n")
        await asyncio.to_thread(
            offload.request_sync, f"{server.url}/echo", delay=timedelta(0), reply_channel="answered"
        )
        assert (await answered())["status"] == 200


@pytest.mark.parametrize(
    "message",
    [
        {"ok": True, "id": "x"},
        {"ok": True},
        {},
        {"ok": False, "failure": [], "error": "x"},
        {"ok": True, "id": "1", "status": 200, "headers": 5},
    ],
)
def test_what_is_no_answer_is_a_failure(message: dict[str, Any]) -> None:
    with pytest.raises(OffloadFailed):
        offload.read_reply(message)


# -- limits -----------------------------------------------------------------------------------------------------------


def limited(settings: Settings, offload_options: dict[str, Any], **limits: int) -> None:
    settings.DELAYSERVER = {"STORE": "memory", "OFFLOAD": {**offload_options, **limits}}


async def test_no_more_wait_than_may(settings: Settings, offload_options: dict[str, Any], server: OddServer) -> None:
    limited(settings, offload_options, MAX_WAITING=3)
    asked = [offload.request(f"{server.url}/hang", timeout=0.5) for _ in range(10)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    sentences = [str(outcome) for outcome in outcomes]
    full = "more than DELAYSERVER['OFFLOAD']['MAX_WAITING'] (3) offloads of this process wait at once"
    assert sentences.count(full) == 7
    assert sum(isinstance(outcome, OffloadTimeout) for outcome in outcomes) == 3


async def test_no_more_run_at_once_than_may(
    settings: Settings, offload_options: dict[str, Any], server: OddServer
) -> None:
    limited(settings, offload_options, MAX_AT_ONCE=2)
    asked = [offload.request(f"{server.url}/hang", timeout=0.5) for _ in range(6)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(outcome, OffloadTimeout) for outcome in outcomes)
    assert len(server.seen) == 2


async def test_no_more_commands_run_at_once_than_may(
    settings: Settings, offload_options: dict[str, Any], tmp_path: Path
) -> None:
    limited(settings, offload_options, MAX_PROCESSES=1)
    alone = f"mkdir {tmp_path}/taken && sleep 0.05 && rmdir {tmp_path}/taken"
    ended = await asyncio.gather(*(offload.command("sh", [alone]) for _ in range(6)))
    assert [one.returncode for one in ended] == [0] * 6


async def test_the_log_has_one_line_of_a_failure_and_no_payload(
    server: OddServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "delayserver")
    with pytest.raises(OffloadFailed):
        await offload.request(f"{server.url}/reset?token=hunter2", headers={"Authorization": "hunter2"})
    [record] = [one for one in caplog.records if one.name == "delayserver"]
    assert vars(record)["event"] == "offload_failed"
    assert "hunter2" not in caplog.text


async def test_changed_settings_count_at_once(settings: Settings, offload_options: dict[str, Any]) -> None:
    assert (await offload.call(f"{HERE}.double", 1)).result == 2
    limited(settings, {**offload_options, "CALLABLES": []})
    assert get_offload_settings().callables == frozenset()
    with pytest.raises(OffloadRefused, match="CALLABLES"):
        await offload.call(f"{HERE}.double", 1)
