"""The smallest Django project that delayserver runs in. Subprocesses of tests are steered by the environment:

``DELAYSERVER_TEST_DB`` (``DATABASES``, as JSON), ``DELAYSERVER_TEST_REDIS`` (a URL), ``DELAYSERVER_TEST_LAYERS``
(``CHANNEL_LAYERS``, as JSON), ``DELAYSERVER_TEST_CONFIG`` (more of the layer's ``CONFIG``, as JSON) and
``DELAYSERVER_TEST_SETTINGS`` (``DELAYSERVER``, as JSON).
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

SECRET_KEY = "tests"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.urls"
ASGI_APPLICATION = "tests.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "channels",
    "delayserver",
]

# A file, since a database in memory would belong to one thread.
_FILE = str(Path(tempfile.gettempdir()) / f"delayserver-tests-{os.getpid()}.sqlite3")
_SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": _FILE,
    "OPTIONS": {"timeout": 20},
    "TEST": {"NAME": _FILE},
}
DATABASES: dict[str, dict[str, Any]] = json.loads(os.environ.get("DELAYSERVER_TEST_DB", "null")) or {"default": _SQLITE}

# Nothing listens on port 1: a test that needs Redis says so.
_HOST = {"address": os.environ.get("DELAYSERVER_TEST_REDIS", "redis://127.0.0.1:1"), "socket_timeout": None}
_CONFIG = json.loads(os.environ.get("DELAYSERVER_TEST_CONFIG", "{}"))
_LAYER = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [_HOST], **_CONFIG}}
CHANNEL_LAYERS = json.loads(os.environ.get("DELAYSERVER_TEST_LAYERS", "null"))
if CHANNEL_LAYERS is None:
    CHANNEL_LAYERS = {"default": _LAYER, "memory": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
DELAYSERVER = json.loads(os.environ.get("DELAYSERVER_TEST_SETTINGS", "{}"))
