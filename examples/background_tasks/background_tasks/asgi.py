"""Who answers what: views for HTTP, one consumer for WebSockets, two for the worker's channels."""

import os

from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "background_tasks.settings")
http = ASGIStaticFilesHandler(get_asgi_application())  # sets Django up: what needs it is imported below

from .consumers import BackgroundTasks, Hello, Watcher  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": AllowedHostsOriginValidator(URLRouter([path("ws/happenings/", Watcher.as_asgi())])),
        "channel": ChannelNameRouter(
            {"background-tasks": BackgroundTasks.as_asgi(), "background-hello": Hello.as_asgi()}
        ),
    }
)
