"""The options of ``delays schedules`` and ``delays explain``."""

from __future__ import annotations

from delayserver.recurrence import DST_POLICIES
from delayserver.rules import POLICIES

from . import options, values
from .options import Parser

CLEARED = ("anchor", "tz", "dst", "catch_up_window", "jitter", "starts", "ends", "max_runs", "expires", "retry")


def add_list(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", metavar="NAME", help="these only (default: all)")


def add_name(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="of the schedule")


def add_disable(parser: Parser) -> None:
    add_name(parser)
    parser.add_argument("--why", type=values.why, default="", metavar="TEXT", help="a note for others")
    parser.add_argument("--by", type=values.who, metavar="NAME", help="who does it (default: your user name)")


def add_remove(parser: Parser) -> None:
    add_name(parser)
    options.add_yes(parser)


def add_add(parser: Parser) -> None:
    add_name(parser)
    _add_parts(parser, required=True)
    parser.add_argument(
        "--disabled", dest="enabled", action="store_const", const=False, help="it does not run until it is enabled"
    )


def add_edit(parser: Parser) -> None:
    add_name(parser)
    _add_parts(parser, required=False)
    for part in CLEARED:
        flag = part.replace("_", "-")
        parser.add_argument(
            f"--no-{flag}", dest="clear", action="append_const", const=part, help=f"without --{flag} from now on"
        )


def _add_parts(parser: Parser, *, required: bool) -> None:
    rhythm = parser.add_mutually_exclusive_group(required=required)
    rhythm.add_argument("--cron", metavar="EXPR", help="five fields, or six with seconds last; @hourly and friends")
    rhythm.add_argument(
        "--every",
        type=values.interval,
        metavar="DURATION",
        help="an interval, in place of --cron: 10m, 1h30m, 1.5 (seconds)",
    )
    _add_zone(parser)
    parser.add_argument(
        "--anchor",
        type=values.instant,
        metavar="T",
        help="an instant that the interval counts from (default: the start)",
    )
    target = parser.add_mutually_exclusive_group(required=required)
    target.add_argument("--channel", metavar="NAME", help="where it sends to")
    target.add_argument("--group", metavar="NAME", help="to a group, in place of --channel")
    parser.add_argument(
        "--message", required=required, metavar="JSON", help="what it sends, with its type; - reads it from stdin"
    )
    parser.add_argument(
        "--catch-up",
        choices=POLICIES["catch_up"],
        help="of what was missed while no server ran, send one, none (skip) or all (default: one)",
    )
    _add_window(parser)
    parser.add_argument(
        "--overlap",
        choices=POLICIES["overlap"],
        help="while the one before is not done: allow, skip, or queue_one (default: allow)",
    )
    parser.add_argument(
        "--jitter", type=values.interval, metavar="DURATION", help="each up to so much later, by chance"
    )
    parser.add_argument(
        "--starts", type=values.instant, metavar="T", help="not before this ISO 8601 instant with offset"
    )
    parser.add_argument("--ends", type=values.instant, metavar="T", help="and not after this one")
    parser.add_argument("--max-runs", type=values.count, metavar="N", help="so many occurrences in all")
    parser.add_argument(
        "--expires", type=values.interval, metavar="DURATION", help="how late an occurrence may still go out"
    )
    parser.add_argument("--retry", metavar="JSON", help='until acked, as in {"max_attempts": 5}; times in milliseconds')


def _add_zone(parser: Parser) -> None:
    parser.add_argument("--tz", metavar="ZONE", help="the time zone of the expression, as Europe/Berlin (default: UTC)")
    parser.add_argument(
        "--dst",
        choices=DST_POLICIES,
        help="when clocks change: as Debian's cron, or by the wall clock (default: debian)",
    )


def _add_window(parser: Parser) -> None:
    parser.add_argument(
        "--catch-up-window", type=values.interval, metavar="DURATION", help="of all, no older ones (default: 1d)"
    )


def add_explain(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", metavar="EXPRESSION", help="of cron, in quotes: five fields, or six")
    parser.add_argument(
        "--every", type=values.interval, metavar="DURATION", help="an interval: 10m, 1h30m, 1.5 (seconds)"
    )
    parser.add_argument("--schedule", metavar="NAME", help="a schedule that there is")
    _add_zone(parser)
    parser.add_argument(
        "--from",
        dest="from_",
        type=values.moment,
        metavar="T",
        help="times after this ISO 8601 instant; without offset, by the clock of --tz (default: now)",
    )
    parser.add_argument("--count", type=values.limit, default=10, metavar="N", help="so many times (default: 10)")
    parser.add_argument(
        "--down", type=values.outage, metavar="FROM/TO", help="what an outage between two instants would leave of them"
    )
    _add_window(parser)
