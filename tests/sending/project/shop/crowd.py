"""Work done in several processes side by side, forked from this one."""

from __future__ import annotations

import multiprocessing
import multiprocessing.synchronize
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import connections

T = TypeVar("T")
Gate = multiprocessing.synchronize.Barrier

GATE_SECONDS = 30.0


def side_by_side(number: int, work: Callable[[int, Gate], T]) -> list[T]:
    """What `work` answers in each of so many processes; `Gate.wait` returns in all of them at one instant."""
    connections.close_all()
    forking: Any = multiprocessing.get_context("fork")
    gate, answers = forking.Barrier(number, timeout=GATE_SECONDS), forking.SimpleQueue()
    processes = [forking.Process(target=_child, args=(work, index, gate, answers)) for index in range(number)]
    for process in processes:
        process.start()
    told = sorted((answers.get() for _ in processes), key=lambda answer: int(answer[0]))
    for process in processes:
        process.join()
    for index, error, _ in told:
        if error:
            raise RuntimeError(f"process {index}: {error}")
    return [answer for _, _, answer in told]


def _child(work: Callable[[int, Gate], T], index: int, gate: Gate, answers: Any) -> None:
    try:
        answers.put((index, None, work(index, gate)))
    except BaseException:  # noqa: BLE001  raised in the parent
        gate.abort()
        answers.put((index, traceback.format_exc(), None))
