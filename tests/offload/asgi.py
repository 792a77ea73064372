"""The application that a worker of offloads runs, for projects that route it themselves."""

from __future__ import annotations

import django
from channels.routing import ChannelNameRouter, ProtocolTypeRouter

django.setup()

from delayserver.offload import OffloadConsumer  # noqa: E402

application = ProtocolTypeRouter({"channel": ChannelNameRouter({"asgi.offload": OffloadConsumer.as_asgi()})})
