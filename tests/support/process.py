"""Subprocesses that keep what they print, and end when their test does."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from signal import SIGKILL, SIGTERM
from types import TracebackType
from typing import Any, NamedTuple, Self

from .wait import wait_for

ROOT = Path(__file__).resolve().parents[2]
END_SECONDS = 15.0


class Line(NamedTuple):
    """A line of output, and the `time.monotonic()` of its arrival."""

    at: float
    text: str


class Process:
    """A subprocess, run from the repository's root; stdout and stderr together are its `lines`."""

    def __init__(
        self,
        args: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path = ROOT,
        user: int | None = None,
        group: int | None = None,
    ) -> None:
        self.args = [str(arg) for arg in args]
        self.lines: list[Line] = []
        self._popen = subprocess.Popen(
            self.args,
            env=dict(os.environ) | {"PYTHONUNBUFFERED": "1"} | dict(env or {}),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as stream:
            for line in stream:
                self.lines.append(Line(time.monotonic(), line.decode(errors="replace").rstrip("\n")))

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    @property
    def returncode(self) -> int | None:
        return self._popen.poll()

    @property
    def output(self) -> str:
        return "\n".join(line.text for line in self.lines)

    def wait_for_line(self, pattern: str, timeout: float = 20.0) -> re.Match[str]:
        """The first line that `pattern` is found in, once it is printed."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            if not self.running:
                self._reader.join(1)  # its last words
            found[:] = [match for line in list(self.lines) if (match := re.search(pattern, line.text))]
            return bool(found) or not self.running

        try:
            wait_for(look, timeout, f"a line with {pattern!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self}") from None
        assert found, f"it ended without a line with {pattern!r}\n{self}"
        return found[0]

    def signal(self, number: int) -> None:
        if self.running:
            self._popen.send_signal(number)

    def terminate(self) -> None:
        self.signal(SIGTERM)

    def kill(self) -> None:
        self.signal(SIGKILL)

    def wait(self, timeout: float = END_SECONDS) -> int:
        """Its exit code, once it has ended."""
        try:
            code = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {timeout} s\n{self}") from None
        self._reader.join(timeout)
        return code

    def end(self, number: int = SIGTERM) -> None:
        """Ask by a signal, and SIGKILL where that is not enough; nothing of it is left afterwards."""
        self.signal(number)
        try:
            self._popen.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            print(self)
        self.end()

    def __str__(self) -> str:
        code = self.returncode
        state = "is running" if code is None else f"ended with {code}"
        return f"$ {shlex.join(self.args)}\n{self.output}\n({state})"


class Processes:
    """Starts processes. `end` ends all that it started, the last one first, and prints what they printed."""

    def __init__(self) -> None:
        self._ending = ExitStack()

    def __call__(self, *args: Any, **options: Any) -> Process:
        process = Process(*args, **options)
        self._ending.callback(print, process)
        self._ending.callback(process.end)
        return process

    def end(self) -> None:
        self._ending.close()
