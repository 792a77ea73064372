"""What a browser gets: the present state, then each that follows, until the last."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.urls import path
from pytest_django import Settings

from delayserver.consumers import ProgressConsumer
from delayserver.progress import Progress, watching
from delayserver.progress import board as boards
from delayserver.progress.board import Board, group_of, name_of
from delayserver.progress.record import OVER, Record, Update
from delayserver.progress.tokens import SALT, Token
from delayserver.stores import get_stores
from delayserver.stores.entries import Change

from ..support.wait import await_for
from .conftest import tasks_of

PATIENCE = 10.0
pytestmark = pytest.mark.redis_keys("asgispecific.*$inflight")  # channels_redis leaves it where a receive is cut off


@pytest.fixture(params=["memory", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which layer it is makes a difference, which store does not."""
    return str(request.param)


class Browser:
    """`frames` is what it was sent, `code` with what it was closed."""

    def __init__(self, token: str, consumer: type[ProgressConsumer] = ProgressConsumer, user: object = None) -> None:
        router = URLRouter(
            [path("ws/progress/<path:token>/", consumer.as_asgi()), path("ws/progress//", consumer.as_asgi())]
        )
        self.frames: list[dict[str, Any]] = []
        self.code: int | None = None
        self.socket = WebsocketCommunicator(router, f"/ws/progress/{token}/")
        if user is not None:
            self.socket.scope["user"] = user

    async def open(self) -> Browser:
        connected, _ = await self.socket.connect(timeout=PATIENCE)
        assert connected
        return self

    async def next(self) -> dict[str, Any] | None:
        """The next frame; None for the end."""
        output = await self.socket.receive_output(timeout=PATIENCE)
        if output["type"] == "websocket.close":
            self.code = output["code"]
            return None
        self.frames.append(json.loads(output["text"]))
        return self.frames[-1]

    async def until(self, **values: object) -> dict[str, Any]:
        """The first frame that has these."""
        while True:
            frame = await self.next()
            assert frame is not None, f"it was closed with {self.code}, after {self.frames}"
            if values.items() <= frame.items():
                return frame

    async def end(self) -> list[dict[str, Any]]:
        while await self.next() is not None:
            pass
        return self.frames


@asynccontextmanager
async def browsing(token: str, *args: Any, **options: Any) -> AsyncIterator[Browser]:
    browser = await Browser(token, *args, **options).open()
    try:
        yield browser
    finally:
        await browser.socket.disconnect()


