"""The demo's ASGI application; without Redis, the delay server and the worker run inside it."""

import os

from channels.routing import ProtocolTypeRouter
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "progrock.settings")
http = ASGIStaticFilesHandler(get_asgi_application())  # sets Django up: what needs it is imported below

from delayserver.embedded import embedded  # noqa: E402

from . import routing  # noqa: E402

application = ProtocolTypeRouter({"http": http, "websocket": routing.websocket, "channel": routing.channel})
if not settings.REDIS:
    application = embedded(application, workers=[routing.ROCKER, routing.POLLER])
