"""The admin under ASGI, with its static files, and the delay server beside it."""

from __future__ import annotations

from typing import Any

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

web: Any = ASGIStaticFilesHandler(get_asgi_application())

from delayserver.embedded import embedded  # noqa: E402  its models want the apps to be there

application = embedded(web)
