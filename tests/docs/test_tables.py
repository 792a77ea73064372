"""Tables of the docs that repeat what the code says must say the same."""

from __future__ import annotations

import argparse
import logging
import re
from dataclasses import fields
from typing import Any

import pytest
from django.core.management import load_command_class

from delayserver import conf, errors, events, message, rules
from delayserver.clock import SystemClock
from delayserver.message import parse
from delayserver.recurrence import Cron

from .blocks import ROOT, table_rows

DOCS = ROOT / "docs"
COMMAND = DOCS / "reference/command.md"
SCHEDULES = DOCS / "reference/schedules.md"
SETTINGS, WIRE, LOGGING = DOCS / "reference/settings.md", DOCS / "reference/wire.md", DOCS / "how-to/logging.md"

GOOD: dict[str, Any] = {"channel": "sink", "content": {"type": "probe"}, "delay": 1000}


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(("example", "reason"), table_rows(WIRE, "## Every refusal"))
def test_each_refusal_gives_the_reason_that_the_page_gives(example: str, reason: str) -> None:
    wire = eval(example.strip("`"), {"good": GOOD, "nested": nested})
    with pytest.raises(errors.InvalidMessage) as refused:
        parse(wire).waiting(SystemClock(), conf.Settings().max_message_bytes)
    assert str(refused.value) == reason


def test_the_examples_of_refusals_are_refused_for_what_differs_from_a_good_one() -> None:
    assert parse(GOOD).waiting(SystemClock(), conf.Settings().max_message_bytes).target.name == "sink"


def test_the_wire_page_has_every_key() -> None:
    named = {row[0].strip("`") for row in table_rows(WIRE, "## Every key")}
    assert named == message._WIRE_KEYS


def test_the_schedules_page_has_every_part() -> None:
    assert [row[0].strip("`") for row in table_rows(SCHEDULES, "## Every part")] == list(rules.PARTS)


@pytest.mark.parametrize(("expression", "reason"), table_rows(SCHEDULES, "## What is refused"))
def test_each_refused_expression_gives_the_reason_that_the_page_gives(expression: str, reason: str) -> None:
    with pytest.raises(errors.InvalidSchedule) as refused:
        Cron(expression.strip("`"))
    assert str(refused.value) == reason.strip("`")


def test_the_settings_page_has_every_name_with_its_default() -> None:
    rows = {row[0].strip("`"): eval(row[1].strip("`")) for row in table_rows(SETTINGS, "## Every name")}
    defaults = conf.Settings()
    assert rows == {field.name.upper(): getattr(defaults, field.name) for field in fields(defaults)}


def test_the_settings_page_has_every_store_with_its_options() -> None:
    rows = {row[0].strip("`"): row[1] for row in table_rows(SETTINGS, "## The stores")}
    options = {name: set(re.findall(r"`(\w+)`:", cell)) for name, cell in rows.items()}
    assert options == conf.STORE_OPTIONS


def test_the_settings_page_has_every_check() -> None:
    code = "".join(file.read_text() for file in (ROOT / "delayserver").rglob("*.py"))
    named = [row[0].strip("`") for row in table_rows(SETTINGS, "## What is refused")]
    assert named == sorted(set(re.findall(r"\bdelayserver\.[EW]\d{3}\b", code)))


def test_every_check_is_provoked_by_a_test() -> None:
    named = {row[0].strip("`") for row in table_rows(SETTINGS, "## What is refused")}
    files = ("unit/test_conf.py", "unit/test_checks.py", "process/test_checks.py")
    tests = "".join((ROOT / "tests" / file).read_text() for file in files)
    assert named <= {f"delayserver.{id}" for id in re.findall(r'"([EW]\d{3})"', tests)}


def test_the_logging_page_has_every_event_with_its_level_and_sentence() -> None:
    rows = {tuple(cell.strip("`") for cell in row[:3]) for row in table_rows(LOGGING, "## Every line")}
    told = [event for event in vars(events).values() if isinstance(event, events.Event)]
    counted = {"taken_in", "handed_over", "occurrence_put"}  # for metrics only: too many for a log
    assert rows == {
        (event.name, logging.getLevelName(event.level), event.sentence) for event in told if event.name not in counted
    }


def test_the_dead_letter_page_quotes_the_log() -> None:
    page = (DOCS / "how-to/dead-letters.md").read_text()
    line = page[page.index("refused a message") :].partition("\n```")[0].replace("\n", " ")
    written = events.REFUSED.sentence.format(
        channel="asgi.delay",
        id=re.findall(r"[0-9a-f]{32}", line)[0],
        reason="expected content, got none",
        payload=events.payload(b"\x82\xa7channel\xa4sink\xa5delay\x00"),
    )
    assert line == written


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    [action] = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(action.choices)


def test_the_command_page_has_every_subcommand_and_option() -> None:
    parsers = subparsers(load_command_class("delayserver", "delays").create_parser("manage.py", "delays"))
    assert [row[0].strip("`") for row in table_rows(COMMAND, "# The command `delays`")] == list(parsers)
    told = set()
    for option, of, _ in table_rows(COMMAND, "## Every option"):
        named = set(re.findall(r"`([\w-]+)`", of))
        names = set(parsers) - named if of.startswith("all but ") else named or parsers
        told |= {(name, option.strip("`").partition(" ")[0]) for name in names}
    for inner in subparsers(parsers["dead"]).items():
        assert flags(inner[1]) <= flags(parsers["dead"]) | flags(parsers["requeue"]) | flags(parsers["purge"])
    flagged = {(name, flag) for name, parser in parsers.items() for flag in flags(parser)}
    assert told == {(name, flag) for name, flag in flagged if name != "explain" or flag == "--json"}  # see tests/delays


def flags(parser: argparse.ArgumentParser) -> set[str]:
    shown = [action for action in parser._actions if action.help != argparse.SUPPRESS and action.option_strings]
    return {action.option_strings[-1] for action in shown} - {"--help"}


def test_the_python_page_draws_the_tree_of_errors() -> None:
    page = (DOCS / "reference/python.md").read_text()
    drawn = re.findall(r"^\W*(\w+)", page[page.index("DelayServerError\n├") :], re.MULTILINE)
    tree = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__]
    assert drawn[: len(tree)] == [kind.__name__ for kind in tree]


@pytest.mark.parametrize("page", ["docs/promises.md", "CONTRIBUTING.md"])
def test_the_files_that_a_page_names_exist(page: str) -> None:
    named = re.findall(r"`((?:tests|delayserver|docs)/[\w./]+)(?:::(\w+))?`", (ROOT / page).read_text())
    assert named
    for path, test in named:
        assert (ROOT / path).exists(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(), f"{path}::{test}"
