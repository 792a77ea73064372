"""``{% load delayserver %}``: a piece of work on a page, as it goes on."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django import template
from django.core.exceptions import ImproperlyConfigured
from django.template import Context
from django.templatetags.static import static
from django.urls import NoReverseMatch, get_script_prefix, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.inclusion_tag("delayserver/task_progress.html", takes_context=True)
def task_progress(
    context: Context, progress: Any, label: str = "", *, trigger: str = "", socket_prefix: str | None = None
) -> dict[str, Any]:
    """The element ``<task-progress>`` for `progress`, and its script.

    `trigger` is the event that it dispatches when the work is over. `socket_prefix` is the path of the WebSocket before
    the token: ``/ws/progress/``, below the script's own, unless given. `TypeError` where `progress` has no token,
    `ImproperlyConfigured` where the URLs of delayserver are not included.
    """
    token = getattr(progress, "token", None)
    if not isinstance(token, str) or not token:
        raise TypeError(f"expected a Progress (something with a token), got {type(progress).__name__}")
    prefix = f"{get_script_prefix()}ws/progress/" if socket_prefix is None else socket_prefix
    elapsed = getattr(progress, "elapsed_ms", None)
    return {
        "socket": f"{prefix.removesuffix('/')}/{quote(token, safe=':')}/",
        "href": _twin(token),
        "label": label,
        "elapsed": None if elapsed is None else str(int(elapsed)),  # not as the page's language writes numbers
        "trigger": trigger,
        "over": getattr(progress, "is_over", False),
        "known": _known(progress),
        "script": task_progress_script(context),
    }


@register.simple_tag(takes_context=True)
def task_progress_script(context: Context) -> SafeString:
    """The script that defines ``<task-progress>``, for a page that writes the element itself. Twice does no harm."""
    nonce = _nonce(context)
    given = format_html(' nonce="{}"', nonce) if nonce else ""
    return format_html('<script type="module" src="{}"{}></script>', static("delayserver/task-progress.js"), given)


def _twin(token: str) -> str:
    try:
        return reverse("delayserver:progress", args=[token])
    except NoReverseMatch as error:
        raise ImproperlyConfigured(
            "expected the URLs of delayserver in the URLconf, found none for progress."
            ' Add path("", include("delayserver.urls")) to urlpatterns.'
        ) from error


def _nonce(context: Context) -> str:
    """Django's own context processor has it in the context, django-csp in the request."""
    nonce = context.get("csp_nonce")
    if nonce is None:
        nonce = getattr(context.get("request"), "csp_nonce", None)
    return "" if nonce is None else str(nonce)  # a lazy one is false until somebody has asked for it


def _known(progress: Any) -> str:
    """What is shown until the script runs, and where no script does: how far it was, or its state."""
    current, total = getattr(progress, "current", None), getattr(progress, "total", None)
    if total and not getattr(progress, "is_over", False):
        return f"{min(max(int(100 * (current or 0) / total), 0), 100)} %"
    return str(getattr(progress, "state", "")).replace("_", " ")
