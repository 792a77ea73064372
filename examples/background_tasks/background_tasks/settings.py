"""Settings of this example: the layer is on Redis, so messages wait there, too, and no database is needed."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
REDIS = os.environ.get("EXAMPLE_REDIS", "redis://127.0.0.1:6379")
WORKER = os.environ.get("EXAMPLE_WORKER", "runtasks")  # what the page says

SECRET_KEY = "the example has no sessions, no users and no secrets"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
INSTALLED_APPS = ["django.contrib.staticfiles", "channels", "delayserver", "background_tasks"]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "background_tasks.urls"
ASGI_APPLICATION = "background_tasks.asgi.application"
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR.parent / "shared" / "static"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
USE_TZ = True

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        # redis-py 8 would end every read after 5 quiet seconds, and with it idle WebSockets and workers.
        "CONFIG": {"hosts": [{"address": REDIS, "socket_timeout": None}]},
    },
}
