"""A call, done: an async function in the event loop, any other in a thread of its own kind."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import iscoroutinefunction
from channels.db import database_sync_to_async

from ..content import Content
from ..errors import OffloadFailed
from ..events import OFFLOAD_RAISED, emit
from ..offload_settings import OffloadSettings
from .asked import Call


async def run_call(call: Call, settings: OffloadSettings) -> Content:
    """The fields of a `CallReply`; `OffloadFailed` names what the function raised, and the log has the rest."""
    function = await _find(call.path)
    try:
        if iscoroutinefunction(function):
            result = await function(*call.args, **call.kwargs)
        else:
            in_thread = database_sync_to_async(_called, thread_sensitive=False, executor=_threads(settings.max_threads))
            result = await in_thread(function, call)
        return {"result": await result if inspect.isawaitable(result) else result}
    except BaseException as error:  # noqa: BLE001  a project's own function may raise anything, SystemExit too
        _raise_if_cancelled(error)
        emit(OFFLOAD_RAISED, of=call.path, error=error, path=call.path)
        raise OffloadFailed(f"{call.path} raised {type(error).__name__}") from None


def _called(function: Any, call: Call) -> Any:
    """In a thread."""
    try:
        return function(*call.args, **call.kwargs)
    except StopIteration as error:  # which no future of asyncio takes: who awaits it would wait for ever
        raise RuntimeError(f"it raised StopIteration({error})") from None


def _raise_if_cancelled(error: BaseException) -> None:
    """Where it is the cancellation of the task that this runs in, and not a function's own."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error


async def _find(path: str) -> Any:
    """The function; its module is imported in a thread, since that may take long."""
    module, _, name = path.rpartition(".")
    try:
        if not _is_imported(module):
            await asyncio.to_thread(importlib.import_module, module)
        function = getattr(sys.modules[module], name)
    except BaseException as error:  # noqa: BLE001  and so may its module
        _raise_if_cancelled(error)
        emit(OFFLOAD_RAISED, of=path, error=error, path=path)
        raise OffloadFailed(f"{path} cannot be imported where the worker runs ({type(error).__name__})") from None
    if not callable(function):
        raise OffloadFailed(f"{path} is no function")
    return function


def _is_imported(module: str) -> bool:
    """Whether it is, and not just on the way in another thread, for which `import_module` waits."""
    found = sys.modules.get(module)
    return found is not None and not getattr(found.__spec__, "_initializing", False)


@functools.cache
def _threads(number: int) -> ThreadPoolExecutor:
    """Apart from the event loop's own, which looks up hosts: functions that hang must not stop those."""
    return ThreadPoolExecutor(number, thread_name_prefix="delayserver offload")


os.register_at_fork(after_in_child=_threads.cache_clear)
