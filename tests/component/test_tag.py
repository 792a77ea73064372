"""What the template tags render."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.template import Context, Template
from django.test import RequestFactory
from django.urls import clear_script_prefix, set_script_prefix
from django.utils.translation import override
from pytest_django import Settings

TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]


@dataclass
class Work:
    """As much of a Progress as the tag looks at."""

    token: str = "abc:1-_x"
    state: str = "running"
    current: float | None = 43
    total: float | None = 100
    elapsed_ms: float = 65_432.7
    is_over: bool = False


class OnlyToken:
    token = "abc"


@pytest.fixture(autouse=True)
def project(settings: Settings) -> None:
    settings.TEMPLATES = TEMPLATES
    settings.ROOT_URLCONF = "tests.component.urls"
    settings.STATIC_URL = "/static/"


class Tags(HTMLParser):
    """What a browser makes of it: each tag with its attributes, and the texts."""

    def __init__(self, rendered: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(rendered)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def rendered(arguments: str, *, tag: str = "task_progress", **context: Any) -> Tags:
    template = Template("{% load delayserver %}{% " + f"{tag} {arguments}" + " %}")
    return Tags(template.render(Context({"work": Work(), **context})))


SCRIPT = ("script", {"type": "module", "src": "/static/delayserver/task-progress.js"})


def test_the_tag_renders_the_element_and_its_script() -> None:
    page = rendered('work label="Export" trigger="export-done"')
    element = {
        "socket": "/ws/progress/abc:1-_x/",
        "href": "/progress/abc:1-_x/",
        "label": "Export",
        "elapsed": "65432",
        "trigger": "export-done",
    }
    assert page.tags == [("task-progress", element), SCRIPT]
    assert page.texts[0] == "43 %"


def test_a_token_is_enough() -> None:
    page = rendered("work", work=OnlyToken())
    assert page.tags == [("task-progress", {"socket": "/ws/progress/abc/", "href": "/progress/abc/"}), SCRIPT]


@pytest.mark.parametrize(
    ("work", "known", "over"),
    [
        (Work(current=None), "0 %", False),
        (Work(current=250), "100 %", False),
        (Work(total=None), "running", False),
        (Work(total=0), "running", False),
        (Work(state="timed_out", is_over=True), "timed out", True),
    ],
)
def test_without_its_script_it_says_what_was_known(work: Work, known: str, over: bool) -> None:
    page = rendered("work", work=work)
    assert page.texts[0] == known
    assert ("over" in page.tags[0][1]) == over


def test_everything_is_escaped_even_where_the_template_does_not() -> None:
    hostile = '"><b onclick=alert(1)>'
    parts = {"work": Work(token=hostile, state=hostile, total=None), "label": hostile}
    arguments = "work label=label trigger=label socket_prefix=label"
    template = "{% load delayserver %}{% autoescape off %}{% task_progress " + arguments + " %}{% endautoescape %}"
    page = Tags(Template(template).render(Context(parts)))
    assert [tag for tag, _ in page.tags] == ["task-progress", "script"]
    assert page.tags[0][1]["label"] == page.tags[0][1]["trigger"] == hostile
    assert page.tags[1] == SCRIPT


def test_numbers_are_for_the_script_and_not_for_the_reader(settings: Settings) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    with override("de"):
        assert rendered("work").tags[0][1]["elapsed"] == "65432"


def test_the_socket_is_where_the_project_says() -> None:
    assert rendered('work socket_prefix="/live/"').tags[0][1]["socket"] == "/live/abc:1-_x/"
    assert (
        rendered('work socket_prefix="wss://ws.example.com"').tags[0][1]["socket"] == "wss://ws.example.com/abc:1-_x/"
    )


def test_below_a_script_prefix_both_urls_are() -> None:
    set_script_prefix("/shop/")
    try:
        attributes = rendered("work").tags[0][1]
    finally:
        clear_script_prefix()
    assert (attributes["socket"], attributes["href"]) == ("/shop/ws/progress/abc:1-_x/", "/shop/progress/abc:1-_x/")


def test_the_script_alone_is_for_those_who_write_the_element() -> None:
    assert rendered("", tag="task_progress_script").tags == [SCRIPT]


def test_a_nonce_is_passed_on_even_a_lazy_one() -> None:
    class Unasked:
        def __bool__(self) -> bool:  # as Django's own says until it was asked for
            return False

        def __str__(self) -> str:
            return "of-the-context"

    request = RequestFactory().get("/")
    request.csp_nonce = "of-the-request"  # type: ignore[attr-defined]
    for context, nonce in (
        ({"csp_nonce": Unasked()}, "of-the-context"),
        ({"request": request}, "of-the-request"),
    ):
        for tag, arguments in (("task_progress", "work"), ("task_progress_script", "")):
            assert rendered(arguments, tag=tag, **context).tags[-1][1]["nonce"] == nonce


@pytest.mark.parametrize("work", [None, "", "abc", Work(token="")])
def test_what_is_no_progress_is_refused(work: Any) -> None:
    with pytest.raises(TypeError, match=rf"expected a Progress .* got {type(work).__name__}"):
        rendered("work", work=work)


def test_where_the_urls_are_not_included_the_cure_is_told(settings: Settings) -> None:
    settings.ROOT_URLCONF = "tests.urls"
    with pytest.raises(ImproperlyConfigured, match=r'Add path\("", include\("delayserver.urls"\)\) to urlpatterns'):
        rendered("work")
