"""``manage.py runtasks``: parse, build, run."""

from __future__ import annotations

import argparse
import asyncio
import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from django.core.management import BaseCommand, CommandError, CommandParser

from delayserver.conf import PUBSUB_LAYER, get_layer_settings, get_offload_settings, get_settings
from delayserver.errors import ConfigurationError, InvalidMessage
from delayserver.handlers import is_read, project_application
from delayserver.handling import Application, Receive, Scope, Send
from delayserver.loops.room import Subscription
from delayserver.message import Target
from delayserver.supervising import Parent, supervise
from delayserver.worker import CONCURRENCY, GRACE_SECONDS, THREADS, Worker

USAGE = 2  # the exit code for wrong arguments, as argparse has it
LEAVE_SECONDS = 0.2
MAX_CONCURRENCY, MAX_THREADS, MAX_PROCESSES = 10_000, 1_000, 256
SIGNALS = (signal.SIGTERM, signal.SIGINT)

IN_MEMORY = (
    "The in-memory channel layer lives in one process, so a worker in another cannot reach it."
    " Run the workers inside your ASGI process (delayserver.embedded), or use channels_redis."
)
PUBSUB = (
    "The pub/sub channel layer gives each message to every worker: {processes} processes would each run it."
    " Use --processes 1 and one runtasks for each channel, or channels_redis.core.RedisChannelLayer."
)


