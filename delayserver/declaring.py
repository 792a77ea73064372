"""Schedules in code: what a project writes in an app's ``schedules.py``, or above a consumer's method.

``schedules.py`` and ``consumers.py`` are imported as ``admin.py`` is, and what they declare is known then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar, Unpack

from django.apps import apps
from django.utils.module_loading import autodiscover_modules, module_has_submodule

from .content import Content, shown
from .errors import InvalidSchedule
from .events import CONSUMERS_UNREAD, emit
from .occurrences import Rule
from .recurrence import Cron, Every
from .rules import ScheduleOptions, check_name, make_rule

Method = TypeVar("Method", bound=Callable[..., Any])


@dataclass(slots=True)
class Declaration:
    """What `schedule` was told; as a decorator, it learns the message from the method's name."""

    name: str
    options: dict[str, Any]
    where: str

    def __call__(self, method: Method) -> Method:
        """Send what the decorated method handles: ``report_build`` handles the type ``report.build``."""
        name = getattr(method, "__name__", None)
        if not isinstance(name, str):
            raise InvalidSchedule(f"expected a consumer's method to decorate, got {shown(method)}")
        self.options["message"] = {"type": name.replace("_", "."), **(self.options.get("message") or {})}
        return method

    def rule(self) -> Rule:
        return make_rule(self.name, self.options, "code", self.where)


_declared: list[Declaration] = []


def schedule(
    name: str,
    recurrence: Every | Cron,
    *,
    channel: str | None = None,
    group: str | None = None,
    message: Content | None = None,
    **options: Unpack[ScheduleOptions],
) -> Declaration:
    """Declare a schedule: `message` goes to `channel`, or to a `group`, whenever `recurrence` says.

    As a decorator of a consumer's method, without `message` or with what goes beside its type, the message is one
    that this method handles. In an app's ``schedules.py`` or ``consumers.py`` it is found by itself. `options` are
    `ScheduleOptions`. Raises `InvalidSchedule` for a name or recurrence that is none; everything else is told by
    ``manage.py check``.
    """
    check_name(name)
    if not isinstance(recurrence, Every | Cron):
        raise InvalidSchedule(f"expected recurrence to be a Cron or an Every, got {shown(recurrence)}")
    where = str(sys._getframe(1).f_globals.get("__name__", ""))
    told: dict[str, Any] = {"recurrence": recurrence, "channel": channel, "group": group, "message": message, **options}
    declaration = Declaration(name, told, where)
    _declared.append(declaration)
    return declaration


def declared() -> list[Declaration]:
    """All that the project's apps declare.

    An error in a ``schedules.py`` is raised, as one in an ``admin.py`` is. A ``consumers.py`` may be another's, and
    need what this process does not have: then what it declares is not known, and the log says so.
    """
    autodiscover_modules("schedules")
    for app in apps.get_app_configs():
        if module_has_submodule(app.module, "consumers"):
            try:
                import_module(f"{app.name}.consumers")
            except Exception as error:  # noqa: BLE001  whatever it is
                emit(CONSUMERS_UNREAD, of=app.name, error=error, app=app.name)
    return [one for number, one in enumerate(_declared) if one not in _declared[:number]]  # a module may come twice
