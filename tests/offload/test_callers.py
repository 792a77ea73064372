"""Callers of every kind: views under ASGI and WSGI, sync and async, and those that give up."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path

from delayserver import offload
from delayserver.errors import OffloadFailed

from .server import TEXT, OddServer

pytestmark = pytest.mark.usefixtures("in_memory")


async def async_view(request: HttpRequest) -> HttpResponse:
    reply = await offload.request(request.GET["url"])
    return HttpResponse(reply.body)


def sync_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(offload.request_sync(request.GET["url"]).body)


def bridged_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(async_to_sync(offload.request)(request.GET["url"]).body)


urlpatterns = [path("async/", async_view), path("sync/", sync_view), path("bridged/", bridged_view)]


@pytest.mark.urls("tests.offload.test_callers")
@pytest.mark.parametrize("view", ["async", "sync", "bridged"])
async def test_every_kind_of_view_under_asgi(server: OddServer, view: str) -> None:
    answers = await asyncio.gather(
        *(AsyncClient().get(f"/{view}/", {"url": f"{server.url}/chunked"}) for _ in range(20))
    )
    assert [answer.content for answer in answers] == [TEXT] * 20


@pytest.mark.urls("tests.offload.test_callers")
@pytest.mark.parametrize("view", ["async", "sync", "bridged"])
def test_every_kind_of_view_under_wsgi(server: OddServer, view: str) -> None:
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda _: Client().get(f"/{view}/", {"url": f"{server.url}/chunked"}), range(20)))
    assert [answer.content for answer in answers] == [TEXT] * 20


async def test_a_sync_twin_does_not_hold_up_an_event_loop(server: OddServer) -> None:
    for act, argument in ((offload.request_sync, server.url), (offload.call_sync, "a.b"), (offload.command_sync, "c")):
        with pytest.raises(SynchronousOnlyOperation, match="instead"):
            act(argument)


async def test_without_httpx_the_cure_is_told(server: OddServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.delitem(sys.modules, "delayserver.offload.fetching", raising=False)
    with pytest.raises(OffloadFailed, match=r'needs httpx, .*pip install "delayserver\[offload\]"'):
        await offload.request(f"{server.url}/status/200")
    assert (await offload.command("cat", input=b"a")).stdout == b"a"


async def test_a_caller_that_gives_up_ends_the_work(server: OddServer) -> None:
    waiting = asyncio.create_task(offload.request(f"{server.url}/hang", timeout=50))
    async with asyncio.timeout(10):
        while not server.seen:
            await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await offload.request(f"{server.url}/status/200")).status == 200
