"""Tables of the docs that repeat what the code says must say the same."""

from __future__ import annotations

import argparse
import logging
import re
from dataclasses import fields
from typing import Any

import pytest
from django.core.management import BaseCommand, load_command_class

from delayserver import conf, errors, events, jobs, message, rules, suspects, worker
from delayserver.clock import SystemClock
from delayserver.keeping import BLOCKED_SECONDS
from delayserver.layers.channels_redis_source import FORGET_SECONDS, LEASE_SECONDS, POLL_SECONDS, SOON_SECONDS
from delayserver.loops.room import Subscription
from delayserver.message import parse
from delayserver.recurrence import Cron

from .blocks import ROOT, table_rows

DOCS = ROOT / "docs"
COMMAND = DOCS / "reference/command.md"
SCHEDULES = DOCS / "reference/schedules.md"
DEAD_LETTERS, WORKER = DOCS / "how-to/dead-letters.md", DOCS / "how-to/worker.md"
SETTINGS, WIRE, LOGGING = DOCS / "reference/settings.md", DOCS / "reference/wire.md", DOCS / "how-to/logging.md"

# Django gives these to every command.
DJANGOS = {flag for action in BaseCommand().create_parser("", "")._actions for flag in action.option_strings}

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
    # for metrics only: too many for a log
    counted = {"taken_in", "handed_over", "occurrence_put", "taken", "handled"}
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


@pytest.mark.parametrize("example", table_rows(DEAD_LETTERS, "## Which reasons there are"), ids=lambda row: row[0])
def test_each_reason_of_a_dead_letter_is_one_that_the_code_gives(example: list[str]) -> None:
    code = "".join(file.read_text() for file in (ROOT / "delayserver").rglob("*.py"))
    for part in filter(None, (part.strip() for part in example[0].strip("`").split("..."))):
        assert part in re.sub(r"\{[^{}]*\}", "...", code), part


def test_the_worker_page_has_its_numbers() -> None:
    rows = {row[0]: row[1] for row in table_rows(WORKER, "## Its numbers")}
    assert rows == {
        "at once, in each process": f"{worker.CONCURRENCY}, or `--concurrency`",
        "threads, in each process": f"{worker.THREADS}, or `--threads`",
        "the lease of what is in hand": f"{LEASE_SECONDS:.0f} s",
        "how often others look for one that is over": f"every {SOON_SECONDS} to {POLL_SECONDS:.0f} s",
        "when what is in hand is forgotten": f"after {FORGET_SECONDS // 86_400} day without any worker",
        "workers that may die with a message": f"{suspects.MAX_DEATHS}",
        "the grace": f"{worker.GRACE_SECONDS:.0f} s, or `--grace`",
        "after the grace, at most": f"{2 * jobs.CANCEL_SECONDS + 2 * worker.LAST_SECONDS:.0f} s",
        "when a handler that blocks is named": f"after {BLOCKED_SECONDS:.0f} s",
    }


@pytest.mark.parametrize("name", ["rundelay", "runtasks"])
def test_the_command_page_has_every_option_of_the_servers_with_its_default(name: str) -> None:
    parser = load_command_class("delayserver", name).create_parser("manage.py", name)
    rows = {row[0].strip("`").partition(" ")[0]: row[1].strip("`") for row in table_rows(COMMAND, f"## `{name}`")}
    told = {flag: rows[flag] for flag in rows if flag.startswith("--")}
    own = [action for action in parser._actions if action.option_strings and action.option_strings[-1] not in DJANGOS]
    numbers = {action.option_strings[-1]: action.default for action in own}
    assert told == {flag: f"{value:g}" if type(value) in (int, float) else "" for flag, value in numbers.items()}


def test_a_worker_is_ready_as_the_page_says() -> None:
    told = WORKER.read_text().partition("\nworker ready: ")[2].partition("\n")[0]
    subscriptions = [Subscription("reports"), Subscription("mails", 20)]
    assert told == str(worker.Worker(_nothing, subscriptions))


async def _nothing(*_: object) -> None: ...


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
