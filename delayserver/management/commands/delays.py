"""``manage.py delays``: see and steer what waits. Parse, build, run."""

from __future__ import annotations

import os
import sys
from typing import Any

import django.db
from django.core.management import BaseCommand, CommandError, CommandParser

from delayserver.errors import DelayServerError
from delayserver.management.delays.arguments import add_subcommands
from delayserver.management.delays.desk import Desk

INTERRUPTED, PIPE_CLOSED = 128 + 2, 128 + 13  # exit codes, as a shell tells those signals


class Command(BaseCommand):
    help = "See and steer the messages that wait, and the dead letters. Each subcommand has a --help with examples."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        add_subcommands(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            options["run"](Desk(self, options), options)
            self.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes
            sys.exit(PIPE_CLOSED)
        except KeyboardInterrupt:
            self.stderr.write("")  # what was told of the progress stays
            sys.exit(INTERRUPTED)
        except DelayServerError as error:
            raise CommandError(_sentence(error)) from error
        except django.db.Error as error:
            raise CommandError(f"the database refused ({_sentence(error)}); is it migrated?") from error


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())
