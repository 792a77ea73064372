"""Web, WebSockets and pollers."""

from __future__ import annotations

from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

http = ASGIStaticFilesHandler(get_asgi_application())

from delayserver.routing import websocket_urlpatterns  # noqa: E402

from .consumers import Export, Frail  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": URLRouter(websocket_urlpatterns),
        "channel": ChannelNameRouter({"export": Export.as_asgi(), "frail": Frail.as_asgi()}),
    }
)
