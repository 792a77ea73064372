"""Schedules in Django's admin. Imported by the admin alone, so that a project without it needs nothing of it."""

from .schedules import ScheduleAdmin

__all__ = ["ScheduleAdmin"]
