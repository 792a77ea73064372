"""One message through an application: each way in which a handler can end, as a value."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest
from channels.consumer import AsyncConsumer, SyncConsumer
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import InMemoryChannelLayer, channel_layers, get_channel_layer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from channels.testing import WebsocketCommunicator
from pytest_django import Settings

from delayserver.consumers import AckingMixin
from delayserver.errors import InvalidMessage
from delayserver.handling import OneMessage, fault_of, handle, take_short_way
from delayserver.verdicts import DONE, Again, Done, Fail, Outcome, Raised, Unfit, verdict_of

ERRORS: dict[str, type[BaseException]] = {
    one.__name__: one for one in (ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError)
}
seen: list[Any] = []
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="clean")


class Base:
    def __init__(self) -> None:
        seen.append(self)


class Async(Base, AsyncConsumer):  # type: ignore[misc]
    async def probe(self, message: dict[str, Any]) -> None:
        seen.append((message, variable.get()))
        variable.set("dirty")

    async def crash(self, message: dict[str, Any]) -> None:
        raise ERRORS[message["error"]]("no")

    async def stop(self, message: dict[str, Any]) -> None:
        raise StopConsumer

    async def again(self, message: dict[str, Any]) -> None:
        raise Again(5)

    async def fail(self, message: dict[str, Any]) -> None:
        raise Fail("never")

    async def wait(self, message: dict[str, Any]) -> None:
        await asyncio.Event().wait()


class Sync(Base, SyncConsumer):  # type: ignore[misc]
    def probe(self, message: dict[str, Any]) -> None:
        seen.append((message, variable.get()))

    def crash(self, message: dict[str, Any]) -> None:
        raise ERRORS[message["error"]]("no")

    def again(self, message: dict[str, Any]) -> None:
        raise Again(5)

    def fail(self, message: dict[str, Any]) -> None:
        raise Fail("never")


class Acking(AckingMixin, Async):
    pass


CONSUMERS: dict[str, Any] = {"async": Async, "sync": Sync, "acking": Acking}
ROUTES = ChannelNameRouter({name: one.as_asgi() for name, one in CONSUMERS.items()})
APPLICATION = ProtocolTypeRouter({"channel": ROUTES})


@pytest.fixture(autouse=True)
def memory(settings: Settings) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    channel_layers.backends.clear()
    seen.clear()
    take_short_way()


async def run(content: dict[str, Any], channel: str = "async", application: Any = APPLICATION) -> Outcome:
    """In a task of its own, as a worker does."""
    return await asyncio.create_task(handle(application, channel, OneMessage(content)))


@pytest.mark.parametrize("channel", CONSUMERS)
async def test_each_message_has_a_new_instance_and_clean_context_variables(channel: str) -> None:
    for _ in range(2):
        assert await run({"type": "probe"}, channel) == DONE
    one, first, other, second = seen
    assert one is not other
    assert first == second == ({"type": "probe"}, "clean")


@pytest.mark.parametrize("channel", CONSUMERS)
@pytest.mark.parametrize("error", [name for name in ERRORS if name not in ("CancelledError", "GeneratorExit")])
async def test_whatever_is_raised_is_an_outcome(channel: str, error: str) -> None:
    outcome = await run({"type": "crash", "error": error}, channel)
    assert isinstance(outcome, Raised)
    assert type(outcome.error) is ERRORS[error]


@pytest.mark.parametrize("error", ["CancelledError", "GeneratorExit"])
async def test_also_what_a_handler_makes_itself_of_what_ends_coroutines(error: str) -> None:
    outcome = await run({"type": "crash", "error": error})
    assert isinstance(outcome, Raised)
    assert type(outcome.error) is ERRORS[error]


async def test_but_for_the_cancellation_of_the_task() -> None:
    task = asyncio.create_task(handle(APPLICATION, "async", OneMessage({"type": "wait"})))
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("channel", CONSUMERS)
async def test_again_and_fail_are_heard_from_any_consumer(channel: str) -> None:
    again, fail = await run({"type": "again"}, channel), await run({"type": "fail"}, channel)
    assert isinstance(again, Again)
    assert again.delay == 5
    assert isinstance(fail, Fail)
    assert fail.reason == "never"


async def test_who_stops_is_done() -> None:
    assert await run({"type": "stop"}) == DONE


@pytest.mark.parametrize(
    ("channel", "content", "reason"),
    [
        ("nowhere", {"type": "probe"}, "no consumer handles it: "),
        ("async", {"type": "unknown"}, "no consumer handles it: No handler for message type unknown"),
        ("sync", {"type": "unknown"}, "no consumer handles it: No handler for message type unknown"),
        ("acking", {"type": "unknown"}, "no consumer handles it: Acking has no handler for its type"),
        ("async", {"type": "_private"}, "no consumer handles it: Malformed type"),
        ("acking", {"type": "_private"}, "Malformed type"),
    ],
)
async def test_what_nothing_is_there_for_is_unfit(channel: str, content: dict[str, Any], reason: str) -> None:
    outcome = await run(content, channel)
    assert isinstance(outcome, Unfit)
    assert outcome.reason.startswith(reason)


@pytest.mark.parametrize("content", [None, 7, ["type"], {}, {"type": None}, {"type": 7}, {"type": ""}, {"type": b"x"}])
def test_what_no_consumer_could_be_given_has_a_fault(content: object) -> None:
    fault = fault_of(content)
    assert fault is not None
    assert fault.startswith("expected a message to ")
    assert fault_of({"type": "probe"}) is None


async def test_the_short_way_reads_no_channel_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async def receive(self: object, channel: str) -> None:
        seen.append(channel)

    monkeypatch.setattr(InMemoryChannelLayer, "receive", receive)
    assert await run({"type": "probe"}) == DONE
    assert [type(one) for one in seen] == [Async, tuple]


async def test_a_middleware_that_wraps_receive_takes_the_long_way() -> None:
    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        async def wrapped() -> Any:
            return {**await receive(), "wrapped": True}

        await APPLICATION(scope, wrapped, send)

    assert await run({"type": "probe"}, application=middleware) == DONE
    assert seen[1][0] == {"type": "probe", "wrapped": True}
    outcome = await run({"type": "crash", "error": "SystemExit"}, application=middleware)
    assert isinstance(outcome, Raised)


async def test_an_application_that_reads_nothing_is_done() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "anything"})

    assert await run({"type": "probe"}, application=application) == DONE


class Echo(AsyncWebsocketConsumer):  # type: ignore[misc]
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.channel_layer.send(self.channel_name, {"type": "echo", "text": text_data})

    async def echo(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


async def test_websockets_work_as_before() -> None:
    take_short_way()  # more than once changes nothing
    communicator = WebsocketCommunicator(Echo.as_asgi(), "/")
    assert (await communicator.connect())[0]
    await communicator.send_to(text_data="hello")
    assert await communicator.receive_from() == "hello"
    await communicator.disconnect()
    assert get_channel_layer() is not None


# -- verdicts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [-1, 1.5, "5", True, 100 * 366 * 86_400_000])
def test_again_refuses_what_is_no_delay(delay: Any) -> None:
    with pytest.raises(InvalidMessage, match="expected delay to be "):
        Again(delay)


@pytest.mark.parametrize("reason", ["", None, 7])
def test_fail_wants_a_reason(reason: Any) -> None:
    with pytest.raises(InvalidMessage, match="expected Fail to have a reason"):
        Fail(reason)
    assert len(Fail("x" * 9_000).reason) == 500


def test_what_a_handler_returns_is_done_unless_it_is_a_word() -> None:
    again, done = Again(), Done(result=7)
    assert verdict_of(again) is again
    assert verdict_of(done) is done
    assert [verdict_of(one) for one in (None, 7, Raised(ValueError()))] == [DONE] * 3
