"""The page of the reference says what the script says."""

from __future__ import annotations

import re

import pytest

from ..support.process import ROOT
from .conftest import Show, element

pytestmark = pytest.mark.asyncio(loop_scope="package")

REFERENCE = ROOT / "docs/reference/task-progress.md"
SCRIPT = (ROOT / "delayserver/static/delayserver/task-progress.js").read_text()
PARTS = (
    "[...document.querySelector('task-progress').shadowRoot.querySelectorAll('[part]')].map((one) => one.part.value)"
)


def listed(head: str) -> set[str]:
    """The names in the first column of the table with this head."""
    rows = REFERENCE.read_text().partition(f"| {head} |")[2].partition("\n\n")[0].splitlines()[2:]
    return {name for row in rows for name in re.findall(r"`([\w-]+)`", row.split("|")[1])}


async def test_it_has_every_attribute() -> None:
    assert listed("attribute") == set(re.findall(r'(?:hasAttribute|getAttribute|#url)\("(\w+)"\)', SCRIPT))


async def test_it_has_every_property() -> None:
    assert listed("property") == set(re.findall(r"var\((--task-progress-\w+)", SCRIPT))


async def test_it_has_every_part(show: Show) -> None:
    page = await show(element())
    assert listed("part") == set(await page.evaluate(PARTS))


async def test_it_has_every_state() -> None:
    over = SCRIPT.partition("const OVER = [")[2].partition("]")[0]
    refused = SCRIPT.partition("const REFUSED = {")[2].partition("}")[0]
    final = set(re.findall(r'"(\w+)"', over + refused))
    assert len(final) == 6
    assert listed("`state`") == {"connecting", "pending", "running", *final}


async def test_it_has_every_connection() -> None:
    told = SCRIPT.partition("hears.link(")[2].partition(")")[0]  # in the comment that says what a line tells
    assert listed("`connection`") == {"connecting", "closed", *re.findall(r'"([\w-]+)"', told)}
