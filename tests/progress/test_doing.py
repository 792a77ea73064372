"""``with progress()``: what becomes of the work is what becomes of the code inside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from channels.consumer import AsyncConsumer, SyncConsumer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter

from delayserver import Retry, asend_later
from delayserver.consumers import AckingMixin, Again, Fail
from delayserver.errors import InvalidMessage, StoreUnavailable
from delayserver.progress import Progress, progress
from delayserver.progress.board import Board
from delayserver.progress.watching import watch

from ..support.wait import await_for
from ..worker.conftest import PATIENCE, Site

MS = timedelta(milliseconds=1)
SOON = Retry(max_attempts=3, backoff=5 * MS, jitter=0.0)

pytestmark = pytest.mark.redis_keys("asgispecific.*$inflight")  # channels_redis leaves it where a receive is cut off


@pytest.fixture(params=["memory", "redis and sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def plain(act: Callable[[Progress], Any], *args: Any, **known: Any) -> None:
    with progress(*args, **known) as p:
        act(p)


async def awaited(act: Callable[[Progress], Any], *args: Any, **known: Any) -> None:
    async with progress(*args, **known) as p:
        act(p)


@pytest.fixture(params=["with", "with in async code", "async with"])
def do(request: pytest.FixtureRequest, board: Board) -> Callable[..., Any]:
    """Runs code inside of it, in each of the ways."""

    async def run(act: Callable[[Progress], Any], *args: Any, **known: Any) -> None:
        if request.param == "with":
            await asyncio.to_thread(plain, act, *args, **known)
        elif request.param == "async with":
            await awaited(act, *args, **known)
        else:
            plain(act, *args, **known)

    return run


async def found(id: str) -> Progress:
    p = await Progress.aget(id)
    assert p is not None
    return p


def nothing(p: Progress) -> None:
    """It is done."""


def raises(error: BaseException) -> Callable[[Progress], None]:
    def act(p: Progress) -> None:
        p.update(1)
        raise error

    return act


# -- anywhere ----------------------------------------------------------------------------------------------------


async def test_it_runs_and_has_succeeded(do: Callable[..., Any]) -> None:
    states: list[str] = []

    def act(p: Progress) -> None:
        states.append(Progress.get(p.id).state)  # type: ignore[union-attr]
        p.update(3, 4)
        p.result = {"rows": (1, 2)}

    await do(act, id="mine", total=9, text="begins")
    p = await found("mine")
    assert states == ["running"]
    assert (p.state, p.current, p.total, p.text, p.result) == ("succeeded", 3, 4, "begins", {"rows": [1, 2]})


@pytest.mark.parametrize("known", [True, False])
async def test_by_its_id_it_is_that_one_or_becomes_it(do: Callable[..., Any], known: bool) -> None:
    if known:
        await Progress.acreate(id="mine", text="made before")
    await do(nothing, "mine", text="made now")
    p = await found("mine")
    assert (p.state, p.text) == ("succeeded", "made before" if known else "made now")


async def test_what_is_raised_goes_on_and_is_told_without_secrets(do: Callable[..., Any]) -> None:
    error = ValueError("token=abc is no good\nsecond line")
    with pytest.raises(ValueError, match="is no good") as caught:
        await do(raises(error), "mine")
    assert caught.value is error
    p = await found("mine")
    assert (p.state, p.error, p.current) == ("failed", "ValueError: token=*** is no good", 1)


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (Again(5), "running", ""),
        (Fail("no such report"), "failed", "no such report"),
        (SystemExit(3), "failed", "it was interrupted"),
        (asyncio.CancelledError(), "failed", "it was interrupted"),
        (GeneratorExit(), "failed", "it was interrupted"),
    ],
)
async def test_what_else_may_end_it(board: Board, error: BaseException, state: str, reason: str) -> None:
    for id, do in (("a", plain), ("b", awaited)):
        with pytest.raises(type(error)):
            if do is plain:
                plain(raises(error), id)
            else:
                await awaited(raises(error), id)
        p = await found(id)
        assert (p.state, p.error, p.current) == (state, reason, 1)


async def test_what_is_cancelled_from_outside_has_failed(board: Board) -> None:
    begun = asyncio.Event()

    async def view() -> None:
        async with progress("mine"):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(view())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await found("mine")).error == "it was interrupted"


async def test_one_inside_another(do: Callable[..., Any]) -> None:
    def act(outer: Progress) -> None:
        with pytest.raises(KeyError):
            plain(raises(KeyError("a")), "inner")
        plain(nothing, "second")
        outer.update(1)

    await do(act, "outer")
    states = {id: (await found(id)).state for id in ("outer", "inner", "second")}
    assert states == {"outer": "succeeded", "inner": "failed", "second": "succeeded"}


async def test_what_is_over_stays_over_but_what_failed_may_go_on(do: Callable[..., Any]) -> None:
    p = await Progress.acreate(id="mine")
    await p.acancel()
    await do(nothing, "mine")
    assert (await found("mine")).state == "cancelled"
    with pytest.raises(ValueError, match="no"):
        await do(raises(ValueError("no")), "again")
    await do(nothing, "again")
    p = await found("again")
    assert (p.state, p.error) == ("succeeded", "")


@pytest.mark.parametrize("work", [7, "", "a/b", b"mine", "x" * 81, object()])
async def test_what_is_no_work_is_refused(do: Callable[..., Any], work: Any) -> None:
    with pytest.raises(InvalidMessage, match="expected id to be 1 to 80 ASCII letters"):
        await do(nothing, work)


async def test_where_the_store_is_away_what_was_raised_goes_on_and_is_told_later(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = False

    def missing(act: Callable[..., Any]) -> Callable[..., Any]:
        async def ask(questions: Any) -> Any:
            if away:
                raise StoreUnavailable("it is away")
            return await act(questions)

        return ask

    batchings: list[Any] = [*board._changes.values(), *board._reads.values()]
    for batching in batchings:
        monkeypatch.setattr(batching, "_act", missing(batching._act))
    with pytest.raises(ValueError, match="no"):
        async with progress("mine"):
            away = True
            raise ValueError("no")
    with pytest.raises(ValueError, match="no"):
        away = False
        with progress("other"):
            away = True
            raise ValueError("no")
    away = False

    async def told() -> bool:
        return {(await found(id)).state for id in ("mine", "other")} == {"failed"}

    await await_for(told, PATIENCE, "what was raised to be told")
    with pytest.raises(StoreUnavailable):
        async with progress("third"):
            away = True
    away = False


# -- in a consumer -----------------------------------------------------------------------------------------------


class Plain(AsyncConsumer):  # type: ignore[misc]
    async def build(self, message: dict[str, Any]) -> None:
        async with progress(message["progress"]) as p:
            await p.update(text="building")
            self.site.seen.append(message)
            if len(self.site.seen) in message["raises"]:
                raise ValueError("the shop is closed")

    async def plainly(self, message: dict[str, Any]) -> None:
        with progress(message["progress"]):
            self.site.seen.append(message)
            if len(self.site.seen) in message["raises"]:
                raise ValueError("the shop is closed")

    async def snooze(self, message: dict[str, Any]) -> None:
        async with progress(message["progress"]):
            self.site.seen.append(message)
            if len(self.site.seen) == 1:
                raise Again(5)

    async def fail(self, message: dict[str, Any]) -> None:
        async with progress(message["progress"]):
            raise Fail("no such report")

    async def hang(self, message: dict[str, Any]) -> None:
        async with progress(message["progress"]):
            self.site.seen.append(message)
            if len(self.site.seen) == 1:
                await asyncio.Event().wait()


class Acking(AckingMixin, Plain):
    """The same."""


class Sync(SyncConsumer):  # type: ignore[misc]
    def build(self, message: dict[str, Any]) -> None:
        with progress(message["progress"]):
            self.site.seen.append(message)
            if len(self.site.seen) in message["raises"]:
                raise ValueError("the shop is closed")


class SyncAcking(AckingMixin, Sync):
    """The same."""


@pytest.fixture(params=[Plain, Acking, Sync, SyncAcking])
async def working(request: pytest.FixtureRequest, site: Site, board: Board) -> AsyncIterator[type]:
    await serve(request.param, site)
    yield request.param


async def serve(consumer: type, site: Site) -> None:
    bound = type("Bound", (consumer,), {"site": site})
    router = ProtocolTypeRouter({"channel": ChannelNameRouter({"work": bound.as_asgi()})})  # type: ignore[attr-defined]
    site.serve()
    await site.work("work", application=router, grace=0.1)


async def send(type: str, *raises: int, **options: Any) -> tuple[Progress, list[tuple[str, int]]]:
    """The work, and the states and attempts that were shown of it."""
    p = await Progress.acreate()
    shown: list[tuple[str, int]] = []
    watch(p.id, lambda frame: frame and shown.append((frame["state"], frame["attempt"])))  # type: ignore[func-returns-value, arg-type]
    await asend_later("work", {"type": type, "progress": p.id, "raises": list(raises)}, delay=0, **options)
    return p, shown


async def over(p: Progress) -> Progress:
    async def look() -> bool:
        await p.arefresh()
        return p.is_over

    await await_for(look, PATIENCE, "the end")
    return p


async def test_while_there_are_attempts_it_goes_on(site: Site, working: type) -> None:
    p, shown = await send("build", 1, 2, retry=SOON)
    await over(p)
    assert (p.state, p.attempt, p.error) == ("succeeded", 3, "")
    assert {state for state, _ in shown} <= {"pending", "running", "succeeded"}
    await site.is_empty()


async def test_with_the_last_attempt_it_has_failed(site: Site, working: type) -> None:
    p, _ = await send("build", 1, 2, 3, retry=SOON)
    await over(p)
    assert (p.state, p.attempt, p.error) == ("failed", 3, "ValueError: the shop is closed")
    assert len(await site.letters(1)) == 1


@pytest.mark.parametrize("retry", [{}, {"retry": Retry(max_attempts=3, give_up_on=(ValueError,))}])
async def test_where_there_is_no_other_attempt_it_has_failed(site: Site, working: type, retry: dict[str, Any]) -> None:
    p, _ = await send("build", 1, **retry)
    assert (await over(p)).error == "ValueError: the shop is closed"
    assert len(site.seen) == 1


async def test_a_plain_with_in_async_code_knows_of_attempts_too(site: Site, board: Board) -> None:
    await serve(Acking, site)
    p, _ = await send("plainly", 1, 2, retry=SOON)
    await over(p)
    assert (p.state, p.attempt) == ("succeeded", 3)


async def test_again_and_fail(site: Site, board: Board) -> None:
    await serve(Acking, site)
    p, shown = await send("snooze", retry=SOON)
    await over(p)
    assert (p.state, p.attempt, "failed" in {state for state, _ in shown}) == ("succeeded", 1, False)
    p, _ = await send("fail", retry=SOON)
    assert (await over(p)).error == "no such report"


async def test_who_is_cut_off_goes_on_elsewhere(site: Site, board: Board) -> None:
    await serve(Acking, site)
    p, shown = await send("hang", retry=SOON)
    await site.has_seen(1)
    await site.stop()
    await p.arefresh()
    assert p.state == "running"
    await serve(Acking, site)
    await over(p)
    assert (p.state, "failed" in {state for state, _ in shown}) == ("succeeded", False)
