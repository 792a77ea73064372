from django.urls import path

from . import views

urlpatterns = [
    path("", views.index),
    path("hello/<path:name>/", views.hello),
    path("start-task-a/", views.start_task_a),
    path("start-task-a/in/<int:seconds>/", views.start_task_a_later),
    path("start-task-b/<int:seconds>/", views.start_task_b),
    path("start-task-c/", views.start_task_c),
]
