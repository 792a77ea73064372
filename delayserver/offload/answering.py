"""The worker's side: a consumer that does what comes in on ``asgi.offload`` and sends the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer

from ..clock import SystemClock
from ..conf import get_offload_settings
from ..content import Content, shown
from ..errors import OffloadRefused
from ..events import OFFLOAD_EXPIRED, OFFLOAD_FAILED, OFFLOAD_REFUSED, OFFLOAD_UNANSWERED, emit
from ..layers.base import Delivered
from ..message import Target
from ..outbox import outbox, why_not
from .answers import failure
from .asked import KINDS, Asked, Offload, expect, read_target, read_timeout
from .performing import perform

ANSWER_SECONDS = 10.0  # how long an answer waits for a full channel, or a layer that is away

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class OffloadConsumer(AsyncConsumer):  # type: ignore[misc]
    """For the channel ``asgi.offload``: ``ChannelNameRouter({"asgi.offload": OffloadConsumer.as_asgi()})``.

    It does as many offloads at once as ``MAX_AT_ONCE`` says, also where it is one instance for all messages, as under
    ``runworker``. Whatever comes in, and whatever becomes of it, it raises nothing.
    """

    async def __call__(self, scope: Any, receive: Receive, send: Any) -> None:
        """Until `receive` raises `StopConsumer`; what was begun is finished. Cancelled, it cancels that.

        Not as Channels has it: that would handle one message after the other, and listen on a channel of its own.
        """
        turns = asyncio.Semaphore(get_offload_settings().max_at_once)
        async with asyncio.TaskGroup() as tasks:
            while True:
                await turns.acquire()
                try:
                    message = await receive()
                except StopConsumer:
                    break
                task = tasks.create_task(self._handle(dict(message)))
                task.add_done_callback(lambda _: turns.release())

    async def _handle(self, message: Content) -> None:
        try:
            await self.dispatch(message)
        except Exception as error:  # noqa: BLE001  one message must not end the others
            emit(OFFLOAD_FAILED, kind="message", reason=f"{type(error).__name__}, which nobody expected")

    async def dispatch(self, message: Content) -> None:
        handlers = {
            "offload.request": self.offload_request,
            "offload.call": self.offload_call,
            "offload.command": self.offload_command,
        }
        type_ = message.get("type")
        handler = handlers.get(type_) if isinstance(type_, str) else None
        if handler is None:
            _refused("message", OffloadRefused(f"expected type to be one of {', '.join(handlers)}, got {shown(type_)}"))
        else:
            await handler(message)

    async def offload_request(self, message: Content) -> None:
        await answer(message)

    async def offload_call(self, message: Content) -> None:
        await answer(message)

    async def offload_command(self, message: Content) -> None:
        await answer(message)


async def answer(message: Content) -> None:
    """Do what a message asks for, and send the answer where it says. Raises nothing but cancellation."""
    kind = KINDS[message["type"]]
    try:
        id, reply_to = _read_id(message), read_target(message.get("reply_channel"), message.get("reply_group"))
    except OffloadRefused as error:
        _refused(kind.kind, error)
        return
    try:
        offload = _read_offload(id, reply_to, kind.parse(message), message)
    except OffloadRefused as error:
        _refused(kind.kind, error)
        await _reply(kind.kind, reply_to, failure(id, error))
        return
    if offload.seconds_left(SystemClock().now()) <= 0:
        emit(OFFLOAD_EXPIRED, of=kind.kind, kind=kind.kind)
        return
    await _reply(kind.kind, reply_to, await perform(offload))


def _refused(kind: str, error: OffloadRefused) -> None:
    emit(OFFLOAD_REFUSED, of=kind, kind=kind, reason=error)


def _read_id(message: Content) -> str:
    id = message.get("id", "")
    expect(isinstance(id, str) and len(id) <= 100, "id to be a str of at most 100 characters", id)
    return str(id)


def _read_offload(id: str, reply_to: Target | None, asked: Asked, message: Content) -> Offload:
    deadline = message.get("deadline")
    expect(deadline is None or type(deadline) is int, "deadline to be milliseconds since the epoch", deadline)
    timeout = read_timeout(message.get("timeout"), get_offload_settings())
    return Offload(asked=asked, timeout=timeout, id=id, deadline=deadline, reply_to=reply_to)


async def _reply(kind: str, target: Target | None, content: Content) -> None:
    if target is None:
        return
    outcome = await outbox().send(target, content, ANSWER_SECONDS, insists=True)
    if not isinstance(outcome, Delivered):
        reason = why_not(outcome, target)
        emit(OFFLOAD_UNANSWERED, of=target.name, kind=kind, target=target.name, reason=reason)