@contextmanager
def elsewhere() -> Iterator[Board]:
    """The board of another process, as far as this one can tell."""
    other = Board()
    try:
        yield other
    finally:
        other.close()


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that drops whatever is sent to a group."""

    class Dropping:
        async def send(self, *args: object) -> None:
            """It is gone."""

    monkeypatch.setattr(boards, "outbox", Dropping)


# -- what is shown -----------------------------------------------------------------------------------------------


async def test_the_present_comes_first_and_the_last_closes_it(board: Board) -> None:
    p = await Progress.acreate(total=3, text="about to begin")
    async with browsing(p.token) as browser:
        assert await browser.next() == p.frame()
        await p.update(1)
        await browser.until(state="running", current=1, total=3)
        await p.asucceed({"url": "/r/7"})
        await browser.end()
        assert (browser.frames[-1], browser.code) == (p.frame(), 1000)
    assert all(later["version"] > earlier["version"] for earlier, later in pairwise(browser.frames))
    assert all(set(frame) == set(p.frame()) for frame in browser.frames)


async def test_what_is_over_is_shown_once(board: Board) -> None:
    p = await Progress.acreate()
    await p.afail("no such report")
    async with browsing(p.token) as browser:
        assert await browser.end() == [p.frame()]
        assert (browser.code, browser.frames[0]["error"]) == (1000, "no such report")


async def test_what_the_browser_says_is_left_unread(board: Board) -> None:
    p = await Progress.acreate()
    async with browsing(p.token) as browser:
        await browser.next()
        await browser.socket.send_to(text_data="}{" * 1_000)
        await browser.socket.send_to(bytes_data=b"\x00")
        await p.update(4)
        await browser.until(current=4)


# -- what is not -------------------------------------------------------------------------------------------------

BAD = {
    "malformed": "x",
    "up a folder": "../../etc/passwd",
    "empty": "",
    "NUL": "a%00b",
    "not ASCII": "%C3%BC%F0%9F%98%80",
    "no UTF-8": "%FF%FE",
    "long": "a" * 300,
    "longer": "a:" * 4_000,
    "another salt": signing.dumps(["known", ""], salt="another"),
    "another shape": signing.dumps({"id": "known"}, salt=SALT),
    "no text": signing.dumps([["known"], 7], salt=SALT),
    "another key": signing.dumps(["known", ""], salt=SALT, key="another"),
    "no id": Token("../known").sign(),
    "unknown": Token("unknown").sign(),
    "changed": Token("known").sign()[:-1] + "~",
}


@pytest.mark.parametrize("token", BAD.values(), ids=BAD.keys())
async def test_who_has_no_token_is_closed_out_and_told_nothing(
    board: Board, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    await Progress.acreate(id="known")
    with caplog.at_level(logging.INFO):
        async with browsing(token) as browser:
            assert (await browser.end(), browser.code) == ([], 4404)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO] == []


async def test_a_token_that_has_expired_or_is_anothers_is_refused(
    board: Board, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = await Progress.acreate(user=7)
    for token, user in ((p.token, None), (p.token, 8), (p.token_for(8), 7)):
        async with browsing(token, user=user) as browser:
            assert (await browser.end(), browser.code) == ([], 4403)
    for token, user in ((p.token, 7), (p.token_for(8), 8), (p.token_for(None), None)):
        async with browsing(token, user=user) as browser:
            assert await browser.next() == p.frame()
    old = p.token
    settings.DELAYSERVER = {**settings.DELAYSERVER, "PROGRESS": {"TOKEN_AGE": timedelta(seconds=1)}}
    later = time.time() + 2
    monkeypatch.setattr("django.core.signing.time.time", lambda: later)
    async with browsing(old, user=7) as browser:
        assert (await browser.end(), browser.code) == ([], 4403)


class Sync(ProgressConsumer):
    answer: Any = True

    def has_permission(self, scope: Mapping[str, Any], progress: Progress) -> bool:
        if isinstance(self.answer, Exception):
            raise self.answer
        assert scope["type"] == "websocket"
        return bool(self.answer)


class Async(Sync):
    async def has_permission(self, scope: Mapping[str, Any], progress: Progress) -> bool:  # type: ignore[override]
        return super().has_permission(scope, progress)


@pytest.mark.parametrize("consumer", [Sync, Async])
async def test_a_project_may_say_who_sees_what(
    board: Board, consumer: type[Sync], monkeypatch: pytest.MonkeyPatch
) -> None:
    p = await Progress.acreate()
    async with browsing(p.token, consumer) as browser:
        assert await browser.next() == p.frame()
    for no in (False, None, PermissionDenied("not you")):
        monkeypatch.setattr(consumer, "answer", no)
        async with browsing(p.token, consumer) as browser:
            assert (await browser.end(), browser.code) == ([], 4403)
    monkeypatch.setattr(consumer, "answer", ZeroDivisionError("a bug of the project's"))
    browser = await Browser(p.token, consumer).open()
    with pytest.raises(ZeroDivisionError):
        await browser.socket.future
    assert browser.socket.output_queue.empty()


# -- layers that forget ------------------------------------------------------------------------------------------


async def test_what_the_layer_drops_arrives_all_the_same(board: Board, silent: None) -> None:
    p = await Progress.acreate()
    async with browsing(p.token) as browser:
        await browser.next()
        with elsewhere() as other:
            other.note(p.id, Update({"state": "running", "current": 5}))
            await browser.until(current=5)
            other.write(p.id, lambda record, now: Record(record.id, "cancelled", version=record.version + 1))
            await browser.end()
    assert (browser.code, browser.frames[-1]["state"]) == (1000, "cancelled")


async def test_frames_out_of_order_never_go_back(board: Board) -> None:
    p = await Progress.acreate()
    layer, old = get_channel_layer(), p.frame()
    async with browsing(p.token) as browser:
        await browser.next()
        for n in (1, 2, 3):
            await p.update(n)
            await p.arefresh()
        await browser.until(current=3)
        await layer.group_send(group_of(p.id), {"type": "progress.frame", "frame": old})
        await layer.group_send(group_of(p.id), {"type": "progress.frame", "frame": {**p.frame(), "current": 2}})
        await p.asucceed()
        await browser.end()
    assert [frame["version"] for frame in browser.frames] == sorted({frame["version"] for frame in browser.frames})


async def test_who_is_slow_gets_the_newest(board: Board) -> None:
    gate, waiting = asyncio.Event(), asyncio.Event()

    class Slow(ProgressConsumer):
        async def send(self, *args: Any, **options: Any) -> None:
            if options.get("text_data"):
                waiting.set()
                await gate.wait()
            await super().send(*args, **options)

    p = await Progress.acreate()
    async with browsing(p.token, Slow) as browser:
        await waiting.wait()
        for n in range(30):
            await p.update(n)
            await p.arefresh()
        await p.asucceed()
        gate.set()
        await browser.end()
    assert browser.frames[-1] == p.frame()
    assert len(browser.frames) <= 6


async def test_twenty_a_second_at_most_however_many_write(board: Board) -> None:
    times: list[float] = []

    class Timed(ProgressConsumer):
        async def _send_one(self, frame: Any) -> None:
            times.append(asyncio.get_running_loop().time())
            await super()._send_one(frame)

    p = await Progress.acreate()
    async with browsing(p.token, Timed) as browser:
        with elsewhere() as other:
            for n in range(60):
                await asyncio.wrap_future(other.write(p.id, lambda record, now, n=n: _at(record, n)))  # type: ignore[misc]
            await p.asucceed()
        await browser.end()
    assert browser.frames[-1]["state"] == "succeeded"
    assert all(later - earlier >= 1 for earlier, later in zip(times, times[20:], strict=False))


def _at(record: Record, n: int) -> Record:
    from delayserver.progress.record import changed

    return changed(record, 0, state="running", current=n)


async def test_a_store_that_hangs_holds_up_no_other_work(
    board: Board, silent: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of several hosts that does not answer."""
    p, stuck = await Progress.acreate(), await Progress.acreate()
    look, asked = board.look, 0

    async def look_or_hang(id: str) -> Record | None:
        nonlocal asked
        if id == stuck.id and (asked := asked + 1) > 1:
            await asyncio.Event().wait()
        return await look(id)

    async with browsing(p.token) as browser, browsing(stuck.token) as other:
        await other.next()
        await browser.next()
        monkeypatch.setattr(board, "look", look_or_hang)
        with elsewhere() as elsewhere_board:
            for n in (1, 2):
                elsewhere_board.note(p.id, Update({"current": n}))
                await browser.until(current=n)
    assert asked <= 2, "who has no answer yet is not asked again"


