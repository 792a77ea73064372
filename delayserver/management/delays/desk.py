"""Between a person and the stores: `Desk` asks the ones and tells the other."""

from __future__ import annotations

import asyncio
import functools
import json
import shutil
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NoReturn, ParamSpec, TypeVar

from asgiref.sync import async_to_sync
from django.core.management import BaseCommand, CommandError

from delayserver.clock import monotonic
from delayserver.conf import STORES, get_layer_settings, get_settings, store_path
from delayserver.layers import get_layer
from delayserver.stores import get_stores
from delayserver.stores.shelves import Shelves

from .contents import Unseal
from .terminal import Column, printable, table, width_of

P = ParamSpec("P")
T = TypeVar("T")

PROGRESS_SECONDS = 0.2
USAGE = 2  # exit code
IN_MEMORY = (
    "The memory store lives inside the ASGI process, so what waits there cannot be seen from here."
    " Use the database or the redis store, or ask within that process (delayserver.stores.shelves)."
)


class Desk:
    """One subcommand at work: the layer it is about, and where it prints. `CommandError` where it cannot be done."""

    def __init__(self, command: BaseCommand, options: dict[str, Any]) -> None:
        self._command = command
        self._bold = command.style.SQL_TABLE if self._coloured(options) else str
        self._progress, self._progress_at = "", 0.0
        self._told_away: list[str] = []
        self.as_json: bool = options["json"]
        self.is_sure: bool = options.get("yes", False)  # the person is, and will not be asked
        self._layer: str | None = options["layer"]
        if options["needs_store"]:
            self._find_layer()

    def _coloured(self, options: dict[str, Any]) -> bool:
        return bool(options["force_color"] or (self._command.stdout.isatty() and not options["no_color"]))

    # -- the stores --------------------------------------------------------------------------------------

    @functools.cached_property
    def layer(self) -> str:
        return self._find_layer()

    def _find_layer(self) -> str:
        """The layer's alias; refused where its store cannot be seen from here."""
        alias = self._layer or get_settings().channel_layer
        if store_path(get_layer_settings(alias)) == STORES["memory"]:
            raise CommandError(IN_MEMORY)
        return alias

    @functools.cached_property
    def shelves(self) -> Shelves:
        return Shelves(get_stores(self.layer))

    @functools.cached_property
    def unseal(self) -> Unseal:
        return get_layer(self.layer).unseal

    @functools.cached_property
    def now(self) -> int:
        """The present by the stores' clock, as it was when first asked for."""
        return self.ask(self.shelves.now)

    @property
    def away(self) -> list[str]:
        """The names of the stores that did not answer so far."""
        return self.shelves.away

    def ask(self, act: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `act` answers, and a line for each store that is found to be away."""
        answer = self._run(act, *args, **kwargs)
        for name in self.away:
            if name not in self._told_away:
                self._told_away.append(name)
                line = printable(f"{name} is away: what waits there is not shown")
                self._command.stderr.write(line, self._command.style.WARNING)
        return answer

    def _run(self, act: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """A database is asked on this thread's connection. Ctrl-C ends it."""
        running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = []

        async def run() -> T:
            running.append((asyncio.get_running_loop(), asyncio.current_task()))
            return await act(*args, **kwargs)

        try:
            return async_to_sync(run)()
        except KeyboardInterrupt:
            for loop, task in running:
                if task is not None and not loop.is_closed():  # else the interpreter would wait for it
                    loop.call_soon_threadsafe(task.cancel)
            raise

    # -- the person --------------------------------------------------------------------------------------

    def say(self, text: str = "") -> None:
        """A line, for a person only."""
        if not self.as_json:
            self._write(text)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """As wide as the terminal, or ``COLUMNS``; whole where there is neither."""
        width = shutil.get_terminal_size((0, 0)).columns or None
        head, *lines = table(columns, rows, width)
        self._write(head, self._bold)
        for line in lines:
            self._write(line)

    def tell(self, **fields: object) -> None:
        """The answer, for a program only."""
        if self.as_json:
            self._write(json.dumps(fields, indent=2, allow_nan=False))

    def _write(self, text: str, style: Callable[[str], str] = str) -> None:
        out = self._command.stdout
        encoding = getattr(out, "encoding", None) or "utf-8"
        out.write(style(text.encode(encoding, "backslashreplace").decode(encoding)))

    def refuse(self, sentence: str, code: int = 1) -> NoReturn:
        """End with an exit code: 1, or 2 for wrong usage."""
        raise CommandError(printable(sentence), returncode=code)

    def confirm(self, question: str) -> bool:
        """Whether a person says yes, or did with ``--yes``. Who cannot be asked is refused."""
        if self.is_sure:
            return True
        if self.as_json or not sys.stdin.isatty():
            self.refuse(f"{question} Nobody can be asked here: add --yes to do it.")
        self._command.stderr.write(f"{question} [y/N] ", lambda text: text, ending="")
        self._command.stderr.flush()
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return True
        self.say("Nothing was done.")
        return False

    def progress(self, text: str = "") -> None:
        """Over the last line on a terminal, now and then; the empty text wipes it away."""
        if not self._command.stderr.isatty() or (not text and not self._progress):
            return
        if text and monotonic() < self._progress_at + PROGRESS_SECONDS:
            return
        padding = " " * (width_of(self._progress) - width_of(text))
        end = "\r" if not text else ""
        self._command.stderr.write(f"\r{text}{padding}{end}", lambda told: told, ending="")
        self._command.stderr.flush()
        self._progress, self._progress_at = text, monotonic()
