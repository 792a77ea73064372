"""Our side: what the worker does, and who may see how far it is."""

import asyncio

from channels.consumer import AsyncConsumer

from delayserver.consumers import ProgressConsumer
from delayserver.progress import progress

from .tasks import outcome


class Tasks(AsyncConsumer):
    """The worker's side of the channel "task-status"."""

    async def work(self, message):
        """The sleep stands for a second of work. What is raised in here ends on the page."""
        seconds = message["seconds"]
        async with progress(message["progress"]) as status:
            for second in range(seconds):
                status.update(second, seconds, text=f"second {second + 1}")
                await asyncio.sleep(1)
            status.result = outcome(seconds, message["should_fail"])


class TaskStatus(ProgressConsumer):
    """The WebSocket of a task, for the session that started it, whoever else comes to know its id."""

    def has_permission(self, scope, progress):
        return progress.user == scope["session"].get("visitor")
