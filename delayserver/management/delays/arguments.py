"""The words of ``manage.py delays``: its subcommands and their options, each with a help that helps."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

from django.core.management.base import CommandParser

from . import options, schedule_options
from .dead import dead_list, purge, requeue
from .desk import Desk
from .explaining import explain
from .listing import Options, list_
from .options import Parser
from .schedules import disable, enable, remove, schedules
from .schedules import run_now as run_schedule_now
from .scheduling import add, edit
from .sending import send
from .showing import show
from .stats import stats
from .steering import cancel, run_now

Run = Callable[[Desk, Options], None]
HIDDEN = {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}


class Subcommand(NamedTuple):
    """`examples` are what stands behind the subcommand's name on the command line."""

    run: Run
    name: str
    help: str
    more: str
    add: Callable[[Parser], None]
    examples: tuple[str, ...]
    has_layer: bool = True
    needs_store: bool = True

    def add_to(self, parsers: Any) -> Parser:
        examples = "\n".join(f"  %(prog)s {example}".rstrip() for example in self.examples)
        parser: Parser = parsers.add_parser(
            self.name,
            help=self.help,
            description=f"{self.help[0].upper()}{self.help[1:]}. {self.more}".rstrip(),
            epilog=f"examples:\n{examples}",
        )
        self.add(parser)
        if self.has_layer:
            parser.add_argument(
                "--layer",
                default=argparse.SUPPRESS,
                metavar="ALIAS",
                help="the channel layer whose messages are meant (default: DELAYSERVER['CHANNEL_LAYER'])",
            )
        parser.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object, and never ask"
        )
        for flag in ("--no-color", "--force-color", "--traceback"):  # Django's own, wherever a person writes them
            parser.add_argument(flag, action="store_true", **HIDDEN)  # type: ignore[arg-type]
        for option in ("--settings", "--pythonpath"):
            parser.add_argument(option, **HIDDEN)  # type: ignore[arg-type]
        parser.set_defaults(run=self.run, needs_store=self.needs_store)
        return parser


def add_subcommands(parser: CommandParser) -> None:
    """All of them; `INNER` says which have some of their own. Those of ``dead`` stand beside it too."""
    parser.set_defaults(layer=None, json=False)
    parsers = parser.add_subparsers(title="subcommands", metavar="SUBCOMMAND", required=True, parser_class=Parser)
    for subcommand in SUBCOMMANDS:
        added = subcommand.add_to(parsers)
        if subcommand.name in INNER:
            inner = added.add_subparsers(title="subcommands", metavar="SUBCOMMAND")
            for one in INNER[subcommand.name]:
                one.add_to(inner)


# -- subcommands ---------------------------------------------------------------------------------------------

