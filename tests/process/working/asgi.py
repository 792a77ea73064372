"""Which consumer has which channel."""

from __future__ import annotations

from typing import Any

from channels.routing import ChannelNameRouter, ProtocolTypeRouter

from .consumers import Acking, Blocking, Plain

NAMES: dict[str, Any] = {"work": Plain, "slow": Plain, "fast": Plain, "blocking": Blocking, "acking": Acking}
application = ProtocolTypeRouter(
    {"channel": ChannelNameRouter({name: consumer.as_asgi() for name, consumer in NAMES.items()})}
)
