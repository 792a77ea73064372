"""What an operator should know about the database under a store: that its tables are missing, or it is away."""

from __future__ import annotations

from django.db import Error

from ..conf import Fault
from ..models import DeadMessage, DelayedMessage
from .database_link import DatabaseLink


def doubts_of(link: DatabaseLink) -> list[Fault]:
    try:
        there = link.connection.introspection.table_names()
    except Error as error:
        return [_is_away(link, error)]
    missing = {model._meta.db_table for model in (DelayedMessage, DeadMessage)}.difference(there)
    return [_lacks(link, missing)] if missing else []


def _lacks(link: DatabaseLink, tables: set[str]) -> Fault:
    return Fault(
        f"{link} does not have the store's tables: {', '.join(sorted(tables))}.",
        f"manage.py migrate --database {link.using}",
        "delayserver.W011",
    )


def _is_away(link: DatabaseLink, error: Exception) -> Fault:
    first_line = str(error).partition("\n")[0]
    return Fault(
        f"{link} does not answer ({type(error).__name__}: {first_line}).",
        "Start it, or correct its entry in DATABASES.",
        "delayserver.W010",
    )
