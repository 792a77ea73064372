"""An offload, done: whatever comes of it is an answer."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from ..clock import SystemClock
from ..conf import get_offload_settings, get_settings
from ..content import Content, pack
from ..errors import ConfigurationError, InvalidMessage, OffloadFailed, OffloadRefused, OffloadTimeout
from ..events import OFFLOAD_FAILED, OFFLOAD_REFUSED, emit
from ..layers import get_layer
from ..offload_settings import OffloadSettings, name_of
from .answers import done, failure
from .asked import Asked, Call, Command, Offload, Request
from .calls import run_call
from .commands import run_command


async def perform(offload: Offload) -> Content:
    """Its answer, an ``offload.reply`` that the layer can carry. Raises nothing but cancellation."""
    kind = offload.asked.kind
    try:
        return _sendable(done(offload.id, await _in_time(offload)))
    except OffloadRefused as error:
        emit(OFFLOAD_REFUSED, of=kind, kind=kind, reason=error)
        return failure(offload.id, error)
    except OffloadFailed as error:
        emit(OFFLOAD_FAILED, of=kind, kind=kind, reason=error)
        return failure(offload.id, error)
    except ConfigurationError as error:
        emit(OFFLOAD_FAILED, of=kind, kind=kind, reason=error)
        return failure(offload.id, OffloadFailed(str(error)))
    except Exception as error:  # noqa: BLE001  nothing ends the loop
        emit(OFFLOAD_FAILED, of=kind, kind=kind, reason=f"{type(error).__name__}, which nobody expected")
        return failure(offload.id, OffloadFailed(f"the worker failed: {type(error).__name__}"))


async def _in_time(offload: Offload) -> Content:
    """What it came to, within its timeout; the wait for a turn counts."""
    settings = get_offload_settings()
    offload.asked.check(settings)
    if offload.timeout > settings.max_timeout:
        raise OffloadRefused(f"a timeout of {offload.timeout} s is over {name_of('MAX_TIMEOUT')}")
    seconds = offload.seconds_left(SystemClock().now())
    try:
        async with asyncio.timeout(seconds) as limit:
            return await _in_turn(offload.asked, settings)
    except TimeoutError:
        if not limit.expired():
            raise
        raise OffloadTimeout(f"the {offload.asked.kind} did not end within {offload.timeout:g} s") from None


async def _in_turn(asked: Asked, settings: OffloadSettings) -> Content:
    turns = _turns(settings)
    async with turns.any:
        match asked:
            case Request():
                return await _fetch(asked, settings)
            case Call():
                return await run_call(asked, settings)
            case Command():
                async with turns.process:
                    return await run_command(asked, settings)


async def _fetch(request: Request, settings: OffloadSettings) -> Content:
    try:
        from .fetching import fetch
    except ImportError as error:
        raise ConfigurationError(
            f"offload.request needs httpx, which is not installed where it runs ({error.name}):"
            ' pip install "delayserver[offload]"'
        ) from None
    return await fetch(request, settings)


def _sendable(answer: Content) -> Content:
    """The answer, if it can be carried; `OffloadFailed` where it is too long, or has types of its own."""
    settings = get_settings()
    try:
        pack(answer, settings.max_message_bytes)
        get_layer(settings.channel_layer).check(answer)
    except InvalidMessage as error:
        raise OffloadFailed(f"the answer cannot be sent: {error}") from None
    return answer


class _Turns:
    """How many offloads, and how many commands of them, one event loop does at once."""

    def __init__(self, settings: OffloadSettings) -> None:
        self.settings = settings
        self.any = asyncio.Semaphore(settings.max_at_once)
        self.process = asyncio.Semaphore(settings.max_processes)


_all_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = WeakKeyDictionary()


def _turns(settings: OffloadSettings) -> _Turns:
    loop = asyncio.get_running_loop()
    turns = _all_turns.get(loop)
    if turns is None or turns.settings is not settings:
        turns = _all_turns[loop] = _Turns(settings)
    return turns
