"""A project with Django's admin, for the tests of this folder alone: others are to see that it is not needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection
from django.test import Client, override_settings
from pytest_django import DjangoDbBlocker, Settings

from delayserver.models import Schedule
from delayserver.occurrences import Cursor
from delayserver.overseeing import oversee
from delayserver.stores import get_stores
from delayserver.stores.moves import Move

from ..support.browser import browser as browser
from . import settings as project

LIST = "/admin/delayserver/schedule/"
PREVIEW = f"{LIST}preview/"
PLAIN = {"cron": "0 3 * * *", "channel": "reports", "message": {"type": "report.build"}}


@pytest.fixture(scope="package", autouse=True)
def with_admin(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    names = ("INSTALLED_APPS", "MIDDLEWARE", "TEMPLATES", "ROOT_URLCONF", "STATIC_URL", "PASSWORD_HASHERS")
    with override_settings(**{name: getattr(project, name) for name in names}):
        with django_db_blocker.unblock():
            call_command("migrate", verbosity=0)
        yield


@pytest.fixture(autouse=True)
def in_database(settings: Settings) -> None:
    """Messages wait beside the rows, unless a test says otherwise."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


@pytest.fixture
def ada(db: None) -> Client:
    """Who may do all."""
    return signed_in(User.objects.create_superuser("ada"))


def someone(*permissions: str, name: str = "grace") -> Client:
    """Staff with these permissions for schedules."""
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=[f"{word}_schedule" for word in permissions]))
    return signed_in(user)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def schedule(name: str, **parts: Any) -> Schedule:
    """A row, as `PLAIN` but for what is given."""
    return Schedule.objects.create(name=name, **{**PLAIN, **parts})


def form(**parts: str) -> dict[str, str]:
    """What a browser sends of a form that is filled in."""
    plain = {"name": "nightly", "enabled": "on", "cron": "0 3 * * *", "channel": "reports", "catch_up": "one"}
    return {**plain, "overlap": "allow", "message": '{"type": "report.build"}', **parts}


def step(name: str, **parts: Any) -> None:
    """As if a server had taken the schedule so far."""
    (found,) = async_to_sync(oversee)([name])
    assert found.rule is not None
    cursor = Cursor.begin(found.rule, found.now)._replace(waiting=found.next, **parts)
    async_to_sync(get_stores()[0].put_occurrences)([Move(name, None, cursor.pack())])


def history() -> list[tuple[str, str]]:
    """What the admin has noted: of which schedule, and what."""
    from django.contrib.admin.models import LogEntry  # where there is no admin, it cannot be imported

    return sorted(LogEntry.objects.values_list("object_repr", "change_message"))


def scribble(row: Schedule, **columns: str) -> None:
    """Write past Django, as SQL may on SQLite."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA ignore_check_constraints = ON")
        for column, value in columns.items():
            cursor.execute(f"UPDATE delayserver_schedule SET {column} = %s WHERE id = %s", [value, row.pk])
        cursor.execute("PRAGMA ignore_check_constraints = OFF")
