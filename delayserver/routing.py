"""For a project's `URLRouter`: where browsers see progress.

``URLRouter([*websocket_urlpatterns, ...])``. Whatever stands in place of a token is answered, with a close code.
"""

from __future__ import annotations

from django.urls import re_path

from .consumers import ProgressConsumer

websocket_urlpatterns = [re_path(r"^ws/progress/(?P<token>.*?)/?$", ProgressConsumer.as_asgi())]
