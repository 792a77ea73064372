"""The API page has every public name, and what it is made of reads as sentences."""

from __future__ import annotations

import inspect
import re

import pytest

import delayserver
from delayserver import consumers

from .blocks import ROOT

ON_PAGE = re.findall(r"^::: delayserver\.(\w+)$", (ROOT / "docs/reference/api.md").read_text(), re.MULTILINE)
TWINS = [name for name in delayserver.__all__ if inspect.iscoroutinefunction(getattr(delayserver, name))]


def test_the_api_page_has_every_public_name_once() -> None:
    assert sorted(ON_PAGE) == sorted(delayserver.__all__)


def test_the_api_page_has_all_that_consumers_use_once() -> None:
    page = (ROOT / "docs/reference/api.md").read_text()
    assert sorted(re.findall(r"^::: delayserver\.consumers\.(\w+)$", page, re.MULTILINE)) == sorted(consumers.__all__)


def test_the_python_page_has_every_function_beside_its_twin() -> None:
    page = (ROOT / "docs/reference/python.md").read_text()
    assert re.findall(r"^\| `(\w+)` \| `(\w+)` \|", page, re.MULTILINE) == [
        (name.removeprefix("a"), name) for name in ON_PAGE if name in TWINS
    ]


@pytest.mark.parametrize("name", delayserver.__all__)
def test_every_docstring_begins_with_a_line_that_is_a_sentence(name: str) -> None:
    first = (getattr(delayserver, name).__doc__ or "").partition("\n")[0]
    assert re.fullmatch(r"[A-Z`].+[.]", first), first


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_takes_what_its_function_takes(name: str) -> None:
    twin, function = getattr(delayserver, name), getattr(delayserver, name.removeprefix("a"))
    assert inspect.signature(twin) == inspect.signature(function)


def test_all_names_of_the_listed_attributes_exist() -> None:
    """A list in the docstring of a class: ``name, name`` with an indented sentence below."""
    for name in ("Receipt", "Message", "Retry"):
        kind = getattr(delayserver, name)
        listed = re.findall(r"^ {4}([a-z_]+(?:, [a-z_]+)*)$", kind.__doc__, re.MULTILINE)
        assert ", ".join(listed).split(", ") == _fields(kind), name


def _fields(kind: type) -> list[str]:
    return list(inspect.signature(kind).parameters)
