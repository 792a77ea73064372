"""``manage.py rundelay``: parse, build, run."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from delayserver.conf import get_layer_settings, get_settings
from delayserver.errors import ConfigurationError
from delayserver.server import DelayServer
from delayserver.stores.base import STORE_THREAD

LEAVE_SECONDS = 0.2
SIGNALS = (signal.SIGTERM, signal.SIGINT)

IN_MEMORY = (
    "The in-memory channel layer lives in one process, so a delay server in another cannot reach it."
    " Run the delay server inside your ASGI process (delayserver.embedded), or use channels_redis."
)


class Command(BaseCommand):
    help = (
        "Run the delay server: take messages from the channel asgi.delay, keep them in the store, and hand each over to"
        " its target when it is due. Any number may run. SIGTERM or SIGINT (Ctrl-C) finishes what is in hand and"
        " stops; a second one ends at once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--layer", help="alias of the channel layer to serve (default: DELAYSERVER['CHANNEL_LAYER'])"
        )
        parser.add_argument(
            "--no-intake",
            action="store_false",
            dest="intake",
            help="do not listen on asgi.delay; only hand over what is in the store",
        )
        parser.add_argument(
            "--metrics-port",
            type=int,
            metavar="N",
            help="serve metrics for Prometheus on 127.0.0.1:N (needs delayserver[metrics])",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            alias = options["layer"] or get_settings().channel_layer
            if get_layer_settings(alias).in_memory:
                raise CommandError(IN_MEMORY)
            asyncio.run(self._serve(alias, options["intake"], options["metrics_port"]))
        except ConfigurationError as error:
            raise CommandError(str(error)) from None
        self._leave()

    def _leave(self) -> None:
        """End now, where a statement that the database does not answer would hold up the interpreter's end."""
        for thread in threading.enumerate():
            if thread.name.startswith(STORE_THREAD):
                thread.join(LEAVE_SECONDS)
                if thread.is_alive():
                    logging.shutdown()
                    os._exit(0)

    async def _serve(self, alias: str, intake: bool, metrics_port: int | None) -> None:
        server = DelayServer(alias, intake=intake, ready=self._say)
        _stop_on_signals(server)
        if metrics_port is not None:
            _serve_metrics(server, metrics_port)
        await server.run()

    def _say(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()


def _serve_metrics(server: DelayServer, port: int) -> None:
    try:
        from delayserver.metrics import serve
    except ImportError:
        raise CommandError("--metrics-port needs prometheus-client: install delayserver[metrics]") from None
    try:
        serve(server, port)
    except OSError as error:
        raise CommandError(f"cannot serve metrics on port {port}: {error.strerror}") from None


def _stop_on_signals(server: DelayServer) -> None:
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, _stop, server)


def _stop(server: DelayServer) -> None:
    """The first signal stops the server, a second ends the process."""
    server.stop()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, os._exit, 1)
