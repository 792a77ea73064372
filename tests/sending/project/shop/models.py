"""What the shop writes beside its messages."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Order(models.Model):
    number = models.IntegerField()
    objects: ClassVar[models.Manager[Order]] = models.Manager()

    class Meta:
        app_label = "shop"
