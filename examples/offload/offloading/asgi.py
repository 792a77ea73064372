"""Who answers what: views for HTTP, a consumer for WebSockets. The channel asgi.offload needs no route."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "offloading.settings")
http = ASGIStaticFilesHandler(get_asgi_application())  # sets Django up: what needs it is imported below

from .consumers import Answers  # noqa: E402

websocket = URLRouter([path("ws/answers/", Answers.as_asgi())])
application = ProtocolTypeRouter({"http": http, "websocket": AllowedHostsOriginValidator(websocket)})
