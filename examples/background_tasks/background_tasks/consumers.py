"""What runs in the background, and how the page hears of it.

Each task tells the group `WATCHERS` when it starts and how it ends; every page is in that group.
"""

import json
import os
import sys
import time
from contextlib import contextmanager

from asgiref.sync import async_to_sync
from channels.consumer import SyncConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer

from delayserver.consumers import AckingMixin

WATCHERS = "watchers"


class BackgroundTasks(AckingMixin, SyncConsumer):
    """The worker's side of the channel "background-tasks". The sleeps stand for work."""

    def task_a(self, message):
        with told(message):
            time.sleep(1)

    def task_b(self, message):
        with told(message):
            time.sleep(message["seconds"])

    def task_c(self, message):
        """Fails twice. It was sent with `retry`, so it comes again."""
        with told(message) as attempt:
            time.sleep(1)
            if attempt < 3:
                raise OutOfLuck(f"attempt {attempt} fails, as it should")


class Hello(SyncConsumer):
    """The worker's side of "background-hello"."""

    def hello(self, message):
        with told(message):
            print(f"Hello, {message['to']}!")


class OutOfLuck(Exception):
    """What task c raises."""


class Watcher(AsyncWebsocketConsumer):
    """One page's WebSocket: passes on what happens, and ignores what the browser says."""

    groups = [WATCHERS]

    async def happening(self, message):
        await self.send(text_data=json.dumps(message["happening"]))


@contextmanager
def told(message):
    """Tell the watchers of the message's task: that it runs, and whether it was done or failed."""
    attempt = message.get("__delay__", {}).get("attempt", 1)
    about = {
        "task": message["task"],
        "name": message["name"],
        "attempt": attempt,
        "worker": f"{sys.argv[1]} {os.getpid()}",
    }
    tell = async_to_sync(tell_watchers)
    tell("running", about)
    try:
        yield attempt
    except OutOfLuck as error:
        tell("failed", about | {"error": str(error)})
        raise
    tell("done", about)


async def tell_watchers(what, about):
    happening = {"what": what, "at": time.time(), **about}
    await get_channel_layer().group_send(WATCHERS, {"type": "happening", "happening": happening})
