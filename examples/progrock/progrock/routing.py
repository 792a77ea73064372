"""Which consumer answers which WebSocket path and which worker channel."""

from channels.routing import ChannelNameRouter, URLRouter
from django.urls import path

from delayserver.routing import websocket_urlpatterns

from .consumers import POLLER, ROCKER, Listener, Rocker, RockPoller

websocket = URLRouter([path("prog/", Listener.as_asgi()), *websocket_urlpatterns])
channel = ChannelNameRouter({ROCKER: Rocker.as_asgi(), POLLER: RockPoller.as_asgi()})
