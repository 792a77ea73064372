"""What is done to schedules that are ticked in the list: enable, disable, run now."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from ..errors import DelayServerError
from ..models import Schedule
from ..overseeing import run_rule_now
from ..stores.database_schedules import switch
from .rows import Standing, standings

MOST_NAMES = 500  # in one statement
MOST_FAULTS = 3  # that one action tells of
MOST_SHOWN = 20  # names on the page that asks why


class Actions:
    """A part of `ScheduleAdmin`."""

    admin_site: admin.AdminSite
    opts: Any
    media: Any

    @admin.action(description="Enable selected schedules", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        rows = list(queryset.filter(enabled=False))
        number = _switch(rows, on=True)
        self._note(request, rows, "Enabled.")
        messages.success(request, f"{_schedules(number)} enabled.")

    @admin.action(description="Disable selected schedules...", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> HttpResponse | None:
        """First asks why."""
        rows = list(queryset.filter(enabled=True))
        if "why" not in request.POST and rows:
            return self._ask_why(request, rows)
        why = request.POST.get("why", "").strip()[:500]
        number = _switch(rows, on=False, by=who(request), why=why)
        self._note(request, rows, f"Disabled: {why}" if why else "Disabled.")
        messages.success(request, f"{_schedules(number)} disabled.")
        return None

    @admin.action(description="Run selected schedules now", permissions=["change"])
    def run_now(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        found = standings(queryset)
        ran, faults = async_to_sync(_run)(list(found.values()))
        self._note(request, [row for row in queryset if row.name in ran], "Run now.")
        if ran:
            messages.success(request, f"{_schedules(len(ran))} run now, beside their rhythm.")
        for fault in faults[:MOST_FAULTS]:
            messages.error(request, fault)
        if len(faults) > MOST_FAULTS:
            messages.error(request, f"And {len(faults) - MOST_FAULTS} more could not be run.")

    def _ask_why(self, request: HttpRequest, rows: Sequence[Schedule]) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Why disable?",
            "opts": self.opts,
            "rows": rows[:MOST_SHOWN],
            "more": max(0, len(rows) - MOST_SHOWN),
            "chosen": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "select_across": request.POST.get("select_across", "0"),
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
            "media": self.media,
        }
        return TemplateResponse(request, "admin/delayserver/schedule/disable.html", context)

    def _note(self, request: HttpRequest, rows: Sequence[Schedule], what: str) -> None:
        """In the history of each."""
        if rows:
            LogEntry.objects.log_actions(request.user.pk, rows, CHANGE, what)  # type: ignore[arg-type]


async def _run(found: Collection[Standing]) -> tuple[set[str], list[str]]:
    """Run each once more: which ran, and why others did not."""
    ran: set[str] = set()
    faults = [f"{standing.overseen.name} cannot be run: {standing.fault}" for standing in found if standing.fault]
    for rule in [standing.rule for standing in found if standing.rule is not None]:
        try:
            await run_rule_now(rule)
        except (DelayServerError, OSError) as error:  # and the next would have to wait for it too
            faults.append(f"{rule.name} could not be run: {error}")
            break
        ran.add(rule.name)
    return ran, faults


def _switch(rows: Sequence[Schedule], **how: Any) -> int:
    names = [row.name for row in rows]
    return sum(switch(names[at : at + MOST_NAMES], **how) for at in range(0, len(names), MOST_NAMES))


def who(request: HttpRequest) -> str:
    return request.user.get_username()[:150]


def _schedules(number: int) -> str:
    return "1 schedule was" if number == 1 else f"{number} schedules were"
