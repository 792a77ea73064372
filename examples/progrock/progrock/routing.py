"""Which consumer answers which WebSocket path and which worker channel."""

from channels.routing import ChannelNameRouter, URLRouter
from django.urls import path

from .consumers import ROCKER, Listener, Rocker

websocket = URLRouter([path("prog/", Listener.as_asgi())])
channel = ChannelNameRouter({ROCKER: Rocker.as_asgi()})
