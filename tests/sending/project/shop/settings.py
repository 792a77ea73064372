"""Where things are comes from the environment, by the names that `tests.settings` has too; the rest stands here."""

from __future__ import annotations

import json
import os
from typing import Any

SECRET_KEY = "tests"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
ASGI_APPLICATION = "shop.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "channels",
    "delayserver",
    "shop.apps.ShopConfig",
]
MIDDLEWARE = ["shop.middleware.checkout_is_atomic"]

DATABASES: dict[str, dict[str, Any]] = json.loads(os.environ["DELAYSERVER_TEST_DB"])
REDIS: str = os.environ["DELAYSERVER_TEST_REDIS"]
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            "hosts": [{"address": REDIS, "socket_timeout": None}],
            **json.loads(os.environ["DELAYSERVER_TEST_CONFIG"]),
        },
    }
}
DELAYSERVER = json.loads(os.environ["DELAYSERVER_TEST_SETTINGS"])

CELERY_BROKER_URL = REDIS.removesuffix("/0") + "/1"
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_DB_REUSE_MAX = 1_000_000  # Celery's own habit is a new database connection for each task
