"""The shop's pages."""

from __future__ import annotations

from django.urls import path

from . import views

urlpatterns = [
    path("order/", views.order),
    path("order/through-async/", views.order_through_async),
    path("checkout/", views.checkout),
    path("checkout/at-once/", views.checkout_at_once),
    path("remind/", views.remind),
    path("remind/many/", views.remind_many),
]
