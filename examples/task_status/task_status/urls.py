from django.urls import path

from delayserver.views import ProgressView

from . import views
from .consumers import TaskStatus

urlpatterns = [
    path("", views.index),
    path("start/", views.start, name="start"),
    path("task_status/<token>/", ProgressView.as_view(consumer=TaskStatus)),
]
