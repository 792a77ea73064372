"""The caller's side: one background thread per process, the hub, which sends all offloads and reads all answers.

So a view under WSGI, an async view and a consumer share a handful of connections, whatever event loop they have, or
none. On the in-memory layer, which ends at the process, the hub does the work itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from ..background import Background, OneOfAProcess
from ..clock import SystemClock
from ..conf import get_layer_settings, get_offload_settings, get_settings
from ..content import Content
from ..errors import DelayServerError, OffloadFailed, OffloadTimeout
from ..events import OFFLOAD_LATE, OFFLOAD_UNANSWERED, emit
from ..hearing import Hearing
from ..layers.base import Delivered
from ..message import Target
from ..offload_settings import name_of
from ..outbox import outbox, why_not
from ..sending import agroup_send_later, asend_later
from .answers import Reply, read_reply
from .asked import Offload
from .performing import perform

GRACE_SECONDS = 2.0  # after its timeout, for the worker's own word on what was too slow


class Hub(Background):
    """Its public methods are called from any other thread, or from any event loop."""

    def __init__(self) -> None:
        self._alias = get_settings().channel_layer
        self._is_local = get_layer_settings(self._alias).in_memory
        self._number = 0  # of the offloads that this process waits for
        self._waiting: dict[str, asyncio.Future[Content]] = {}
        self._answers = Hearing(self._alias, "offload answers", self._answered)
        super().__init__("delayserver offload")

    def ask(self, offload: Offload) -> Future[Reply]:
        """Its answer; raises the `OffloadFailed` that it is, or an `OffloadTimeout` where there is none in time."""
        return self.submit(self._ask_here(offload) if self._is_local else self._ask(offload))

    def send(self, offload: Offload) -> Future[None]:
        """Hand it over; the answer goes to its own target. `OffloadFailed` where it could not be handed over."""
        return self.submit(self._begin_here(offload) if self._is_local else self._send(offload))

    # -- by a worker ---------------------------------------------------------------------------------------------

    async def _ask(self, offload: Offload) -> Reply:
        deadline = SystemClock().now() + int(offload.timeout * 1000)
        try:
            with self._admitted():
                async with asyncio.timeout(offload.timeout + GRACE_SECONDS):
                    reply_to = await self._listen()
                    answered = self._waiting[offload.id] = self._loop.create_future()
                    await self._send(replace(offload, deadline=deadline, reply_to=reply_to))
                    return read_reply(await answered)
        except TimeoutError as error:
            if isinstance(error, OffloadTimeout):
                raise
            channel = get_offload_settings().channel
            sentence = f"nobody answered within {offload.timeout:g} s: is `manage.py runtasks {channel}` running?"
            raise OffloadTimeout(sentence) from None
        finally:
            self._waiting.pop(offload.id, None)

    async def _send(self, offload: Offload) -> None:
        target = Target("channel", get_offload_settings().channel)
        outcome = await outbox().send(target, offload.message(), offload.timeout)
        if not isinstance(outcome, Delivered):
            raise OffloadFailed(f"it could not be handed to a worker: {why_not(outcome, target)}")

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        """One more that this process waits for; `OffloadFailed` where that is too many."""
        most = get_offload_settings().max_waiting
        if self._number >= most:
            raise OffloadFailed(f"more than {name_of('MAX_WAITING')} ({most}) offloads of this process wait at once")
        self._number += 1
        try:
            yield
        finally:
            self._number -= 1

    # -- answers -------------------------------------------------------------------------------------------------

    async def _listen(self) -> Target:
        """Where answers come in."""
        try:
            return Target("channel", await self._answers.channel())
        except Exception as error:  # noqa: BLE001  a layer that subscribes may raise anything where its server is away
            raise OffloadFailed(f"the channel layer could not be reached ({type(error).__name__})") from None

    def _answered(self, message: Mapping[str, Any]) -> None:
        asked = self._waiting.get(message.get("id", ""))
        if asked is None or asked.done():
            emit(OFFLOAD_LATE)
        else:
            asked.set_result(dict(message))

    # -- in this process -----------------------------------------------------------------------------------------

    async def _ask_here(self, offload: Offload) -> Reply:
        with self._admitted():
            return read_reply(await perform(offload))

    async def _begin_here(self, offload: Offload) -> None:
        admitted = ExitStack()
        admitted.enter_context(self._admitted())
        self.keep(self._answer_here(offload, admitted))

    async def _answer_here(self, offload: Offload, admitted: ExitStack) -> None:
        """By the delay server in this process: the in-memory layer belongs to its event loop, not to this one."""
        with admitted:
            await self._perform_and_reply(offload)

    async def _perform_and_reply(self, offload: Offload) -> None:
        answer, target = await perform(offload), offload.reply_to
        if target is None:
            return
        send = asend_later if target.kind == "channel" else agroup_send_later
        try:
            await send(target.name, answer, delay=0, on_commit=False)
        except Exception as error:  # noqa: BLE001  a store that is away may raise anything
            reason = error if isinstance(error, DelayServerError) else type(error).__name__
            emit(OFFLOAD_UNANSWERED, of=target.name, kind=offload.asked.kind, target=target.name, reason=reason)


# -- the one of this process -----------------------------------------------------------------------------------------

_hub = OneOfAProcess(Hub)
get_hub, close_hub = _hub.get, _hub.close
