"""The options of each subcommand of ``manage.py delays``."""

from __future__ import annotations

import argparse
import re
from typing import Any

from django.core.management.base import CommandParser

from . import values


class Parser(CommandParser):
    """Of one subcommand. Options may stand between its words, and a time before now may begin with a hyphen."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)
        self._negative_number_matcher = re.compile(r"-\d")  # argparse knows -5 to be a value, not -5m

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        namespace, rest = super().parse_known_args(*args, **kwargs)
        if hasattr(namespace, "words"):  # argparse takes only those before the first option that follows a word
            more = [text for text in rest if text == "-" or not text.startswith("-")]
            namespace.words = [*namespace.words, *more]
            rest = [text for text in rest if text not in more]
        return namespace, rest


def add_nothing(parser: Parser) -> None:
    pass


def add_filters(parser: Parser) -> None:
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        "--channel", type=values.name_pattern, metavar="NAME", help='for this channel; "chat.*" for all that begin so'
    )
    target.add_argument(
        "--group", type=values.name_pattern, metavar="NAME", help='for this group; "*" for any group at all'
    )
    parser.add_argument("--key", type=values.key_pattern, help='with this key; "report:*" for all that begin so')
    parser.add_argument(
        "--due-after",
        type=values.when,
        metavar="T",
        help="due then or later: an ISO 8601 instant with offset, or a time from now (10m, 2h, -5m, 1d, 30s, 200ms)",
    )
    parser.add_argument("--due-before", type=values.when, metavar="T", help="due earlier than that")


def add_paging(parser: Parser, default: Any = 50, after: Any = None) -> None:
    parser.add_argument(
        "--limit",
        type=values.limit,
        default=default,
        metavar="N",
        help=f"at most so many, up to {values.MAX_LIMIT} (default: 50)",
    )
    parser.add_argument("--after", type=values.spot, default=after, metavar="CURSOR", help="go on where a page ended")


def add_ids(parser: Parser, help: str) -> None:
    parser.add_argument("words", nargs="*", metavar="ID", help=help)


def add_yes(parser: Parser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask first")


def add_list(parser: Parser) -> None:
    add_filters(parser)
    add_paging(parser)


def add_show(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", metavar="ID", help="of a message or a dead letter")
    parser.add_argument("--key", type=values.key, help="the message that waits under this key")
    parser.add_argument("--full", action="store_true", help="all of a long content")


def add_cancel(parser: Parser) -> None:
    add_ids(parser, "of a message that waits")
    add_filters(parser)
    add_yes(parser)


def add_run_now(parser: Parser) -> None:
    add_ids(parser, "of a message that waits")
    parser.add_argument("--key", type=values.key, help="the message that waits under this key")


def add_send(parser: Parser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="CHANNEL CONTENT", help="a channel, and JSON with a type; - reads it from stdin"
    )
    parser.add_argument("--group", metavar="NAME", help="to a group, in place of CHANNEL")
    parser.add_argument("--type", metavar="T", help='{"type": T}, in place of CONTENT')
    moment = parser.add_mutually_exclusive_group()
    moment.add_argument("--delay", type=values.delay, help="after milliseconds, or 5m, 1h30m (default: 0)")
    moment.add_argument("--eta", type=values.instant, metavar="T", help="at an ISO 8601 instant with offset")
    parser.add_argument("--key", help="a name, unique among the messages that wait")
    parser.add_argument(
        "--on-conflict", choices=("keep", "replace", "error"), help="what to do where the key is taken (default: keep)"
    )
    parser.add_argument("--expires", type=values.when, metavar="T", help="from then on, or so long from now, drop it")


def add_requeue(parser: Parser) -> None:
    add_ids(parser, "of a dead letter")
    parser.add_argument("--all", action="store_true", help="every dead letter that is a message")
    add_yes(parser)


def add_purge(parser: Parser) -> None:
    add_ids(parser, "of a dead letter")
    parser.add_argument("--all", action="store_true", help="every dead letter")
    parser.add_argument("--older-than", type=values.age, metavar="AGE", help="those that died longer ago (7d, 12h)")
    add_yes(parser)


def add_stats(parser: Parser) -> None:
    parser.add_argument(
        "--top", type=values.limit, default=20, metavar="N", help="the so many targets with most messages (default: 20)"
    )


def add_dead_list(parser: Parser) -> None:
    add_paging(parser, argparse.SUPPRESS, argparse.SUPPRESS)  # as `delays dead` has them
