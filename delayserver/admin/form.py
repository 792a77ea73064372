"""The form of a `Schedule`: what it refuses, it refuses in the words of `make_rule`, each at its field."""

from __future__ import annotations

import functools
import zoneinfo
from datetime import timedelta
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.forms.fields import InvalidJSONInput
from django.utils.text import capfirst

from ..errors import InvalidSchedule
from ..models import Schedule
from ..occurrences import Rule
from ..rules import make_rule
from ..schedules import read_fixed
from ..stores.database_schedules import PARTS, database, options_of
from .rows import unreadable

# What stands for a part that is refused, or is left out with it, while the others are asked.
STAND_INS: dict[str, Any] = {
    "cron": "* * * * *",
    "every": timedelta(minutes=1),
    "channel": "any",
    "group": "any",
    "message": {"type": "any"},
}
GONE_WITH = {"cron": ("every", "anchor"), "every": ("cron", "tz", "dst"), "channel": ("group",), "group": ("channel",)}


class ScheduleForm(forms.ModelForm):  # type: ignore[type-arg]  # cannot be subscripted at run time
    """After `is_valid`, `rule` is what the form says, as far as it can be told: see `STAND_INS`."""

    why = forms.CharField(
        label="Why disabled",
        required=False,
        max_length=500,
        help_text="A note for others. Who and when are kept beside it, until it is enabled again.",
    )

    class Meta:
        model = Schedule
        fields = ("name", *PARTS)
        widgets = {
            "cron": forms.TextInput(attrs={"class": "vTextField delayserver-code", "spellcheck": "false"}),
            "tz": forms.TextInput(attrs={"class": "vTextField", "list": "delayserver-zones", "spellcheck": "false"}),
            "message": forms.Textarea(attrs={"class": "vLargeTextField", "rows": 4, "spellcheck": "false"}),
            "retry": forms.Textarea(attrs={"class": "vLargeTextField", "rows": 2, "spellcheck": "false"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rule: Rule | None = None
        self.initial.setdefault("why", self.instance.paused_why)
        for name, text in unreadable(self.instance).items():
            self.initial[name] = None
            if isinstance(self.fields.get(name), forms.JSONField):
                self.initial[name] = InvalidJSONInput(text)
        if self.instance.pk is None and "message" in self.fields:
            self.initial.setdefault("message", {"type": ""})

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        fixed = read_fixed()
        if name in fixed.rules or name in fixed.faults:
            where = fixed.rules[name].where if name in fixed.rules else "code or settings"
            raise forms.ValidationError(
                f"Expected a name that is free: there is a {name} in {where}, which goes first."
            )
        if self._rows().filter(name=name).exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError("Expected a name that is free: another row has it.")
        return name

    def clean(self) -> dict[str, Any]:
        """All that is wrong at once: what is refused gives way to what surely is not, and the rest is asked again."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        options = options_of({part: cleaned.get(part) for part in PARTS})
        refused = set(self.errors)
        for part in refused:
            options = _without(options, part)
        while self.rule is None:
            try:
                self.rule = make_rule(cleaned.get("name", "any"), options, "row")
            except InvalidSchedule as error:
                known = error.part in self.fields and error.part not in refused
                self.add_error(error.part if known else None, capfirst(f"{error}."))
                if not known or error.part is None:
                    break
                refused.add(error.part)
                options = _without(options, error.part)
        return cleaned

    def validate_unique(self) -> None:
        """`clean_name` has asked, where the rows are."""

    def _rows(self) -> QuerySet[Schedule]:
        return Schedule.objects.using(database())


def _without(options: dict[str, Any], part: str) -> dict[str, Any]:
    """Without this part, and where one is needed, with another that is right."""
    gone = (part, *GONE_WITH.get(part, ()))
    kept = {name: value for name, value in options.items() if name not in gone}
    return kept | ({part: STAND_INS[part]} if part in STAND_INS else {})


@functools.cache
def zone_names() -> list[str]:
    """What a browser offers while a time zone is typed."""
    return sorted(zoneinfo.available_timezones())
