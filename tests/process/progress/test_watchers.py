"""Whoever watches sees the present first, and the end always: however late, early, often or badly it comes."""

from __future__ import annotations

import asyncio
import random
import time
import urllib.error

import pytest
from django.core import signing
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from .stage import LIMIT, Stage

AT_THE_END, SPREAD_SECONDS, SOON_SECONDS = 500, 0.4, 1.0
WATCHERS, UPDATES, UPDATE_SECONDS = 200, 1_000, 10.0
MOST_GROWTH = 8_000_000  # bytes of a web process that has 200 watchers, between the middle and the end


async def test_who_leaves_and_returns_sees_the_present_and_what_follows(stage: Stage) -> None:
    started = await stage.start_export(steps=15, name="left", key="left")
    seen = await stage.watch(started.token, until=5)
    assert seen.code is None
    again = await stage.start_export(steps=15, name="left", key="left")
    assert again.id == started.id
    watched = await stage.watch(again.token)
    assert watched.frames[0]["state"] == "running"
    assert watched.frames[0]["current"] >= 5
    assert watched.steps == list(range(watched.steps[0], 16))
    assert watched.last["state"] == "succeeded"
    steps = [one.step for one in stage.steps() if one.id == started.id]
    assert steps == list(range(1, 16)), "no second poller"


async def test_who_comes_after_the_end_sees_it_at_once(stage: Stage) -> None:
    started = await stage.start_export(steps=2, name="over")
    await stage.watch(started.token)
    before = time.monotonic()
    watched = await stage.watch(started.token)
    assert time.monotonic() - before <= 0.3
    assert [frame["state"] for frame in watched.frames] == ["succeeded"]
    assert watched.code == 1000
    again = await stage.start_export(steps=2, name="over")
    assert again.id != started.id


async def test_who_comes_at_the_very_end_sees_it(stage: Stage) -> None:
    """With random offsets: before it is stored, between that and what is published, and after."""
    for _ in range(5):
        begun = await asyncio.to_thread(stage.ask, "begin/")
        end = asyncio.get_running_loop().time() + 1.0
        comers = [asyncio.create_task(come(stage, begun["token"], end)) for _ in range(AT_THE_END // 5)]
        await asyncio.sleep(end - asyncio.get_running_loop().time())
        await asyncio.to_thread(stage.ask, f"finish/{begun['id']}/")
        ended = time.monotonic()
        for state, code, came, closed in await asyncio.gather(*comers):
            assert (state, code) == ("succeeded", 1000)
            assert closed - max(came, ended) <= SOON_SECONDS


async def come(stage: Stage, token: str, end: float) -> tuple[str, int | None, float, float]:
    """The last state that is seen, the close code, when it came, and when it was closed."""
    await asyncio.sleep(end + random.uniform(-SPREAD_SECONDS, SPREAD_SECONDS) - asyncio.get_running_loop().time())
    came = time.monotonic()
    watched = await stage.watch(token)
    return watched.last["state"], watched.code, came, time.monotonic()


async def test_two_hundred_watch_a_thousand_updates(stage: Stage) -> None:
    begun = await asyncio.to_thread(stage.ask, "begin/")
    watchers = [asyncio.create_task(stage.watch(begun["token"])) for _ in range(WATCHERS)]
    began = time.monotonic()
    mover = stage.start("tests.process.progress.mover", begun["id"], str(UPDATES), str(UPDATE_SECONDS))
    await stage.watch(begun["token"], until=UPDATES // 2)
    middle = stage.memory()
    seen = await asyncio.gather(*watchers)
    took, grown = time.monotonic() - began, stage.memory() - middle
    assert mover.wait() == 0
    for watched in seen:
        assert (watched.last["state"], watched.last["current"], watched.code) == ("succeeded", UPDATES, 1000)
        versions = [frame["version"] for frame in watched.frames]
        assert versions == sorted(set(versions))
        assert watched.steps == sorted(watched.steps)
        assert len(watched.frames) <= 20 * (took + 1)
    assert grown <= MOST_GROWTH


BAD = {
    "none": "",
    "no token": "nothing",
    "another's folder": "../../start",
    "encoded": "%2e%2e%2fstart",
    "long": "x" * 300,
    "very long": "x" * 5_000,
    "NUL": "%00",
    "another salt": signing.dumps(["1", ""], key="tests", salt="session"),
    "nobody's work": signing.dumps(["nobody", ""], key="tests", salt="delayserver.progress"),
    "no list": signing.dumps({"id": 1}, key="tests", salt="delayserver.progress"),
}


@pytest.mark.parametrize("token", BAD.values(), ids=BAD.keys())
async def test_without_a_good_token_nothing_is_shown(token: str, stage: Stage) -> None:
    assert await refused(stage, token) == 4404


@pytest.mark.parametrize("token", ["", "x", "x" * 300, "..%2f"])
def test_without_a_good_token_the_view_shows_nothing_either(token: str, stage: Stage) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        stage.ask(f"progress/{token}/")
    with error.value as answer:
        assert answer.code == 404


async def test_another_s_and_an_expired_token_show_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    started = await stage.start_export(steps=3, name="mine")
    theirs = signing.dumps([started.id, "7"], key="tests", salt="delayserver.progress")
    assert await refused(stage, theirs) == 4403
    monkeypatch.setattr("django.core.signing.time.time", lambda: 1_000_000_000.0)
    old = signing.dumps([started.id, ""], key="tests", salt="delayserver.progress")
    assert await refused(stage, old) == 4403
    assert (await stage.watch(started.token)).last["state"] == "succeeded"


async def refused(stage: Stage, token: str) -> int | None:
    """The code that it is closed with, before anything was sent."""
    async with asyncio.timeout(LIMIT), connect(stage.address(token)) as socket:
        with pytest.raises(ConnectionClosed):
            pytest.fail(f"it was sent {await socket.recv()!r}")
    return socket.close_code


def test_no_server_complained(stage: Stage) -> None:
    """After all that browsers did to it; in whatever order the tests ran, of what came before."""
    assert "Traceback" not in stage.web.output
