"""Pollers under a real delay server and real workers: step after step, none lost, none twice."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from channels.worker import Worker as StockWorker
from django.db import transaction

from delayserver import Retry, asend_later
from delayserver.consumers import Again, Done, Fail, PollingConsumer
from delayserver.consumers.polling import _opened
from delayserver.consumers.steps import Step
from delayserver.errors import InvalidMessage
from delayserver.progress import Progress, tending, watching
from delayserver.progress.board import Board
from delayserver.progress.making import joined
from delayserver.progress.record import Record, Run, Update, updated
from delayserver.progress.stepping import Beginning
from delayserver.progress.tending import step_id
from delayserver.progress.watching import watch
from delayserver.sending import asend_as
from delayserver.stores import get_stores
from delayserver.stores.base import Named, Store
from delayserver.stores.entries import Change
from delayserver.stores.shelves import Shelves

from ..support.wait import await_for
from ..worker.conftest import PATIENCE, Site

MS = timedelta(milliseconds=1)
SOON = Retry(max_attempts=3, backoff=20 * MS, jitter=0.0)

pytestmark = pytest.mark.redis_keys("asgispecific.*$inflight")  # channels_redis leaves it where a receive is cut off


@pytest.fixture(params=["memory", "redis", "redis and postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Poller(PollingConsumer):
    """`says` says what becomes of a poll, by its number; `polls` are the steps that were looked at."""

    every = 10
    retry = SOON
    says: ClassVar[Callable[[int], Any]]
    polls: ClassVar[list[int]]
    running: ClassVar[int]
    most: ClassVar[int]

    async def poll(self, job: Any) -> Any:
        with self.counted():
            await asyncio.sleep(job.get("takes", 0))
            return type(self).said()

    def counted(self) -> Any:
        return _Counted(type(self), self.work.record.run.step)

    @classmethod
    def said(cls) -> Any:
        said = cls.says(len(cls.polls))
        if isinstance(said, BaseException) and not isinstance(said, Fail | Again):
            raise said
        return said


class SyncPoller(Poller):
    def poll(self, job: Any) -> Any:
        with self.counted():
            time.sleep(job.get("takes", 0))
            self.progress(len(self.polls))
            return type(self).said()


class _Counted:
    def __init__(self, poller: type[Poller], step: int) -> None:
        self.poller, self.step = poller, step

    def __enter__(self) -> None:
        self.poller.polls.append(self.step)
        self.poller.running += 1
        self.poller.most = max(self.poller.most, self.poller.running)

    def __exit__(self, *error: object) -> None:
        self.poller.running -= 1


def poller(says: Callable[[int], Any], base: type[Poller] = Poller, **options: Any) -> type[Poller]:
    return type("Export", (base,), {"says": staticmethod(says), "polls": [], "running": 0, "most": 0, **options})


def done_after(number: int) -> Callable[[int], Any]:
    return lambda n: Done({"polls": n}) if n >= number else Again()


def application(consumer: type[Poller]) -> ProtocolTypeRouter:
    return ProtocolTypeRouter({"channel": ChannelNameRouter({"polls": consumer.as_asgi()})})


@pytest.fixture
def work(site: Site, board: Board) -> Callable[[type[Poller]], Any]:
    """Begin to serve, with so many workers."""

    async def begin(consumer: type[Poller], workers: int = 1) -> None:
        site.serve()
        for _ in range(workers):
            await site.work("polls", application=application(consumer))

    return begin


async def ended(p: Progress) -> Progress:
    async def look() -> bool:
        await p.arefresh()
        return p.is_over

    await await_for(look, PATIENCE, "the end")
    return p


# -- what it may say ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [Poller, SyncPoller])
async def test_it_is_looked_at_until_it_is_done(site: Site, work: Any, base: type[Poller]) -> None:
    consumer = poller(done_after(4), base)
    await work(consumer)
    p = await consumer.start("polls", {}, total=4)
    assert (p.state, p.total) == ("pending", 4)
    await ended(p)
    assert (p.state, p.result, p.error) == ("succeeded", {"polls": 4}, "")
    await site.is_empty()
    assert consumer.polls == [1, 2, 3, 4]


@pytest.mark.parametrize("again", [Again(5), Again(5 * MS), Again()])
@pytest.mark.parametrize("raised", [False, True])
async def test_again_may_be_returned_or_raised(site: Site, work: Any, again: Again, raised: bool) -> None:
    def says(n: int) -> Any:
        if n < 3 and raised:
            raise again
        return again if n < 3 else Done()

    consumer = poller(says)
    await work(consumer)
    assert (await ended(await consumer.start("polls", {}))).state == "succeeded"
    assert consumer.polls == [1, 2, 3]


async def test_fail_is_a_dead_letter_and_requeued_it_goes_on(site: Site, work: Any) -> None:
    consumer = poller(lambda n: Fail("no such report\nat all") if n == 2 else done_after(4)(n))
    await work(consumer)
    p = await ended(await consumer.start("polls", {}))
    assert (p.state, p.error) == ("failed", "no such report\\nat all")
    [letter] = await site.letters(1)
    assert letter.reason == "failed: no such report\\nat all"
    assert await Shelves(get_stores()).requeue([letter.id]) == [True]
    await await_for(lambda: len(consumer.polls) == 4, PATIENCE, "it to go on")
    assert (await ended(p)).state == "succeeded"
    assert (p.error, consumer.polls) == ("", [1, 2, 2, 3])


async def test_what_is_raised_is_tried_again_and_its_attempt_is_shown(site: Site, work: Any) -> None:
    seen: list[int] = []
    consumer = poller(lambda n: ValueError("password=hunter2") if n in (2, 3) else done_after(5)(n))
    await work(consumer)
    p = await consumer.start("polls", {})
    end = watch(p.id, lambda frame: frame and seen.append(frame["attempt"]))  # type: ignore[func-returns-value, arg-type]
    await ended(p)
    end()
    assert (p.state, p.attempt, consumer.polls) == ("succeeded", 1, [1, 2, 2, 2, 3])
    assert set(seen) == {1, 2, 3}
    await site.is_empty()


@pytest.mark.parametrize(
    ("says", "error", "polls"),
    [
        (
            lambda n: ValueError("the shop is closed, password=hunter2"),
            "ValueError: the shop is closed, password=***",
            3,
        ),
        (lambda n: SystemExit("enough"), "SystemExit: enough", 3),
        (lambda n: asyncio.CancelledError(), "CancelledError", 3),
        (lambda n: None, "TypeError: expected poll to return Done, Again or Fail, got NoneType", 1),
        (lambda n: Done({1, 2}), "InvalidMessage: expected a result that JSON can hold, got set", 3),
        (
            lambda n: Done("x" * 70_000),
            "InvalidMessage: expected a result of at most 65536 bytes as JSON, got 70002",
            3,
        ),
        (lambda n: LookupError("given up on"), "LookupError: given up on", 1),
    ],
    ids=["raised", "exit", "cancelled", "None", "no JSON", "long", "given up on"],
)
async def test_what_fails_time_and_again_has_failed(
    site: Site, work: Any, says: Callable[[int], Any], error: str, polls: int
) -> None:
    consumer = poller(says, retry=Retry(max_attempts=3, backoff=5 * MS, give_up_on=(LookupError,)))
    await work(consumer)
    p = await ended(await consumer.start("polls", {}))
    assert p.state == "failed"
    assert p.error.startswith(error)
    assert len(consumer.polls) == polls
    [letter] = await site.letters(1)
    assert letter.reason.startswith(f"failed: {error}")


# -- how long ----------------------------------------------------------------------------------------------------


async def test_what_hangs_is_timed_out(site: Site, work: Any) -> None:
    consumer = poller(done_after(9), max_duration=300 * MS)
    await work(consumer)
    p = await ended(await consumer.start("polls", {"takes": 60}))
    assert (p.state, p.error) == ("timed_out", "it was not done within 0:00:00.300000")
    await site.is_empty()


async def test_what_comes_too_late_is_not_looked_at(site: Site, work: Any) -> None:
    consumer = poller(done_after(1), max_duration=1 * MS)
    await work(consumer)
    p = await ended(await consumer.start("polls", {}, delay=50))
    assert (p.state, consumer.polls) == ("timed_out", [])


async def test_a_step_that_is_longer_than_every_is_never_run_by_two(site: Site, work: Any) -> None:
    consumer = poller(done_after(5), every=1)
    await work(consumer, workers=3)
    await ended(await consumer.start("polls", {"takes": 0.05}))
    assert (consumer.polls, consumer.most) == ([1, 2, 3, 4, 5], 1)


# -- what comes twice, and what comes not at all -----------------------------------------------------------------


async def test_copies_of_a_step_do_nothing(site: Site, work: Any) -> None:
    """On the same channel, to three workers, before the first is over."""

    class Copied(Poller):
        async def poller_step(self, message: Mapping[str, Any]) -> Any:
            copies = 0 if message.get("copied") else 5
            for _ in range(copies):
                await get_channel_layer().send("polls", {**message, "copied": True})
            return await super().poller_step(message)

    consumer = poller(done_after(6), Copied, every=0)
    await work(consumer, workers=3)
    p = await ended(await consumer.start("polls", {"takes": 0.02}))
    assert p.state == "succeeded"
    await site.is_empty()
    assert (Counter(consumer.polls), consumer.most) == (Counter(range(1, 7)), 1)


async def test_a_run_that_died_is_run_again(site: Site, work: Any, board: Board) -> None:
    """Its worker has begun it, and was killed: the layer gives a copy to another, and the store a new one."""
    consumer = poller(done_after(3), retry=Retry(max_attempts=3, backoff=5 * MS, ack_timeout=300 * MS))
    p = await consumer.start("polls", {})
    assert await asyncio.wrap_future(board.write(p.id, Beginning(Run(1, 1)))) is not None
    await work(consumer)
    await ended(p)
    assert (p.state, consumer.polls) == ("succeeded", [1, 2, 3])


async def test_a_step_whose_ack_was_lost_is_not_looked_at_again(site: Site, work: Any) -> None:
    lost: list[int] = []

    class Lossy(Poller):
        async def poller_step(self, message: Mapping[str, Any]) -> Any:
            outcome = await super().poller_step(message)
            if message["step"] == 2 and not lost:
                lost.append(2)
                raise ConnectionError("the ack was lost")
            return outcome

    consumer = poller(done_after(4), Lossy, every=200)
    await work(consumer)
    p = await ended(await consumer.start("polls", {}))
    assert (p.state, consumer.polls, lost) == ("succeeded", [1, 2, 3, 4], [2])
    await site.is_empty()


async def test_a_run_that_was_overtaken_puts_no_next_step(site: Site, work: Any, board: Board) -> None:
    async def says_after_another_began(self: Poller, job: Any) -> Any:
        self.polls.append(self.work.record.run.step)
        await asyncio.wrap_future(board.write(self.work.id, Beginning(Run(1, 7))))
        return Again()

    consumer = poller(done_after(9), poll=says_after_another_began)
    await work(consumer)
    p = await consumer.start("polls", {})
    await await_for(lambda: consumer.polls, PATIENCE, "it to run")
    await site.is_empty()
    await p.arefresh()
    assert (p.state, p.record.run, consumer.polls) == ("running", Run(1, 7), [1])


async def test_what_is_no_step_is_a_dead_letter_and_disturbs_nobody(site: Site, work: Any) -> None:
    consumer = poller(done_after(10))
    await work(consumer)
    p = await consumer.start("polls", {})
    bad: list[dict[str, Any]] = [
        {},
        {"progress": "\n" * 300, "step": 1, "job": None},
        {"progress": [], "step": 1, "job": None},
        {"progress": p.id, "step": True, "job": None},
        {"progress": p.id, "step": 1},
    ]
    for content in bad:
        await asend_later("polls", {"type": "poller.step", **content}, delay=0, retry=SOON)
    await get_channel_layer().send("polls", {"type": "poller.step", "progress": p.id, "step": 1, "job": None})
    assert {letter.reason for letter in await site.letters(6)} == {
        "failed: expected a poller's step as its store hands it over, got something else"
    }
    assert (await ended(p)).state == "succeeded"


async def test_what_is_noted_in_a_step_is_shown_though_the_next_begins_elsewhere(
    site: Site, work: Any, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next step's worker is another process, with a board of its own."""
    other = Board()

    class Noting(Poller):
        async def poll(self, job: Any) -> Any:
            step = self.work.record.run.step
            self.polls.append(step)
            self.progress(step, text=f"step {step}")
            return Again()

    go_on = Step._go_on

    async def go_on_elsewhere(self: Step, delay: int | None) -> None:
        await go_on(self, delay)
        step = self._run.step + 1
        begun = await asyncio.wrap_future(other.write(self._record.id, Beginning(Run(step, 1))))
        assert begun is not None
        assert begun.text == f"step {step - 1}"

    monkeypatch.setattr(Step, "_go_on", go_on_elsewhere)
    consumer = poller(done_after(9), Noting, every=60_000)
    await work(consumer)
    try:
        p = await consumer.start("polls", {})
        await await_for(lambda: consumer.polls, PATIENCE, "it to run")

        async def begun() -> bool:
            await p.arefresh()
            return p.record.run.step == 2

        await await_for(begun, PATIENCE, "the next step")
        assert p.text == "step 1"
    finally:
        other.close()


