"""For a project's URLconf: ``path("", include("delayserver.urls"))``."""

from __future__ import annotations

from django.urls import path

from .views import ProgressView

app_name = "delayserver"
urlpatterns = [path("progress/<token>/", ProgressView.as_view(), name="progress")]
