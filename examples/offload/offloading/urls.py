from django.urls import path

from . import views

urlpatterns = [
    path("", views.index),
    path("proxy/", views.proxy),
    path("count/", views.count),
    path("count-here/", views.count_here),
    path("sort/", views.sort),
    path("ping/", views.ping),
]
