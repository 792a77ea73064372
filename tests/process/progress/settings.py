"""`tests.settings`, with pollers, and browsers that watch them."""

from __future__ import annotations

from datetime import timedelta

from tests.settings import *  # noqa: F403
from tests.settings import DELAYSERVER, INSTALLED_APPS

ASGI_APPLICATION = "tests.process.progress.asgi.application"
ROOT_URLCONF = "tests.process.progress.urls"
INSTALLED_APPS = [*INSTALLED_APPS, "django.contrib.sessions", "django.contrib.staticfiles"]
STATIC_URL = "static/"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
DELAYSERVER = {**DELAYSERVER, "PROGRESS": {"TOKEN_AGE": timedelta(minutes=10)}}
