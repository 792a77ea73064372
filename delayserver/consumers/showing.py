"""What a browser sees of a piece of work: its present state, and each that follows, until it is over.

A socket needs no channel of its own: what changes reaches the process once, however many watch. Versions say which
frame is newer, and only that is sent; of what cannot be sent in time, the older is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from asgiref.sync import iscoroutinefunction
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.core.exceptions import PermissionDenied
from django.core.signing import BadSignature, SignatureExpired

from ..clock import monotonic
from ..errors import StoreUnavailable
from ..progress import Progress
from ..progress.record import OVER
from ..progress.tokens import Token, key_of
from ..progress.watching import watch

UNKNOWN, FORBIDDEN, TRY_LATER = 4404, 4403, 1013  # close codes: the first two are of the range that is ours to use

FRAMES_A_SECOND = 20
MAX_FRAMES = 5  # that wait to be sent

Frame = Mapping[str, Any]


class ProgressConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """A WebSocket at a path with ``<token>``, which gets frames until the last: then it is closed.

    Closed with 4404 where a token is none, or names work that is not there, with 4403 where it has expired, or
    `has_permission` says no. Nothing is sent then. What a browser sends is left unread.
    """

    _version = 0  # the newest
    _sending: asyncio.Task[None] | None = None
    _unwatch: Any = None
    _is_over = False  # it was closed, or is just then

    channel_layer_alias = ""  # none

    def has_permission(self, scope: Mapping[str, Any], progress: Progress) -> bool:
        """Whether who has come may see it: whoever has the token; where that is for a user, that one. Async works, too.

        ``progress.user`` is whom the token is for; ``scope["user"]`` is there under Channels' `AuthMiddlewareStack`.
        """
        return permits(scope, progress)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._frames: deque[Frame] = deque(maxlen=MAX_FRAMES)  # to be sent
        self._sent: deque[float] = deque(maxlen=FRAMES_A_SECOND)  # when the last ones were

    async def __call__(self, *args: Any) -> None:
        try:
            await super().__call__(*args)
        finally:  # also where no disconnect comes: the layer was away, or the server cuts it off
            self._leave()

    async def connect(self) -> None:
        await self.accept()  # a browser is not told why it was not let in, but for a close code
        try:
            await self._open(self.scope.get("url_route", {}).get("kwargs", {}).get("token", ""))
        except SignatureExpired:
            await self.close(FORBIDDEN)
        except BadSignature:
            await self.close(UNKNOWN)
        except StoreUnavailable:
            await self.close(TRY_LATER)

    async def _open(self, text: str) -> None:
        token = Token.read(text)
        progress = await Progress.aget(token.id, user=token.user)
        if progress is None:
            await self.close(UNKNOWN)
        elif not await self.is_permitted(self.scope, progress):
            await self.close(FORBIDDEN)
        else:
            self._watch(progress.id)

    async def is_permitted(self, scope: Mapping[str, Any], progress: Progress) -> bool:
        """What `has_permission` says, asked in a thread where it is sync."""
        asked = self.has_permission
        if not iscoroutinefunction(asked):
            asked = database_sync_to_async(asked)
        try:
            return bool(await asked(scope, progress))
        except PermissionDenied:
            return False

    def _watch(self, id: str) -> None:
        loop = asyncio.get_running_loop()

        def tell(frame: Frame | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._show, frame)

        self._unwatch = watch(id, tell)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """There is nothing to say."""

    def _leave(self) -> None:
        self._frames, self._is_over = deque(maxlen=0), True
        if self._unwatch is not None:
            self._unwatch()
        if self._sending is not None:
            self._sending.cancel()

    # -- sent ----------------------------------------------------------------------------------------------------

    def _show(self, frame: Frame | None) -> None:
        """Send it, if it is new."""
        if frame is None:
            frame = {"version": self._version + 1, "state": None}  # it is not there any more
        if frame["version"] <= self._version or self._is_over:
            return
        self._version = frame["version"]
        self._frames.append(frame)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all(), name="delayserver progress socket")

    async def _send_all(self) -> None:
        """Until there is nothing newer, at most 20 times a second."""
        try:
            while self._frames and not self._is_over:
                if len(self._sent) == FRAMES_A_SECOND:
                    await asyncio.sleep(self._sent[0] + 1 - monotonic())
                self._sent.append(monotonic())
                await self._send_one(self._frames.popleft())
        except Exception:  # noqa: BLE001  servers raise what they like where the browser has gone
            self._frames.clear()
        finally:
            self._sending = None

    async def _send_one(self, frame: Frame) -> None:
        self._is_over = frame["state"] is None or frame["state"] in OVER
        if frame["state"] is None:
            await self.close(UNKNOWN)
            return
        await self.send(text_data=json.dumps(frame))
        if self._is_over:
            await self.close(1000)


def permits(scope: Mapping[str, Any], progress: Progress) -> bool:
    """Whoever has the token; where that is for a user, that one."""
    user = scope.get("user")
    return not progress.user or progress.user == key_of(user)
