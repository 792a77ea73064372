"""What this process has opened since it began: event loops, sockets to Redis, connections to the database."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from django.db.backends.signals import connection_created

from .settings import REDIS

KINDS = ("loops", "sockets", "database")
REDIS_PORT = urlsplit(REDIS).port

_counts: Counter[str] = Counter()
_pid = os.getpid()


def so_far() -> dict[str, int]:
    _begin_anew_after_a_fork()
    return {kind: _counts[kind] for kind in KINDS}


def watch() -> None:
    """Count from now on. Sockets and loops are seen where Python makes them, whoever asks for it."""
    sys.addaudithook(_heard)
    connection_created.connect(_connected, dispatch_uid="opened")
    loops: Any = asyncio.BaseEventLoop
    loops.__init__ = functools.partialmethod(_made, loops.__init__)


def _made(loop: object, make: Any, *args: Any, **kwargs: Any) -> None:
    _count("loops")
    make(loop, *args, **kwargs)


def _heard(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect" and isinstance(args[1], tuple) and args[1][1] == REDIS_PORT:
        _count("sockets")


def _connected(**_: Any) -> None:
    _count("database")


def _count(kind: str) -> None:
    _begin_anew_after_a_fork()
    _counts[kind] += 1


def _begin_anew_after_a_fork() -> None:
    global _pid
    if _pid != os.getpid():
        _pid = os.getpid()
        _counts.clear()