# -- nothing is left ---------------------------------------------------------------------------------------------


async def nothing_is_left(board: Board, id: str) -> None:
    await await_for(lambda: not watching._of_this_process()._told, PATIENCE, "nobody to be watching")
    await await_for(lambda: not tasks_of(board), PATIENCE, "the board to rest")
    sockets = [task for task in asyncio.all_tasks() if task.get_name() == "delayserver progress socket"]
    assert sockets == []
    layer = get_channel_layer()
    if hasattr(layer, "groups"):
        assert layer.groups.get(group_of(id), {}) == {}
    else:
        members = await layer.connection(layer.consistent_hash(group_of(id))).zcard(layer._group_key(group_of(id)))
        assert members == 0


async def test_who_leaves_leaves_nothing(board: Board) -> None:
    p = await Progress.acreate()
    async with browsing(p.token) as one, browsing(p.token) as two:
        for browser in (one, two):
            await browser.next()
        assert len(watching._of_this_process()._told[p.id]) == 2
    await nothing_is_left(board, p.id)


async def test_who_leaves_in_the_middle_of_a_frame_leaves_nothing(board: Board) -> None:
    class Stuck(ProgressConsumer):
        async def send(self, *args: Any, **options: Any) -> None:
            if options.get("text_data"):
                await asyncio.Event().wait()
            await super().send(*args, **options)

    p = await Progress.acreate()
    async with browsing(p.token, Stuck):
        await p.update(1)
    await nothing_is_left(board, p.id)


async def test_who_is_cut_off_leaves_no_watch(board: Board) -> None:
    p = await Progress.acreate()
    browser = await Browser(p.token).open()
    await browser.next()
    assert watching._of_this_process()._told
    browser.socket.future.cancel()
    await asyncio.gather(browser.socket.future, return_exceptions=True)
    await nothing_is_left(board, p.id)


async def test_what_is_purged_while_it_is_watched_is_not_there_any_more(board: Board) -> None:
    p = await Progress.acreate()
    async with browsing(p.token) as browser:
        await browser.next()
        gone = Change(name_of(p.id), None, b"{}", 1)
        await asyncio.wrap_future(board.submit(board.change(get_stores()[0], gone)))
        assert (await browser.end(), browser.code) == ([p.frame()], 4404)
    assert p.state not in OVER


async def test_a_socket_outlives_a_change_of_settings(board: Board, settings: Settings) -> None:
    """In a test of the project's, say: to leave then raises nothing."""
    p = await Progress.acreate()
    async with browsing(p.token) as browser:
        await browser.next()
        settings.DELAYSERVER = {**settings.DELAYSERVER, "PROGRESS": {}}
