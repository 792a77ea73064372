"""The application that a worker of the tests' project would run: no consumers."""

from __future__ import annotations

from channels.routing import ChannelNameRouter, ProtocolTypeRouter

application = ProtocolTypeRouter({"channel": ChannelNameRouter({})})
