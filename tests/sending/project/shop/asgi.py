"""The shop over HTTP, and its workers."""

from __future__ import annotations

import os

from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
http = get_asgi_application()

from .routing import channels  # noqa: E402  after django.setup()

application = ProtocolTypeRouter({"http": http, "channel": ChannelNameRouter(channels)})
