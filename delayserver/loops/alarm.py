"""An event with an exact timer. An event loop's own is not: epoll takes whole milliseconds, and Python rounds up."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import sys

# Linux's timerfd, which counts nanoseconds (timerfd_create(2)); the os module has it from Python 3.13 on.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" and sys.maxsize > 2**32 else None
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC if _LIBC else 0
_CLOCK_MONOTONIC = 1


class _Timer(ctypes.Structure):
    """``struct itimerspec``: the interval, which we leave at 0, and the time until it rings."""

    _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "in_s", "in_ns")]


class Alarm:
    """Belongs to one event loop, and holds a file descriptor from the first `wait` until `close`."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._descriptor: int | None = None

    def ring(self) -> None:
        self._event.set()

    def reset(self) -> None:
        self._event.clear()

    async def wait(self, seconds: float) -> None:
        """Until it rings: by itself, when the time is over."""
        timer = None if self._arm(seconds) else asyncio.get_running_loop().call_later(seconds, self.ring)
        try:
            await self._event.wait()
        finally:
            if timer is not None:
                timer.cancel()

    def close(self) -> None:
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _arm(self, seconds: float) -> bool:
        """Whether the system has such a timer."""
        if _LIBC is None:
            return False
        if self._descriptor is None:
            descriptor = _LIBC.timerfd_create(_CLOCK_MONOTONIC, _FLAGS)
            if descriptor < 0:
                return False
            asyncio.get_running_loop().add_reader(descriptor, self._rang)
            self._descriptor = descriptor
        whole, part = divmod(max(1, round(seconds * 1e9)), 1_000_000_000)
        timer = _Timer(0, 0, whole, part)
        return bool(_LIBC.timerfd_settime(self._descriptor, 0, ctypes.byref(timer), None) == 0)

    def _rang(self) -> None:
        assert self._descriptor is not None
        with contextlib.suppress(BlockingIOError):  # it was set anew meanwhile
            os.read(self._descriptor, 8)
            self.ring()