# -- started and stopped -----------------------------------------------------------------------------------------


async def test_any_number_of_starts_with_a_key_are_one_poller(site: Site, work: Any) -> None:
    gate = asyncio.Event()
    consumer = poller(lambda n: Done() if gate.is_set() else Again())
    await work(consumer, workers=2)
    starts = [consumer.start("polls", {}, key="export:7", user=n) for n in range(50)]
    ids = {p.id for p in await asyncio.gather(*starts)}
    assert len(ids) == 1
    await await_for(lambda: len(consumer.polls) > 10, PATIENCE, "ten steps")
    other = await consumer.start("polls", {}, key="export:8")
    assert other.id not in ids
    p = await consumer.start("polls", {}, key="export:7")
    assert {p.id} == ids
    gate.set()
    await ended(p)
    await ended(other)
    again = await ended(await consumer.start("polls", {}, key="export:7"))
    assert again.id not in ids
    await site.is_empty()


async def test_a_step_that_is_put_late_keeps_no_other_from_being_put(site: Site, work: Any) -> None:
    """As one of many starts does that was slow: the first step is there again, and waits."""

    async def says_after_the_first_was_put_again(self: Poller, job: Any) -> Any:
        self.polls.append(self.work.record.run.step)
        if self.polls == [1, 2, 3]:
            first = self.step_message("polls", job, self.work.id, 1, delay=50)
            assert (await asend_as(step_id(self.work.id, 1), first)).created
        return Done() if self.work.record.run.step == 6 else Again()

    consumer = poller(done_after(6), poll=says_after_the_first_was_put_again, every=1)
    await work(consumer)
    p = await ended(await consumer.start("polls", {}))
    await site.is_empty()
    assert (p.state, consumer.polls) == ("succeeded", [1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize(
    ("option", "given", "sentence"),
    [
        ("every", 0.5, r"expected every to be whole milliseconds .* got 0.5 \(did you mean timedelta\(seconds=0.5\)"),
        ("every", None, "expected every to be whole milliseconds"),
        ("max_duration", 60, "expected max_duration to be a timedelta or None, got 60"),
        ("adaptive", -timedelta(seconds=1), "expected adaptive to be from 0"),
        ("stop_when_unwatched", 1, "expected stop_when_unwatched to be True or False, got 1"),
        ("retry", 3, "expected retry to be a Retry, got 3"),
    ],
)
def test_an_option_that_is_none_is_refused_where_the_class_is_made(option: str, given: object, sentence: str) -> None:
    with pytest.raises(InvalidMessage, match=sentence):
        type("Wrong", (PollingConsumer,), {option: given})


async def test_an_option_that_turns_out_to_be_none_fails_the_work(site: Site, work: Any) -> None:
    class Turning(Poller):
        every = property(lambda self: "soon")

    consumer = poller(lambda n: Again(), Turning)
    await work(consumer)
    p = await ended(await consumer.start("polls", {}))
    assert (p.state, p.error[:43]) == ("failed", "InvalidMessage: expected every to be whole ")


async def test_what_nobody_knows_is_refused(board: Board) -> None:
    with pytest.raises(TypeError, match="unexpected 'totl'"):
        await Poller.start("polls", {}, totl=3)  # type: ignore[call-arg]


async def test_a_start_that_died_before_its_first_step_was_put_is_made_good_by_the_next(
    site: Site, work: Any, board: Board
) -> None:
    consumer = poller(done_after(2))
    await work(consumer)
    _, record = consumer._first("polls", {}, 0, {})
    dead = await asyncio.wrap_future(board.submit(_opened("polls", "export:9", record)))
    p = await consumer.start("polls", {}, key="export:9")
    assert p.id == dead.id
    assert (await ended(p)).state == "succeeded"
    assert consumer.polls == [1, 2]


def _cancelled(record: Record, now: int) -> Record | None:
    return updated(record, Update({"state": "cancelled"}), now)


async def test_who_is_late_for_work_that_is_over_by_then_begins_anew_and_is_kept(
    site: Site, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the key and its change, another has come, and gone."""
    ours, theirs, change = Record("ours", poller=True), Record("theirs", poller=True), board.change
    rivals = [theirs]

    async def change_after_a_rival(store: Store, wanted: Change) -> int:
        if wanted.name.startswith("key.") and rivals:
            await joined(board, "export", rivals.pop())
            assert await asyncio.wrap_future(board.write("theirs", _cancelled))
        return await change(store, wanted)

    monkeypatch.setattr(board, "change", change_after_a_rival)
    made = await asyncio.wrap_future(board.submit(joined(board, "export", ours)))
    assert made.id == "ours"
    await asyncio.sleep(1.2)  # longer than what is forgotten lasts
    assert await Progress.aget("ours") is not None


async def test_who_cancels_it_ends_it(site: Site, work: Any) -> None:
    consumer = poller(lambda n: Again())
    await work(consumer)
    p = await consumer.start("polls", {})
    await await_for(lambda: len(consumer.polls) > 2, PATIENCE, "some steps")
    assert await p.acancel()
    await site.is_empty()
    assert (await ended(p)).state == "cancelled"


async def test_start_sync_waits_for_the_commit(site: Site, work: Any, kind: str, board: Board) -> None:
    alias = get_stores()[0].database
    if alias is None:
        return
    consumer = poller(done_after(2))
    await work(consumer)

    def begin(fails: bool) -> Progress:
        with transaction.atomic(using=alias):
            p = consumer.start_sync("polls", {}, key="one")
            if fails:
                transaction.set_rollback(True, using=alias)
        return p

    rolled_back = await sync_to_async(begin)(True)
    await site.is_empty()
    assert (await Progress.aget(rolled_back.id)).state == "pending"  # type: ignore[union-attr]
    p = await ended(await sync_to_async(begin)(False))
    assert (p.id, p.state, consumer.polls) == (rolled_back.id, "succeeded", [1, 2])


# -- watched, or not ---------------------------------------------------------------------------------------------


async def test_nobody_watches_and_it_waits_until_somebody_does(
    site: Site, work: Any, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tending, "WATCHED", 300 * MS)
    monkeypatch.setattr(tending, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.05)
    consumer = poller(lambda n: Again(), stop_when_unwatched=True)
    await work(consumer)
    p = await consumer.start("polls", {})

    async def paused() -> bool:
        await p.arefresh()
        return p.record.paused

    for _ in range(2):
        end = watch(p.id, lambda record: None)
        seen = len(consumer.polls)
        await await_for(lambda seen=seen: len(consumer.polls) > seen + 3, PATIENCE, "steps")  # type: ignore[misc]
        end()
        await await_for(paused, PATIENCE, "it to wait")
    seen = len(consumer.polls)

    def looked_again() -> bool:
        watching.attend(p.record)  # as who looks by HTTP does, time and again
        return len(consumer.polls) > seen

    await await_for(looked_again, PATIENCE, "a step")


async def test_who_watches_is_told_that_its_step_was_purged_and_a_requeued_one_goes_on(
    site: Site, work: Any, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tending, "DEAD_SECONDS", 0.05)
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.05)
    consumer = poller(lambda n: Again() if n < 2 else Done(), every=3_600_000)
    await work(consumer)
    p = await consumer.start("polls", {})
    store, step = get_stores()[0], step_id(p.id, 2)

    async def put() -> Any:
        return await store.aget(Named(step))

    waiting = await await_for(put, PATIENCE, "the second step")
    told: list[str] = []
    end = watch(p.id, lambda frame: frame and told.append(frame["error"]))  # type: ignore[func-returns-value, arg-type]
    await asyncio.sleep(0.5)
    assert tending.DEAD not in told, "its step is there"
    assert await store.acancel([Named(step)]) == [True]
    await await_for(lambda: tending.DEAD in told, PATIENCE, "the word that it is dead")
    end()
    await store.aput([waiting.anew(store.clock.now())])
    await await_for(lambda: consumer.polls == [1, 2], PATIENCE, "it to go on")
    assert (await ended(p)).state == "succeeded"


# -- under Channels' own worker ----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:async_to_sync was passed a non-async-marked callable")
@pytest.mark.parametrize(
    ("kind", "base"),
    [("redis", Poller), ("redis", SyncPoller), ("redis and postgres", SyncPoller)],
    indirect=["kind"],
)
async def test_under_runworker_a_long_step_is_not_handed_over_again(
    site: Site, board: Board, kind: str, base: type[Poller]
) -> None:
    """Though a plain ``def`` holds the thread in which a database is asked."""
    consumer = poller(done_after(1), base, retry=Retry(max_attempts=3, ack_timeout=1500 * MS))
    worker = StockWorker(application(consumer), ["polls"], get_channel_layer())
    tasks = [asyncio.create_task(one()) for one in (worker.handle, worker.application_checker)]
    site.serve()
    try:
        p = await ended(await consumer.start("polls", {"takes": 3.5}))
        await site.is_empty()
        assert (p.state, consumer.polls, p.record.run) == ("succeeded", [1], Run(1, 1))
    finally:
        futures = [*tasks, *(one["future"] for one in worker.application_instances.values())]
        for future in futures:
            future.cancel()
        await asyncio.gather(*futures, return_exceptions=True)
