"""Settings of the demo. Without any environment it needs no server at all: SQLite and the in-memory layer.

PROGROCK_REDIS      a Redis URL: the channel layer is channels_redis, and three processes share the work
PROGROCK_STORE      where messages wait: redis, database or memory; by default what goes with the layer
PROGROCK_DATABASE   JSON for DATABASES["default"]
"""

import json
import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

REDIS = os.environ.get("PROGROCK_REDIS")
STORE = os.environ.get("PROGROCK_STORE")
DATABASE = os.environ.get("PROGROCK_DATABASE")

SECRET_KEY = "the demo has no sessions, no users and no secrets"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
INSTALLED_APPS = ["django.contrib.staticfiles", "channels", "delayserver", "progrock"]
ROOT_URLCONF = "progrock.urls"
ASGI_APPLICATION = "progrock.asgi.application"
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR.parent / "shared" / "static"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
USE_TZ = True

SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": VAR_DIR / "progrock.sqlite3",
    "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"},
}
DATABASES = {"default": json.loads(DATABASE) if DATABASE else SQLITE}

IN_MEMORY_LAYER = {"BACKEND": "channels.layers.InMemoryChannelLayer"}
REDIS_LAYER = {
    "BACKEND": "channels_redis.core.RedisChannelLayer",
    # redis-py 8 would end every read after 5 quiet seconds, and with it idle WebSockets and workers.
    "CONFIG": {"hosts": [{"address": REDIS, "socket_timeout": None}]},
}
CHANNEL_LAYERS = {"default": REDIS_LAYER if REDIS else IN_MEMORY_LAYER}

DELAYSERVER = {"STORE": STORE} if STORE else {}
