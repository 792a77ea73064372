"""Offloads as users run them: a real Redis, workers of their own, callers of every kind."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient
from django.urls import path
from pytest_django import Settings

from delayserver import events, offload
from delayserver.conf import PUBSUB_LAYER
from delayserver.errors import OffloadFailed, OffloadRefused, OffloadTimeout
from delayserver.offload.asking import get_hub

from ..support.process import Process
from .functions import HERE
from .server import TEXT, OddServer

Start = Callable[..., Process]


@pytest.fixture
def env(on_redis: str, offload_options: dict[str, Any]) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "tests.offload.settings",
        "DELAYSERVER_TEST_REDIS": on_redis,
        "DELAYSERVER_TEST_SETTINGS": json.dumps({"STORE": "redis", "OFFLOAD": offload_options}),
    }


READY = {"runtasks": "^worker ready", "runworker": "Running worker"}


@pytest.fixture(params=READY)
def worker(request: pytest.FixtureRequest, start_process: Start, env: dict[str, str]) -> Process:
    """Ours; and the worker that every project has, where that routes the channel itself."""
    process = start_process([sys.executable, "-m", "django", request.param, "asgi.offload"], env=env)
    process.wait_for_line(READY[request.param])
    return process


def test_a_project_need_not_route_the_channel(start_process: Start, env: dict[str, str]) -> None:
    """Nor have any application at all."""
    env["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    process = start_process([sys.executable, "-m", "django", "runtasks", "asgi.offload"], env=env)
    process.wait_for_line("^worker ready: channels asgi.offload \\(100 at once\\), ")
    assert async_to_sync(offload.call)(f"{HERE}.double", 21).result == 42


ODD: dict[str, object] = {  # what each path comes to
    "status/204": 204,
    "status/304": 304,
    "status/418": 418,
    "status/599": 599,
    "chunked": 200,
    "gzipped": 200,
    "cookies": 200,
    "hang": OffloadTimeout,
    "drip": OffloadTimeout,
    "reset": OffloadFailed,
    "reset_within": OffloadFailed,
    "garbage": OffloadFailed,
    "bomb": OffloadFailed,
    "redirect?to=/status/201": 201,
    "redirect?to=http://169.254.169.254/": OffloadRefused,
}


def told(outcome: object) -> object:
    if isinstance(outcome, offload.RequestReply):
        return outcome.status
    return type(outcome)


async def test_three_hundred_at_once_get_right_answers_or_clear_failures(worker: Process, server: OddServer) -> None:
    names = [*ODD] * 20
    asked = [offload.request(f"{server.url}/{name}", timeout=8) for name in names]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert len(outcomes) == 300
    assert Counter(zip(names, map(told, outcomes), strict=True)) == Counter({(name, ODD[name]): 20 for name in ODD})
    for name, outcome in zip(names, outcomes, strict=True):
        if isinstance(outcome, offload.RequestReply) and name in ("chunked", "gzipped"):
            assert outcome.body == TEXT
        if isinstance(outcome, offload.RequestReply) and name == "cookies":
            assert [value for key, value in outcome.headers if key == "set-cookie"] == ["a=1; Path=/", "b=2"]
        if isinstance(outcome, Exception):
            assert str(outcome)
    assert worker.running
    assert "Traceback" not in worker.output


async def test_each_kind_is_done_in_the_worker(worker: Process) -> None:
    assert (await offload.call(f"{HERE}.double", 21)).result == 42
    assert (await offload.call(f"{HERE}.thread_name")).result.startswith("delayserver offload")
    assert (await offload.command("cat", input=b"abc")).stdout == b"abc"
    with pytest.raises(OffloadFailed, match=r"raised ValueError$"):
        await offload.call(f"{HERE}.fail")
    worker.wait_for_line("ValueError: the password is hunter2")  # in its own log


async def test_the_pubsub_layer_serves_as_well(
    start_process: Start, env: dict[str, str], on_redis: str, settings: Settings, server: OddServer
) -> None:
    host = {"address": on_redis, "socket_timeout": None}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": PUBSUB_LAYER, "CONFIG": {"hosts": [host]}}}
    env["DELAYSERVER_TEST_LAYERS"] = json.dumps(settings.CHANNEL_LAYERS)
    worker = start_process([sys.executable, "-m", "django", "runworker", "asgi.offload"], env=env)
    worker.wait_for_line("Running worker")
    async with asyncio.timeout(20):
        while not await succeeds(f"{server.url}/status/200"):  # it may not have subscribed yet
            await asyncio.sleep(0.01)
    asked = [offload.request(f"{server.url}/chunked") for _ in range(50)]
    assert [reply.body for reply in await asyncio.gather(*asked)] == [TEXT] * 50


async def test_a_consumer_names_where_the_answer_goes(worker: Process, server: OddServer) -> None:
    own = await get_channel_layer().new_channel()
    id = await offload.request(f"{server.url}/status/418", reply_channel=own)
    async with asyncio.timeout(10):
        answer = await get_channel_layer().receive(own)
    assert (answer["type"], answer["id"], answer["status"]) == ("offload.reply", id, 418)


async def test_a_delayed_one_is_done_by_delay_server_and_worker(
    worker: Process, start_process: Start, env: dict[str, str]
) -> None:
    start_process([sys.executable, "-m", "django", "rundelay"], env=env).wait_for_line("^delay server ready")
    own = await get_channel_layer().new_channel()
    id = await offload.command("echo", ["late"], delay=50, reply_channel=own)
    async with asyncio.timeout(10):
        answer = await get_channel_layer().receive(own)
    assert (answer["id"], answer["stdout"]) == (id, b"-- late\n")


# -- connections -----------------------------------------------------------------------------------------------------


def connections_made(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        return int(client.info("stats")["total_connections_received"])


def by_sync_twin(url: str) -> int:
    return int(offload.request_sync(url, timeout=30).status)


def by_bridge(url: str) -> int:
    return int(async_to_sync(offload.request)(url, timeout=30).status)


@pytest.mark.parametrize("ask", [by_sync_twin, by_bridge])
def test_a_hundred_from_sync_threads_open_a_handful_of_connections(
    worker: Process, server: OddServer, on_redis: str, ask: Callable[[str], int]
) -> None:
    ask(f"{server.url}/status/200")  # the worker's own connections
    with ThreadPoolExecutor(25) as threads:
        before = connections_made(on_redis)
        statuses = list(threads.map(ask, [f"{server.url}/status/418"] * 100))
        made = connections_made(on_redis) - before - 1  # that of asking
    assert statuses == [418] * 100
    assert made <= 6, made


async def async_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse((await offload.request(request.GET["url"])).body)


urlpatterns = [path("view/", async_view)]


@pytest.mark.urls("tests.offload.test_processes")
async def test_an_async_view_awaits_it(worker: Process, server: OddServer) -> None:
    asked = [AsyncClient().get("/view/", {"url": f"{server.url}/chunked"}) for _ in range(30)]
    assert [answer.content for answer in await asyncio.gather(*asked)] == [TEXT] * 30


def test_a_forked_process_has_a_hub_of_its_own(worker: Process, server: OddServer) -> None:
    assert by_sync_twin(f"{server.url}/status/200") == 200
    child = os.fork()
    if not child:
        try:
            assert by_sync_twin(f"{server.url}/status/418") == 418
            os._exit(0)
        finally:
            os._exit(1)
    assert by_sync_twin(f"{server.url}/status/204") == 204
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# -- what is not there -----------------------------------------------------------------------------------------------


async def test_without_a_worker_the_caller_is_told_what_to_start(on_redis: str, server: OddServer) -> None:
    with pytest.raises(OffloadTimeout, match=r"is `manage\.py runtasks asgi\.offload` running\?$"):
        await offload.request(f"{server.url}/status/200", timeout=0.2)
    assert server.seen == []


async def test_a_channel_that_stays_full_is_told(on_redis: str, server: OddServer) -> None:
    layer = get_channel_layer()
    for _ in range(layer.capacity):
        await layer.send("asgi.offload", {"type": "offload.call"})
    with pytest.raises(OffloadFailed, match=r"could not be handed to a worker: channel asgi\.offload is full"):
        await offload.request(f"{server.url}/status/200", timeout=0.2)


async def test_a_late_answer_is_dropped(on_redis: str) -> None:
    before = events.counts["offload_late"]
    with pytest.raises(OffloadTimeout):
        await offload.call(f"{HERE}.double", 1, timeout=0.1)
    hub = get_hub()
    reply_to = await asyncio.wrap_future(hub.submit(hub._answers.channel()))
    late = {"type": "offload.reply", "id": "unknown", "ok": True, "result": 1}
    await get_channel_layer().send(reply_to, late)
    async with asyncio.timeout(10):
        while events.counts["offload_late"] == before:
            await asyncio.sleep(0.01)


async def test_connections_that_were_cut_are_made_again(
    worker: Process, start_process: Start, env: dict[str, str], on_redis: str, server: OddServer
) -> None:
    url = f"{server.url}/status/200"
    assert (await offload.request(url)).status == 200
    worker.end()  # the stock worker would end with its connection
    with redis.Redis.from_url(on_redis) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    again = start_process([sys.executable, "-m", "django", "runworker", "asgi.offload"], env=env)
    again.wait_for_line("Running worker")
    async with asyncio.timeout(20):
        while not await succeeds(url):
            await asyncio.sleep(0.01)


async def succeeds(url: str) -> bool:
    try:
        return bool((await offload.request(url, timeout=2)).status == 200)
    except OffloadFailed as error:
        assert str(error)
        return False
