"""The pages of the model `Schedule`: list, form and preview."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from ..clock import SystemClock
from ..conf import get_settings
from ..models import Schedule
from ..stores.database_schedules import database
from . import cells
from .actions import Actions, who
from .form import ScheduleForm, zone_names
from .preview import preview, times
from .rows import MendingQuerySet, Standing, glance, standings, unreadable

ROOM = 65_536  # bytes of a form beside its message


class ScheduleList(ChangeList):
    """Knows how each row of its page stands."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if request.method != "GET":
            return
        rows = list(self.result_list)
        found = standings(rows)
        for row in rows:
            row.standing = found[row.name]
        trouble = next((standing.trouble for standing in found.values() if standing.trouble), None)
        if trouble:
            messages.warning(request, f"The store does not tell how the schedules stand: {trouble}")


@admin.register(Schedule)
class ScheduleAdmin(Actions, admin.ModelAdmin):  # type: ignore[type-arg]  # cannot be subscripted at run time
    form = ScheduleForm
    list_display = ("name", "rhythm", "target", "state", "next", "last", "counts")
    list_filter = ("enabled", "catch_up")
    search_fields = ("name", "channel", "group", "cron")
    actions = ("enable", "disable", "run_now")
    readonly_fields = ("preview", "state", "fault", "last", "next", "runs", "skipped", "paused")
    fieldsets = (
        (None, {"fields": ("name", "enabled", "why")}),
        ("When", {"fields": ("cron", "tz", "every", "preview")}),
        ("What", {"fields": ("channel", "group", "message")}),
        ("More about when", {"classes": ("collapse",), "fields": ("dst", "anchor", "starts", "ends", "max_runs")}),
        (
            "When it is late, or fails",
            {
                "classes": ("collapse",),
                "fields": ("catch_up", "catch_up_window", "overlap", "jitter", "expires", "retry"),
            },
        ),
    )
    stands = ("How it stands", {"fields": ("state", "fault", "next", "last", "runs", "skipped", "paused")})

    class Media:
        css = {"all": ("delayserver/schedule.css",)}
        js = ("delayserver/schedule.js",)

    # -- rows --------------------------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[Schedule]:
        rows = MendingQuerySet(Schedule, using=database())
        return rows.order_by(*self.get_ordering(request))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ScheduleList

    def get_fieldsets(self, request: HttpRequest, obj: Schedule | None = None) -> Any:
        return self.fieldsets if obj is None else (*self.fieldsets, self.stands)

    def save_model(self, request: HttpRequest, obj: Schedule, form: ModelForm[Schedule], change: bool) -> None:
        """With a note of who and why, where it is disabled."""
        if obj.enabled:
            obj.paused_by, obj.paused_why, obj.paused_at = "", "", None
        else:
            obj.paused_why = form.cleaned_data.get("why", "")
            if not change or "enabled" in form.changed_data:
                obj.paused_by, obj.paused_at = who(request), timezone.now()
        obj.save(using=database())

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Schedule | None = None,
    ) -> HttpResponse:
        for column, text in ({} if obj is None or request.method != "GET" else unreadable(obj)).items():
            messages.warning(
                request, f"The column {column} holds what cannot be read; saving replaces it: {glance(text)}"
            )
        context["delayserver_zones"] = zone_names()
        return super().render_change_form(request, context, add, change, form_url, obj)

    # -- what is shown -----------------------------------------------------------------------------------------

    @admin.display(description="rhythm", ordering="cron")
    def rhythm(self, row: Schedule) -> str:
        return cells.rhythm(row, _standing(row))

    @admin.display(description="target", ordering="channel")
    def target(self, row: Schedule) -> str:
        return cells.target(row)

    @admin.display(description="state", ordering="enabled")
    def state(self, row: Schedule) -> str:
        return cells.state(_standing(row))

    @admin.display(description="what is wrong")
    def fault(self, row: Schedule) -> str:
        return cells.fault(row, _standing(row)) or _standing(row).trouble or cells.NONE

    @admin.display(description="last")
    def last(self, row: Schedule) -> str:
        return cells.last(_standing(row))

    @admin.display(description="next")
    def next(self, row: Schedule) -> str:
        return cells.next_one(_standing(row))

    @admin.display(description="runs")
    def counts(self, row: Schedule) -> str:
        return cells.counts(_standing(row))

    @admin.display(description="runs")
    def runs(self, row: Schedule) -> str:
        return cells.runs(_standing(row))

    @admin.display(description="skipped")
    def skipped(self, row: Schedule) -> str:
        return cells.skipped(_standing(row))

    @admin.display(description="disabled")
    def paused(self, row: Schedule) -> str:
        return cells.paused(row)

    @admin.display(description="why disabled")
    def why(self, row: Schedule) -> str:
        """For those who may only look."""
        return row.paused_why or cells.NONE

    @admin.display(description="next times")
    def preview(self, row: Schedule) -> SafeString:
        """Where schedule.js shows what `preview_view` tells; at first, and for those who may only look, what is so."""
        url, told = reverse(f"{self.admin_site.name}:delayserver_schedule_preview"), {}
        if row.pk is not None:
            url, standing = f"{url}?id={row.pk}", _standing(row)
            if standing.rule is not None:
                told = times(standing.rule, standing.overseen.now, standing.overseen.cursor)
        return format_html(
            '<div class="delayserver-preview" data-url="{}" data-told="{}" aria-live="polite"></div>',
            url,
            json.dumps(told),
        )

    # -- while typing ------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.preview_view))
        return [path("preview/", view, name="delayserver_schedule_preview"), *super().get_urls()]

    def preview_view(self, request: HttpRequest) -> JsonResponse:
        """What the form would say if it were saved now. Nothing is changed."""
        if not (
            self.has_view_permission(request) or self.has_add_permission(request) or self.has_change_permission(request)
        ):
            raise PermissionDenied
        if int(request.META.get("CONTENT_LENGTH") or 0) > get_settings().max_message_bytes + ROOM:
            return JsonResponse({"errors": {"__all__": ["Expected a form of a smaller size."]}}, status=413)
        pk = request.GET.get("id", "")
        row = self.get_queryset(request).filter(pk=pk).first() if pk.isdecimal() and len(pk) < 19 else None
        asked = row is not None and (request.POST.get("every") or request.POST.get("max_runs"))
        cursor = (
            _standing(row).overseen.cursor if row is not None and asked else None
        )  # before the form changes the row
        form = self.get_form(request, row, change=row is not None)(request.POST, instance=row)
        assert isinstance(form, ScheduleForm)
        form.is_valid()
        return JsonResponse(preview(form, SystemClock().now(), cursor))


def _standing(row: Schedule) -> Standing:
    """The list has asked for all its rows at once; a form asks for its own."""
    if not hasattr(row, "standing"):
        row.standing = standings([row])[row.name]  # type: ignore[attr-defined]
    found: Standing = row.standing  # type: ignore[attr-defined]
    return found
