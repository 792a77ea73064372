"""Where Django meets the package."""

from __future__ import annotations

from django.apps import AppConfig


class DelayServerConfig(AppConfig):
    name = "delayserver"
    verbose_name = "Delay server"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks  # noqa: F401  registers them
