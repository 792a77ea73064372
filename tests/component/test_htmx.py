"""The example of the docs, with htmx itself: the page as it stands there, in a browser."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.template import Context, Engine
from django.test import override_settings
from playwright.async_api import expect

from ..docs.blocks import blocks_of
from ..support.process import ROOT
from .conftest import Show, in_state
from .standin import STRICT, StandIn

pytestmark = pytest.mark.asyncio(loop_scope="package")

PAGE = ROOT / "docs/how-to/htmx.md"
TEMPLATES = {
    name.partition("templates/")[2]: block.text for block in blocks_of(PAGE) if (name := block.words.get("file", ""))
}
ENGINE = Engine(
    loaders=[("django.template.loaders.locmem.Loader", TEMPLATES), "django.template.loaders.app_directories.Loader"],
    libraries={
        "delayserver": "delayserver.templatetags.delayserver",
        "static": "django.templatetags.static",
    },
)


def htmx(version: int) -> Path:
    """htmx itself, which django-htmx brings."""
    found = find_spec("django_htmx")
    if found is None or found.origin is None:
        raise RuntimeError("django-htmx was not found, and these tests need its htmx. Run `make test`.")
    return Path(found.origin).parent / "static" / "django_htmx" / f"htmx-{version}.min.js"


def rendered(name: str, state: str = "running", **parts: Any) -> str:
    progress = SimpleNamespace(token="one", state=state, is_over=state != "running", **parts)
    context = {"export": SimpleNamespace(pk=7), "progress": progress}
    with override_settings(ROOT_URLCONF="tests.component.urls", STATIC_URL="/static/"):
        return ENGINE.get_template(name).render(Context(context))


@pytest.mark.parametrize("version", [2, 4])
@pytest.mark.parametrize(
    ("state", "parts", "shown"),
    [
        ("succeeded", {"result": {"url": "/files/7"}}, "Download"),
        ("failed", {"error": "disk full"}, "It came to nothing: disk full"),
    ],
)
async def test_when_it_is_over_the_part_comes_anew_and_once(
    show: Show, standin: StandIn, version: int, state: str, parts: dict[str, Any], shown: str
) -> None:
    standin.policy = STRICT.partition("; require-trusted-types")[0]  # htmx parses what it is sent
    standin.files["htmx.min.js"] = htmx(version)
    await standin.send("one", state="running")
    page = await show("", at="/exports/7/", html=rendered("exports/export.html"))
    await in_state(page, "running", "export task-progress")
    standin.pages["/exports/7/part/"] = rendered("exports/part.html", state, **parts)
    await standin.send("one", state=state, **parts)
    await expect(page.locator("#export")).to_contain_text(shown)
    await expect(page.locator("task-progress")).to_have_count(0)
    assert standin.served["/exports/7/part/"] == 1


async def test_a_part_that_keeps_the_element_does_not_go_round_in_circles(show: Show, standin: StandIn) -> None:
    standin.policy = STRICT.partition("; require-trusted-types")[0]
    standin.files["htmx.min.js"] = htmx(2)
    await standin.send("one", state="running")
    keeping = rendered("exports/export.html")
    page = await show("", at="/exports/7/", html=keeping)
    await in_state(page, "running", "export task-progress")
    over = keeping.replace("<task-progress", "<task-progress over").partition("<div")[2]
    standin.pages["/exports/7/part/"] = "<div" + over.partition("</body>")[0]
    await standin.send("one", state="succeeded")
    await expect(page.locator("task-progress[over][state=succeeded]")).to_have_count(1)
    await page.wait_for_load_state("networkidle")
    assert standin.served["/exports/7/part/"] == 1
