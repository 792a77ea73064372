"""One message through the project's application: a new instance for it, and what became of it as a value.

Under ``runworker`` one instance of a consumer handles all messages of its channel, one after the other, and reads a
channel of its own beside them. Of an instance that lives for one message nobody knows that channel, so it is not read;
and connections to databases are freshened where they are used (`threads`), not once for each message.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from types import TracebackType
from typing import Any

from asgiref.sync import SyncToAsync
from channels import consumer
from channels.exceptions import StopConsumer

from .conf import IN_MEMORY_LAYER, REDIS_LAYER
from .content import shown
from .current import CURRENT, Current, received
from .threads import LentThread
from .verdicts import DONE, Again, Fail, Outcome, Raised, Unfit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

VERDICT = "delayserver.verdict"  # in the scope: where a consumer leaves its word, rather than act on it itself
# What these raise themselves says that they have nothing for such a message.
ROUTING = ("channels.routing", "channels.consumer", "django.core.handlers.asgi")


class Verdict:
    """Where a consumer leaves its word."""

    __slots__ = ("outcome",)

    def __init__(self) -> None:
        self.outcome: Outcome = DONE


class OneMessage:
    """An ASGI `receive` with one message to give. A consumer that asks for another has handled it, and stops."""

    __slots__ = ("_message", "asked")

    def __init__(self, message: MutableMapping[str, Any]) -> None:
        self._message = message
        self.asked = False

    async def __call__(self) -> MutableMapping[str, Any]:
        if self.asked:
            raise StopConsumer
        self.asked = True
        received(self._message)
        return self._message


async def handle(application: Application, channel: str, receive: Receive) -> Outcome:
    """Run a new instance of `application` for the one message of `channel` that `receive` gives, to its end.

    Whatever is raised is an outcome, `SystemExit` too; but for the cancellation of the task that this runs in.
    """
    verdict = Verdict()
    CURRENT.set(Current(channel))
    scope = {"type": "channel", "channel": channel, VERDICT: verdict}
    try:
        await application(scope, receive, _nowhere)
    except StopConsumer:
        pass
    except (Again, Fail) as outcome:
        return outcome
    except BaseException as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise
        return _unfit(error) or Raised(error)
    return verdict.outcome


def fault_of(content: object) -> str | None:
    """Why no consumer could be given this; None where one could."""
    if not isinstance(content, Mapping):
        return f"expected a message to be a dict, got {shown(content)}"
    if not isinstance(content.get("type"), str) or not content["type"]:
        return (
            f"expected a message to have a type, a str, got {shown(content['type']) if 'type' in content else 'none'}"
        )
    return None


def _unfit(error: BaseException) -> Unfit | None:
    """Where routing, or the way to a handler, has nothing for the message, rather than a handler raised."""
    if isinstance(error, Exception) and _module(error.__traceback__) in ROUTING:
        return Unfit(f"no consumer handles it: {str(error)[:200]}", error)
    return None


def _module(trace: TracebackType | None) -> object:
    """The module in which an error was raised."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace and trace.tb_frame.f_globals.get("__name__")


async def _nowhere(message: MutableMapping[str, Any]) -> None:
    """A message handler's `send`: there is no connection to send to."""


# -- the short way -------------------------------------------------------------------------------------------


def take_short_way() -> None:
    """Let consumers take it for messages that come by `OneMessage`; for all else nothing changes."""
    for name, short in (("await_many_dispatch", _dispatch), ("aclose_old_connections", _aclose_old_connections)):
        long = getattr(consumer, name, None)
        if long is not None and not isinstance(long, functools.partial):
            setattr(consumer, name, functools.partial(short, long))


async def _dispatch(
    long: Callable[..., Awaitable[None]], receivers: Sequence[Receive], dispatch: Callable[[Any], Awaitable[None]]
) -> None:
    if not isinstance(receivers[0], OneMessage) or receivers[0].asked:
        await long(receivers, dispatch)
        return
    own = [receiver for receiver in receivers[1:] if not _leaves_nothing(receiver)]
    if own:
        await _dispatch_and_leave(own, dispatch, await receivers[0]())
    else:
        await dispatch(await receivers[0]())


async def _dispatch_and_leave(own: Sequence[Receive], dispatch: Callable[[Any], Awaitable[None]], message: Any) -> None:
    """With the consumer's own channels read meanwhile: a reader that is cancelled is how pub/sub learns of its end."""
    reading = [asyncio.ensure_future(receiver()) for receiver in own]
    try:
        await asyncio.sleep(0)  # what was never begun could not be cancelled
        await dispatch(message)
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


def _leaves_nothing(receiver: Any) -> bool:
    """Whether a channel of a consumer's own that is never read is forgotten; pub/sub has subscribed to it."""
    layer = getattr(getattr(receiver, "func", None), "__self__", None)
    return f"{type(layer).__module__}.{type(layer).__qualname__}" in (IN_MEMORY_LAYER, REDIS_LAYER)


async def _aclose_old_connections(long: Callable[[], Awaitable[None]]) -> None:
    context = SyncToAsync.thread_sensitive_context.get(None)
    thread = None if context is None else SyncToAsync.context_to_thread_executor.get(context)
    if not isinstance(thread, LentThread):
        await long()
