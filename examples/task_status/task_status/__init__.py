"""Celery's app is there wherever the project is, so that a view can send its tasks."""

from .celery import app as celery_app

__all__ = ["celery_app"]