class Command(BaseCommand):
    help = (
        "Run a worker: take messages from the channels named, and run the project's consumers for them, many at once,"
        " a new instance for each message. Any number may run. What a worker that is killed had in hand runs in another"
        " within seconds. SIGTERM or SIGINT (Ctrl-C) takes nothing new, lets handlers finish within the grace, gives"
        " the rest back and stops; a second one ends at once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "channels",
            nargs="+",
            metavar="CHANNEL[:N]",
            type=_channel,
            help="a channel to take from; with :N, at most N of its messages at once in each process",
        )
        parser.add_argument("--layer", help="alias of the channel layer (default: DELAYSERVER['CHANNEL_LAYER'])")
        parser.add_argument(
            "--concurrency",
            type=_number(1, MAX_CONCURRENCY),
            default=CONCURRENCY,
            metavar="N",
            help="how many messages run at once in each process (default: %(default)s)",
        )
        parser.add_argument(
            "--threads",
            type=_number(1, MAX_THREADS),
            default=THREADS,
            metavar="M",
            help="how many threads each process has for sync consumers, and for the database (default: %(default)s)",
        )
        parser.add_argument(
            "--processes",
            type=_number(1, MAX_PROCESSES),
            default=1,
            metavar="P",
            help="how many processes; one that dies is started anew (default: %(default)s)",
        )
        parser.add_argument(
            "--grace",
            type=_seconds,
            default=GRACE_SECONDS,
            metavar="S",
            help="for how many seconds handlers may go on when it stops (default: %(default)s)",
        )
        parser.add_argument(
            "--at-most-once",
            action="append",
            default=[],
            metavar="CHANNEL",
            help="of this channel, lose what is in hand when the worker dies, rather than run it again",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            alias = options["layer"] or get_settings().channel_layer
            self._refuse(alias, options["processes"])
            subscriptions = _subscriptions(options["channels"], options["at_most_once"])
            application = _application(subscriptions)
            self._warn_of_unread(subscriptions)
        except ConfigurationError as error:
            raise CommandError(str(error)) from None
        serve = functools.partial(self._serve, application, subscriptions, alias, options)
        if options["processes"] == 1:
            _leave(serve(None))
        else:
            sys.exit(supervise(options["processes"], serve))

    def _refuse(self, alias: str, processes: int) -> None:
        layer = get_layer_settings(alias)
        if layer.in_memory:
            raise CommandError(IN_MEMORY)
        if layer.backend == PUBSUB_LAYER and processes > 1:
            raise CommandError(PUBSUB.format(processes=processes))

    def _warn_of_unread(self, subscriptions: Sequence[Subscription]) -> None:
        offloads = get_offload_settings().channel
        for name in (one.channel for one in subscriptions):
            if name != offloads and not is_read(name):
                sentence = f"no consumer in the routing reads {name}: each of its messages will be a dead letter"
                self.stderr.write(self.style.WARNING(sentence))

    def _serve(
        self,
        application: Application,
        subscriptions: Sequence[Subscription],
        alias: str,
        options: Mapping[str, Any],
        parent: Parent | None,
    ) -> int:
        """One process's whole life; the exit code."""
        asyncio.run(
            _work(
                Worker(
                    application,
                    subscriptions,
                    layer=alias,
                    concurrency=options["concurrency"],
                    threads=options["threads"],
                    grace=options["grace"],
                    ready=self._say,
                ),
                parent,
            )
        )
        return 0

    def _say(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()


class _Abandoned(ThreadPoolExecutor):
    """The event loop's own threads. What runs there when the worker has stopped was given back: nobody waits for it."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=True)


async def _work(worker: Worker, parent: Parent | None) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(_Abandoned(thread_name_prefix="asyncio"))
    if parent is None:
        for number in SIGNALS:
            loop.add_signal_handler(number, _stop, worker)
    else:
        loop.add_signal_handler(signal.SIGTERM, worker.stop)
        loop.add_reader(parent, _orphaned, worker, parent)
    try:
        await worker.run()
    finally:
        await worker.aclose()


def _stop(worker: Worker) -> None:
    """The first signal stops the worker, a second ends the process."""
    worker.stop()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, os._exit, 1)


def _orphaned(worker: Worker, parent: Parent) -> None:
    """The parent is gone, and nobody would end us."""
    asyncio.get_running_loop().remove_reader(parent)
    worker.stop()


def _leave(code: int) -> None:
    """End now, where sync code that was given back still runs in a thread, and would hold up the interpreter's end."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(LEAVE_SECONDS)
            if thread.is_alive():
                logging.shutdown()
                sys.stdout.flush()
                os._exit(code)


# -- what runs the messages -----------------------------------------------------------------------------------


def _application(subscriptions: Sequence[Subscription]) -> Application:
    """The project's own; and for the channel of offloads what does them, so that no project need route it."""
    offloads = get_offload_settings().channel
    if offloads not in [one.channel for one in subscriptions]:
        return _project()
    from delayserver.offload import OffloadConsumer

    project = _project() if len(subscriptions) > 1 else OffloadConsumer.as_asgi()
    return functools.partial(_route, {offloads: OffloadConsumer.as_asgi()}, project)


def _project() -> Application:
    application: Any = project_application()
    return cast(Application, application)


async def _route(
    ours: Mapping[str, Application], project: Application, scope: Scope, receive: Receive, send: Send
) -> None:
    await ours.get(scope["channel"], project)(scope, receive, send)


# -- arguments -----------------------------------------------------------------------------------------------


def _channel(text: str) -> Subscription:
    name, colon, limit = text.partition(":")
    try:
        Target("channel", name)
    except InvalidMessage as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if "!" in name:
        raise argparse.ArgumentTypeError(f"expected a worker channel, got {name!r}, which is one process's own")
    return Subscription(name, _number(1, MAX_CONCURRENCY)(limit) if colon else None)


def _number(least: int, most: int) -> Any:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}, got {text!r}")
        return int(text)

    return parse


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"expected seconds, from 0 to 86400, got {text!r}")
    return seconds


def _subscriptions(found: list[Subscription], at_most_once: list[str]) -> list[Subscription]:
    names = [one.channel for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CommandError(f"expected each channel once, got {', '.join(twice)} more than once", returncode=USAGE)
    if get_settings().channel in names:
        raise CommandError(
            f"{get_settings().channel} is read by the delay server: manage.py rundelay", returncode=USAGE
        )
    unknown = sorted(set(at_most_once) - set(names))
    if unknown:
        sentence = f"--at-most-once names channels that this worker does not take from: {', '.join(unknown)}"
        raise CommandError(sentence, returncode=USAGE)
    return [Subscription(one.channel, _limit(one), keep=one.channel not in at_most_once) for one in found]


def _limit(one: Subscription) -> int | None:
    """Offloads have a limit of their own in the settings."""
    offload = get_offload_settings()
    return offload.max_at_once if one.limit is None and one.channel == offload.channel else one.limit