REQUEUE = Subcommand(
    requeue,
    "requeue",
    "put dead letters back: they are due now",
    "They have all their attempts before them, and no expiry. --all asks first.",
    options.add_requeue,
    ("019f6b1c52e0a1b2c3d4e5f60718293a", "--all --yes"),
)
PURGE = Subcommand(
    purge,
    "purge",
    "throw dead letters away",
    "--all and --older-than ask first.",
    options.add_purge,
    ("019f6b1c52e0a1b2c3d4e5f60718293a", "--older-than 7d", "--all --yes"),
)
DEAD_LIST = Subcommand(
    dead_list, "list", "the dead letters, newest first", "", options.add_dead_list, ("", "--limit 200 --json")
)
SCHEDULE_MESSAGE = '--message \'{"type": "report.build"}\''
SCHEDULES = (
    Subcommand(
        schedules,
        "list",
        "the schedules, and how each stands",
        "Those of the code, of DELAYSERVER['SCHEDULES'], and rows.",
        schedule_options.add_list,
        ("", "nightly --json"),
        has_layer=False,
    ),
    Subcommand(
        add,
        "add",
        "make a schedule, as a row",
        "Running delay servers see it within 5 seconds. DURATION is as in 10m, 1h30m, 1.5s or 200ms.",
        schedule_options.add_add,
        (
            f"nightly --cron '0 3 * * *' --tz Europe/Berlin --channel reports {SCHEDULE_MESSAGE}",
            'tick --every 1.5s --group dashboard --message \'{"type": "refresh"}\' --catch-up skip',
        ),
        has_layer=False,
    ),
    Subcommand(
        edit,
        "edit",
        "change a schedule that is a row",
        "A new rhythm counts from now on. --no-... takes a part out.",
        schedule_options.add_edit,
        ("nightly --cron '0 4 * * *'", "tick --overlap skip --no-jitter"),
        has_layer=False,
    ),
    Subcommand(
        enable,
        "enable",
        "let a schedule go again, from now on",
        "What it would have done meanwhile is not done.",
        schedule_options.add_name,
        ("nightly",),
        has_layer=False,
    ),
    Subcommand(
        disable,
        "disable",
        "stop a schedule, wherever it is defined",
        "A note is kept of who did it, when and why.",
        schedule_options.add_disable,
        ("nightly --why 'the report is broken'",),
        has_layer=False,
    ),
    Subcommand(
        remove,
        "remove",
        "throw a schedule away that is a row, and what waits for it",
        "Asks first.",
        schedule_options.add_remove,
        ("nightly --yes",),
        has_layer=False,
    ),
    Subcommand(
        run_schedule_now,
        "run-now",
        "one occurrence of a schedule now",
        "Its rhythm goes on as it was.",
        schedule_options.add_name,
        ("nightly",),
        has_layer=False,
    ),
)
INNER = {"dead": (DEAD_LIST, REQUEUE, PURGE), "schedules": SCHEDULES}
SUBCOMMANDS = (
    Subcommand(
        list_,
        "list",
        "what waits, in the order in which it is due",
        "What is held back behind a full channel comes last; what is claimed is due when its lease ends.",
        options.add_list,
        ("", "--channel 'chat.*' --due-before 10m", "--key report:7", "--due-before -5m --limit 200"),
    ),
    Subcommand(
        show,
        "show",
        "one message or dead letter, and what is in it",
        "A long content is shortened in a terminal, never in JSON.",
        options.add_show,
        ("019f6b1c52e0a1b2c3d4e5f60718293a", "--key report:7 --full"),
    ),
    Subcommand(
        cancel,
        "cancel",
        "take messages back: they are not sent",
        "With filters, all that fits, and asks first. What is claimed is not touched.",
        options.add_cancel,
        ("019f6b1c52e0a1b2c3d4e5f60718293a", "--key report:7", "--channel 'chat.*' --due-after 1d --yes"),
    ),
    Subcommand(
        run_now,
        "run-now",
        "make messages due now",
        "A running delay server sends it at once.",
        options.add_run_now,
        ("019f6b1c52e0a1b2c3d4e5f60718293a", "--key report:7"),
    ),
    Subcommand(
        send,
        "send",
        "send a message later",
        "As send_later() does, on DELAYSERVER['CHANNEL_LAYER'].",
        options.add_send,
        (
            'reports \'{"type": "report.build", "id": 7}\' --delay 5m',
            "--group dashboard --type refresh",
            "reports - --eta 2030-01-01T09:00:00+01:00 --key report:7 --on-conflict replace < report.json",
        ),
        has_layer=False,
    ),
    Subcommand(
        dead_list,
        "dead",
        "dead letters: list (the default), requeue, purge",
        "",
        options.add_paging,
        ("", "requeue 019f6b1c52e0a1b2c3d4e5f60718293a", "purge --older-than 7d"),
    ),
    REQUEUE,
    PURGE,
    Subcommand(
        stats,
        "stats",
        "how much waits, what is late, and for which targets",
        "A million messages take seconds to count.",
        options.add_stats,
        ("", "--top 5", "--json"),
    ),
    Subcommand(
        schedules,
        "schedules",
        "schedules: list (the default), add, edit, enable, disable, remove, run-now",
        "",
        options.add_nothing,
        ("", "add nightly --cron '0 3 * * *' --channel reports --message '{\"type\": \"report.build\"}'", "--json"),
        has_layer=False,
    ),
    Subcommand(
        explain,
        "explain",
        "when a schedule fires, and what an outage leaves of that",
        "With what it says in English, and what becomes of it where clocks change.",
        schedule_options.add_explain,
        (
            "'30 2 * * *' --tz Europe/Berlin --from 2027-03-27 --count 5",
            "'0 * * * *' --down 2027-01-01T12:30/2027-01-01T15:30",
            "--every 1.5s",
            "--schedule nightly",
        ),
        has_layer=False,
        needs_store=False,
    ),
)
