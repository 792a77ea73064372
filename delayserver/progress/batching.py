"""Questions of many tasks, asked as one: what comes while an answer is under way goes with the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from ..stores.base import MAX_BATCH

Q = TypeVar("Q")
A = TypeVar("A")


class Batching(Generic[Q, A]):
    """`act` answers up to `MAX_BATCH` questions at once, in their order."""

    def __init__(self, act: Callable[[Sequence[Q]], Awaitable[Sequence[A]]]) -> None:
        self._act = act
        self._asked: list[tuple[Q, asyncio.Future[A]]] = []
        self._answering: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._asked.append((question, answer))
        if self._answering is None:
            self._answering = asyncio.create_task(self._answer(), name="delayserver progress batch")
        return await answer

    async def _answer(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked[:MAX_BATCH], self._asked[MAX_BATCH:]
                await self._answer_some([one for one in asked if not one[1].done()])
        finally:
            self._answering = None

    async def _answer_some(self, asked: Sequence[tuple[Q, asyncio.Future[A]]]) -> None:
        try:
            answers = await self._act([question for question, _ in asked])
        except Exception as error:  # noqa: BLE001  a project's own store may raise anything
            for _, future in asked:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), answer in zip(asked, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
