"""Databases beside the default one, for the tests of the database store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asgiref.sync import SyncToAsync
from django.apps import apps
from django.core.management import call_command
from django.db import connections, transaction


def add_database(alias: str, settings: Mapping[str, Any]) -> None:
    """Make `alias` known to Django, with the tables of delayserver."""
    connections.settings[alias] = dict(settings)
    connections.configure_settings(connections.settings)  # fills in the defaults
    call_command("migrate", "delayserver", database=alias, verbosity=0)
    connections[alias].close()


def remove_database(alias: str) -> None:
    connections[alias].close()
    del connections[alias]
    del connections.settings[alias]


def empty_database(alias: str) -> None:
    """Delete every row of delayserver."""
    with transaction.atomic(using=alias):
        for model in apps.get_app_config("delayserver").get_models():
            model._base_manager.using(alias).all().delete()


def close_connections_of_async_tests() -> None:
    """In the one thread that all of them share; where one is left open there, a later test must not use it."""
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()
