"""The same message again, later: all that a consumer needs which re-schedules itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from ..content import RESERVED_KEYS
from ..current import CURRENT
from ..errors import InvalidMessage
from ..message import Receipt
from ..sending import Options, asend_later


async def reschedule(message: Mapping[str, Any], *, channel: str | None = None, **options: Unpack[Options]) -> Receipt:
    """Send `message` again, after ``delay`` or at ``eta``: to `channel`, or the one that is being handled.

    What it was sent with (`key`, `retry`, ...) is not known here: say it again. Change the message before, as in
    ``reschedule({**message, "n": message["n"] + 1}, delay=200)``. Raises as `send_later`, and `InvalidMessage` where it
    is not known which channel is being handled: under Channels' own ``runworker``, of a consumer without `AckingMixin`.
    """
    current = CURRENT.get()
    target = channel or (current and current.channel)
    if not target:
        raise InvalidMessage(
            "expected channel, since it is not known here which one is being handled; got none:"
            ' reschedule(message, channel="reports", delay=200)'
        )
    content = {name: value for name, value in message.items() if name not in RESERVED_KEYS}
    return await asend_later(target, content, **options)
