"""Celery's app, as in any Django project; and the line that shows its tasks."""

import os

from celery import Celery

from delayserver.contrib.celery import show_progress

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "task_status.settings")
app = Celery("task_status")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["task_status"])
show_progress(app)
