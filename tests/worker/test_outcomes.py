"""What becomes of a handler is what becomes of its message, on every layer and store."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from channels.layers import get_channel_layer

from delayserver import Retry, aget, asend_later
from delayserver.message import at_instant

from ..support.wait import await_for
from .conftest import PATIENCE, SOON, Site


def numbers(site: Site) -> list[int]:
    return [message["__delay__"]["attempt"] for message in site.seen]


async def test_who_returns_is_done_with_its_message(site: Site) -> None:
    site.serve()
    await site.work()
    receipt = await asend_later("jobs", {"type": "probe", "n": 1}, delay=0, retry=SOON)
    await site.send("jobs", type="probe", n=2)
    assert {message["n"] for message in await site.has_seen(2)} == {1, 2}
    await site.is_empty()
    assert await aget(receipt.id) is None
    await site.stop()
    assert len(site.seen) == 2
    assert await site.store.dead_letters(10) == []


async def test_who_raises_gets_it_again_later_with_another_attempt(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.serve()
    await site.work()
    await asend_later("plain", {"type": "crash", "n": 1}, delay=0, retry=SOON)
    await site.has_seen(1)
    site.mended.add(1)
    await site.has_seen(2)
    await site.is_empty()
    assert numbers(site) == [1, 2]
    [line] = [record for record in caplog.records if "raised" in record.getMessage()]
    assert "a handler on channel plain raised RuntimeError: the shop is closed" in line.getMessage()
    assert line.getMessage().endswith("attempt 1 of 3, again in 0.0 s")


async def test_backoff_doubles_from_the_failure_on(site: Site) -> None:
    site.serve()
    await site.work("plain")
    retry = Retry(max_attempts=4, backoff=timedelta(hours=1), jitter=0.0)
    receipt = await asend_later("plain", {"type": "crash"}, delay=0, retry=retry)
    await site.has_seen(1)

    hour = at_instant(receipt.due) + timedelta(hours=1)

    async def is_later() -> bool:
        waiting = await aget(receipt.id)  # None while it is reclaimed
        return waiting is not None and waiting.eta is not None and hour <= waiting.eta < hour + timedelta(minutes=5)

    await await_for(is_later, PATIENCE, "it to wait for its backoff")


async def test_out_of_attempts_is_a_dead_letter_that_says_what_and_where_and_no_secret(site: Site) -> None:
    site.serve()
    await site.work()
    await asend_later("plain", {"type": "crash", "n": 7}, delay=0, retry=SOON)
    [letter] = await site.letters(1)
    assert numbers(site) == [1, 2, 3]
    assert letter.reason.startswith(
        "out of attempts: 3, and the last raised RuntimeError: the shop is closed, password="
    )
    assert "tests.worker.conftest.Plain.crash, line " in letter.reason
    assert "hunter2" not in letter.reason
    assert "/" not in letter.reason
    await site.is_empty()


@pytest.mark.parametrize("channel", ["jobs", "plain"])
async def test_an_error_after_which_no_attempt_helps_is_the_last(site: Site, channel: str) -> None:
    site.serve()
    await site.work()
    retry = Retry(max_attempts=9, backoff=timedelta(milliseconds=10), give_up_on=(RuntimeError,))
    await asend_later(channel, {"type": "crash"}, delay=0, retry=retry)
    [letter] = await site.letters(1)
    assert numbers(site) == [1]
    assert letter.reason.startswith("raised RuntimeError: the shop is closed")


@pytest.mark.parametrize("raises", [False, True], ids=["returned", "raised"])
@pytest.mark.parametrize("delay", [None, 5], ids=["after its backoff", "after a delay"])
async def test_again_spends_no_attempt(site: Site, raises: bool, delay: int | None) -> None:
    site.serve()
    await site.work()
    content = {"type": "again", "times": 6, "raises": raises, **({} if delay is None else {"delay": delay})}
    await asend_later("jobs", content, delay=0, retry=SOON)
    await site.has_seen(7)
    await site.is_empty()
    assert numbers(site) == [1] * 7
    assert await site.store.dead_letters(10) == []


@pytest.mark.parametrize("raises", [False, True], ids=["returned", "raised"])
async def test_a_message_without_retry_comes_again_as_it_was(site: Site, raises: bool) -> None:
    site.serve()
    await site.work()
    content = {"type": "again", "times": 2, "raises": raises, "delay": 5}
    await site.send("jobs", **content)
    assert await site.has_seen(3) == [content] * 3
    await site.is_empty()


async def test_again_without_a_delay_or_retry_comes_after_a_second(site: Site) -> None:
    await site.work()
    await site.send("jobs", type="again", times=1)
    await site.has_seen(1)
    assert await await_for(site.store.count, PATIENCE, "it to wait") == 1
    due = await site.store.next_due()
    assert due is not None
    assert 0 < due - (await site.store.aread_clock()).now() <= 1_000


@pytest.mark.parametrize("raises", [False, True], ids=["returned", "raised"])
@pytest.mark.parametrize("retry", [{}, {"retry": SOON}], ids=["without retry", "with retry"])
async def test_fail_is_the_end_of_it(site: Site, raises: bool, retry: dict[str, Any]) -> None:
    site.serve()
    await site.work()
    await asend_later("jobs", {"type": "fail", "raises": raises}, delay=0, **retry)
    [letter] = await site.letters(1)
    assert letter.reason == "failed: there is no such report"
    assert len(site.seen) == 1
    await site.is_empty()


@pytest.mark.parametrize("channel", ["jobs", "plain"])
async def test_a_message_without_retry_that_raises_is_kept_and_runs_when_it_is_requeued(
    site: Site, channel: str
) -> None:
    site.serve()
    await site.work()
    await site.send(channel, type="crash", n=3)
    [letter] = await site.letters(1)
    assert letter.reason.startswith("raised RuntimeError: the shop is closed, password=*** (in tests.worker.conftest.")
    site.mended.add(3)
    assert await site.store.requeue([letter], (await site.store.aread_clock()).now()) == [True]
    assert await site.has_seen(2) == [{"type": "crash", "n": 3}] * 2
    await site.is_empty()
    assert await site.store.dead_letters(10) == []


async def test_what_was_handed_over_again_or_is_done_is_left_out_as_a_copy(site: Site) -> None:
    """A copy that came late, as one that lay on a slow channel past its ack timeout."""
    site.serve()
    await site.work()
    await asend_later("jobs", {"type": "crash"}, delay=0, retry=SOON)
    await site.has_seen(1)
    copy = dict(site.seen[0])
    await site.letters(1)  # three attempts
    await get_channel_layer().send("jobs", copy)
    await site.send("jobs", type="probe")
    await site.has_seen(4)
    await site.stop()
    assert [message["type"] for message in site.seen] == ["crash"] * 3 + ["probe"]
