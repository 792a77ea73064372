from django.urls import include, path
from django.views.generic import TemplateView

from . import views

urlpatterns = [
    path("", TemplateView.as_view(template_name="progrock/index.html")),
    path("poller/", TemplateView.as_view(template_name="progrock/poller.html")),
    path("poller/start/", views.start),
    path("", include("delayserver.urls")),
]
