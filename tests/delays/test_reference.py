"""The page on the command names the fields that it prints."""

from __future__ import annotations

import re

import pytest

from ..docs.blocks import ROOT, table_rows
from .conftest import MINUTE, Delays

PAGE = ROOT / "docs/reference/command.md"


def fields(heading: str) -> set[str]:
    """Those that the first cells of a table name, whose own heading this is."""
    text = PAGE.read_text()
    rows = text[text.index(f"| {heading} | |") :].partition("\n\n")[0].splitlines()[2:]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}


@pytest.mark.parametrize("kind", ["redis"], indirect=True)
def test_every_field_is_on_the_page(delays: Delays) -> None:
    delays.bury(delays.put("sink", -1_000))
    message = delays.put("sink", MINUTE, key="k")
    listed, shown = delays.json("list"), delays.json("show", message.id)
    dead, dead_shown = delays.json("dead"), delays.json("show", delays.made[0].id)
    stats = delays.json("stats")
    came = {
        "list": listed,
        "send": delays.json("send", "a", "--type", "b", "--delay", "1h"),
        "dead": dead,
        "stats": stats,
        "run-now": delays.json("run-now", message.id),
        "cancel": delays.json("cancel", message.id),
        "requeue": delays.json("requeue", delays.made[0].id),
        "purge": delays.json("purge", "--all", "--yes"),
    }
    told = {name.strip("`"): re.findall(r"`(\w+)`", cell) for name, cell in table_rows(PAGE, "## JSON")}
    assert told.pop("show") == [*shown, *dead_shown]
    assert told == {name: list(answer) for name, answer in came.items()}
    message_fields = {*listed["messages"][0], *shown["message"]}
    assert fields("field of a message") - {"waiting", "claimed", "held_back", "expired"} == message_fields
    assert fields("field of a dead letter") == {*dead["dead_letters"][0], *dead_shown["dead_letter"]}
    assert fields("field of a target in `stats`") == {*stats["targets"][0]}
