"""`Delays` follows what consumers say, as ``runtasks`` does, and by its own clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from channels.consumer import AsyncConsumer, SyncConsumer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter

from delayserver import Retry, send_later
from delayserver.consumers import AckingMixin, Again, Fail
from delayserver.testing import Delays

MINUTE = timedelta(minutes=1)
RETRY = Retry(max_attempts=3, backoff=MINUTE, jitter=0.0)


class Work:
    """What each handler does, one after the other."""

    def __init__(self, *acts: Any) -> None:
        self.acts, self.attempts = list(acts), list[int]()

    def do(self, message: dict[str, Any]) -> Any:
        self.attempts.append(message.get("__delay__", {}).get("attempt", 0))
        act = self.acts.pop(0) if self.acts else None
        if isinstance(act, ValueError):
            raise act
        return act


class Async(AckingMixin, AsyncConsumer):  # type: ignore[misc]
    def __init__(self, work: Work) -> None:
        self.work = work

    async def probe(self, message: dict[str, Any]) -> Any:
        return self.work.do(message)


class Sync(AckingMixin, SyncConsumer):  # type: ignore[misc]
    def __init__(self, work: Work) -> None:
        self.work = work

    def probe(self, message: dict[str, Any]) -> Any:
        return self.work.do(message)


@pytest.fixture(params=[Async, Sync])
def consumer(request: pytest.FixtureRequest) -> Any:
    return request.param


def entered(consumer: Any, work: Work) -> Delays:
    return Delays(application=ProtocolTypeRouter({"channel": ChannelNameRouter({"jobs": consumer.as_asgi(work=work)})}))


def test_what_raises_comes_again_after_its_backoff_and_is_done(consumer: Any) -> None:
    work = Work(ValueError("no"), ValueError("no"))
    with entered(consumer, work) as delays:
        send_later("jobs", {"type": "probe"}, delay=0, retry=RETRY)
        delays.advance(0)
        assert work.attempts == [1]
        delays.advance(59_999)
        assert work.attempts == [1]
        delays.advance(1)
        assert work.attempts == [1, 2]
        delays.advance(2 * MINUTE)
        assert work.attempts == [1, 2, 3]
        delays.assert_nothing_scheduled()
        assert delays.dead_letters == []


def test_out_of_attempts_is_a_dead_letter(consumer: Any) -> None:
    work = Work(*[ValueError("no")] * 3)
    with entered(consumer, work) as delays:
        send_later("jobs", {"type": "probe"}, delay=0, retry=RETRY)
        delays.advance(hours=1)
        [letter] = delays.dead_letters
        assert letter.reason.startswith("out of attempts: 3, and the last raised ValueError: no (in tests.testing.")
        delays.assert_nothing_scheduled()


def test_again_with_retry_spends_no_attempt(consumer: Any) -> None:
    work = Work(*[Again(500)] * 9)
    with entered(consumer, work) as delays:
        send_later("jobs", {"type": "probe"}, delay=0, retry=RETRY)
        delays.advance(hours=1)
        assert work.attempts == [1] * 10
        delays.assert_nothing_scheduled()


def test_again_without_retry_comes_again_as_it_was(consumer: Any) -> None:
    work = Work(Again(500), Again())
    with entered(consumer, work) as delays:
        send_later("jobs", {"type": "probe"}, delay=0)
        delays.advance(0)
        delays.assert_scheduled(channel="jobs", content={"type": "probe"})
        delays.advance(500)
        delays.advance(999)
        assert len(work.attempts) == 2
        delays.advance(1)
        assert len(work.attempts) == 3
        delays.assert_nothing_scheduled()


@pytest.mark.parametrize("retry", [{}, {"retry": RETRY}])
def test_fail_is_a_dead_letter_at_once(consumer: Any, retry: dict[str, Any]) -> None:
    work = Work(Fail("there is no such report"))
    with entered(consumer, work) as delays:
        send_later("jobs", {"type": "probe"}, delay=0, **retry)
        delays.advance(hours=1)
        assert [letter.reason for letter in delays.dead_letters] == ["failed: there is no such report"]
        assert len(work.attempts) == 1


def test_what_raises_without_retry_is_raised_in_the_test(consumer: Any) -> None:
    with entered(consumer, Work(ValueError("no"))) as delays:
        send_later("jobs", {"type": "probe"}, delay=0)
        with pytest.raises(ValueError, match="no"):
            delays.advance(0)
