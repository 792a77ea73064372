"""The same over a WebSocket: nobody awaits the answer, it comes as a message to the socket's own channel."""

import json

from channels.generic.websocket import AsyncWebsocketConsumer

from delayserver import offload

from .tasks import one_a_line

EXPECTED = 'expected {"number": ..., "what": "request", "call" or "command", "text": "..."}'


class Answers(AsyncWebsocketConsumer):
    """One page's WebSocket. The browser numbers what it asks for, and each answer has its number."""

    async def connect(self):
        self.numbers = {}  # of what is under way, by its id as an offload
        await self.accept()

    async def receive(self, text_data=None, bytes_data=None):
        asked = read(text_data)
        if asked is None:
            await self.answer(None, error=EXPECTED)
            return
        try:
            self.numbers[await self.offload(asked["what"], asked["text"])] = asked["number"]
        except offload.OffloadFailed as error:  # refused here, before anyone was asked
            await self.answer(asked["number"], error=str(error))

    async def offload(self, what, text):
        """Returns at once, the offload's id."""
        match what:
            case "request":
                return await offload.request(text, reply_channel=self.channel_name)
            case "call":
                return await offload.call("offloading.tasks.count_words", text, reply_channel=self.channel_name)
            case "command":
                return await offload.command("sort", input=one_a_line(text), reply_channel=self.channel_name)

    async def offload_reply(self, message):
        number = self.numbers.pop(message["id"], None)
        try:
            reply = offload.read_reply(message)
        except offload.OffloadFailed as error:
            await self.answer(number, error=str(error))
        else:
            await self.answer(number, answer=in_words(reply))

    async def answer(self, number, **what):
        await self.send(text_data=json.dumps({"number": number, **what}))


def read(text):
    """What a browser asks for, or None."""
    try:
        asked = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(asked, dict) or asked.get("what") not in ("request", "call", "command"):
        return None
    return asked if isinstance(asked.get("text"), str) and isinstance(asked.get("number"), int) else None


def in_words(reply):
    match reply:
        case offload.RequestReply():
            return f"{reply.status}: {reply.text}"
        case offload.CallReply():
            return f"{reply.result} words"
        case offload.CommandReply():
            return reply.stdout.decode().replace("\n", " ")
