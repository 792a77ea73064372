"""Who answers what: views for HTTP, one consumer for WebSockets, one for the worker's channel."""

import os

from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from channels.sessions import SessionMiddlewareStack
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.urls import re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "task_status.settings")
http = ASGIStaticFilesHandler(get_asgi_application())  # sets Django up: what needs it is imported below

from .consumers import Tasks, TaskStatus  # noqa: E402

# Whatever stands in the place of a task's id is answered, with a close code.
watching = URLRouter([re_path(r"^ws/task_status/(?P<token>.*?)/?$", TaskStatus.as_asgi())])
application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": AllowedHostsOriginValidator(SessionMiddlewareStack(watching)),
        "channel": ChannelNameRouter({"task-status": Tasks.as_asgi()}),
    }
)
