"""Settings of this example. What may be offloaded stands at the end: nothing else may be."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
REDIS = os.environ.get("EXAMPLE_REDIS", "redis://127.0.0.1:6379")
SLOW = os.environ.get("EXAMPLE_SLOW", "127.0.0.1:8002")  # where the slow service is

SECRET_KEY = "the example has no sessions, no users and no secrets"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
INSTALLED_APPS = ["django.contrib.staticfiles", "channels", "delayserver", "offloading"]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "offloading.urls"
ASGI_APPLICATION = "offloading.asgi.application"
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

DELAYSERVER = {
    "OFFLOAD": {
        "PRIVATE_HOSTS": [SLOW],  # a host on this machine must be named; another would stand in HOSTS
        "CALLABLES": ["offloading.tasks.count_words"],
        "COMMANDS": {"sort": ["/usr/bin/sort"]},
        "TIMEOUT": 5,  # seconds
    },
}
