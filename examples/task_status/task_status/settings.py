"""Settings of this example: layer, store and Celery's broker are one Redis, and no database is needed."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
REDIS = os.environ.get("EXAMPLE_REDIS", "redis://127.0.0.1:6379")

SECRET_KEY = os.environ.get("EXAMPLE_SECRET", "no secret at all; serve.py makes one with each start")
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
INSTALLED_APPS = ["django.contrib.staticfiles", "channels", "delayserver", "task_status"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_COOKIE_NAME = "task_status"  # other projects on this machine have theirs
CSRF_USE_SESSIONS = True
ROOT_URLCONF = "task_status.urls"
ASGI_APPLICATION = "task_status.asgi.application"
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
CELERY_BROKER_URL = REDIS
