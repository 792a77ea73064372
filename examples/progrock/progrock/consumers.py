"""The consumers: by hand, one for each browser and one for all runs; and a poller, which is all there is to it.

Between two steps a run is nothing but a waiting message: no task sleeps for it, no process remembers it.
"""

import asyncio
import json
from datetime import timedelta

from channels.consumer import AsyncConsumer
from channels.exceptions import ChannelFull
from channels.generic.websocket import AsyncWebsocketConsumer

from delayserver.consumers import Again, Done, PollingConsumer

ROCKER, POLLER = "prog-rocker", "prog-poller"
DELAY = 200  # milliseconds from one step to the next
STEP = 3  # per cent from one frame to the next
FRAMES = 35  # 0, 3, ... 99, 100


class Listener(AsyncWebsocketConsumer):
    """One browser's WebSocket: starts a run, and passes that run's frames on."""

    playing = False

    async def receive(self, text_data=None, bytes_data=None):
        if not asks_to_start(text_data):
            came = "a binary frame" if text_data is None else repr(text_data[:80])
            await self.pass_on({"error": f'expected {{"action": "start"}}, got {came}'})
        elif self.playing:
            await self.pass_on({"error": "expected one run at a time, got another start before the end"})
        else:
            first = {"type": "rock", "browser": self.channel_name, "progress": 0}
            self.playing = await send_when_room(self.channel_layer, ROCKER, first, patience=2)
            if not self.playing:
                await self.pass_on({"error": f"{ROCKER} is full: is a worker running?"})

    async def frame(self, message):
        frame = message["frame"]
        if "complete" in frame or "error" in frame:
            self.playing = False
        await self.pass_on(frame)

    async def pass_on(self, frame):
        await self.send(text_data=json.dumps(frame))


class Rocker(AsyncConsumer):
    """All runs: tells the browser how far its run is, and comes back to it in 200 ms."""

    async def rock(self, message):
        browser, progress = message["browser"], message["progress"]
        complete = {"complete": True} if progress == 100 else {}
        # A browser that left reads no more; in the end its channel is full, and its run is over.
        if not await self.show(browser, {"progress": progress, **complete}) or complete:
            return
        again = {"type": "rock", "browser": browser, "progress": min(progress + STEP, 100)}
        delayed = {"channel": ROCKER, "content": again, "delay": DELAY}
        if not await send_when_room(self.channel_layer, "asgi.delay", delayed, patience=2):
            await self.show(browser, {"error": "asgi.delay is full: is the delay server running?"})

    async def show(self, browser, frame):
        return await send_when_room(self.channel_layer, browser, {"type": "frame", "frame": frame}, patience=0.1)


class RockPoller(PollingConsumer):
    """The same again, on the second tab: delayserver keeps how far a run is, and shows it to whoever watches."""

    every = timedelta(milliseconds=DELAY)

    async def poll(self, job):
        before = self.work.current  # as the step before has left it
        progress = 0 if before is None else min(before + STEP, 100)
        frame = FRAMES if progress == 100 else progress // STEP + 1
        await self.progress(progress, 100, text=f"Frame {frame} of {FRAMES}")
        return Done() if progress == 100 else Again()


def asks_to_start(text):
    try:
        message = json.loads(text or "")
    except (ValueError, RecursionError):
        return False
    return isinstance(message, dict) and message.get("action") == "start"


async def send_when_room(layer, channel, message, patience):
    """Send, trying for `patience` seconds while the channel is full; whether it was sent."""
    now = asyncio.get_running_loop().time
    deadline = now() + patience
    while True:
        try:
            await layer.send(channel, message)
        except ChannelFull:
            if now() >= deadline:
                return False
            await asyncio.sleep(0.02)
        else:
            return True
