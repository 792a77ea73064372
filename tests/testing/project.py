"""A project: reports, built by a sync worker; exports, polled until they are done; a dashboard in the browser.

`happened` is what its consumers did, in order.
"""

from __future__ import annotations

from typing import Any

from channels.consumer import AsyncConsumer, SyncConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application

from delayserver import asend_later, send_later

happened: list[Any] = []


class Reports(SyncConsumer):  # type: ignore[misc]
    def report_build(self, message: dict[str, Any]) -> None:
        happened.append(message["id"])

    def report_users(self, message: dict[str, Any]) -> None:
        happened.append(User.objects.count())

    def report_crash(self, message: dict[str, Any]) -> None:
        raise ZeroDivisionError("the report has no rows")

    def report_refused(self, message: dict[str, Any]) -> None:
        raise ValueError("the report has no name")


class Exports(AsyncConsumer):  # type: ignore[misc]
    async def export_poll(self, message: dict[str, Any]) -> None:
        """A poller: it tells the dashboard how far it is, and looks again in 200 ms."""
        done = message["done"] + 1
        happened.append(done)
        await self.channel_layer.group_send("dashboard", {"type": "progress", "done": done})
        if done < message["total"]:
            await asend_later("exports", {**message, "done": done}, delay=200)

    async def export_users(self, message: dict[str, Any]) -> None:
        happened.append(await User.objects.acount())

    async def export_again(self, message: dict[str, Any]) -> None:
        """The mistake of a poller that never ends and never waits."""
        await asend_later("exports", message, delay=0)

    async def export_loop(self, message: dict[str, Any]) -> None:
        """The same, past the delay server."""
        await self.channel_layer.send("exports", message)

    async def export_wire(self, message: dict[str, Any]) -> None:
        """As with Channels 1."""
        content = {"type": "report.build", "id": message["id"]}
        await self.channel_layer.send("asgi.delay", {"channel": "reports", "content": content, "delay": 1000})

    async def export_report(self, message: dict[str, Any]) -> None:
        """Hands on to another worker at once."""
        await self.channel_layer.send("reports", {"type": "report.build", "id": message["id"]})


class Dashboard(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    groups = ["dashboard"]

    async def receive_json(self, content: dict[str, Any], **_: Any) -> None:
        await asend_later("exports", {"type": "export.poll", "done": 0, "total": content["export"]}, delay=200)

    async def progress(self, event: dict[str, Any]) -> None:
        await self.send_json({"done": event["done"]})


class SyncDashboard(JsonWebsocketConsumer):  # type: ignore[misc]
    """Its handlers run in a thread."""

    groups = ["dashboard"]

    def receive_json(self, content: dict[str, Any], **_: Any) -> None:
        send_later(self.channel_name, {"type": "countdown", "left": content["from"]}, delay=1000)

    def progress(self, event: dict[str, Any]) -> None:
        self.send_json({"done": event["done"]})

    def countdown(self, event: dict[str, Any]) -> None:
        self.send_json({"left": event["left"]})
        if event["left"]:
            send_later(self.channel_name, {"type": "countdown", "left": event["left"] - 1}, delay=1000)


def book_report(number: int) -> None:
    """What a view would do: however often it is booked, the report is built once, a minute after the last time."""
    content = {"type": "report.build", "id": number}
    send_later("reports", content, delay=60_000, key=f"report:{number}", on_conflict="replace")


async def received(channel: str) -> dict[str, Any]:
    message: dict[str, Any] = await get_channel_layer().receive(channel)
    return message


application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "channel": ChannelNameRouter({"reports": Reports.as_asgi(), "exports": Exports.as_asgi()}),
    }
)
