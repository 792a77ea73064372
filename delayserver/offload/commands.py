"""A command, done: a program that the settings name, without a shell, in a process group that ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import cast

from ..content import Content
from ..errors import OffloadFailed
from ..offload_settings import OffloadSettings, name_of
from .asked import Command

STDIN, STDOUT, STDERR = 0, 1, 2
END_SECONDS = 2.0  # what was killed is gone at once, unless the kernel holds it


async def run_command(command: Command, settings: OffloadSettings) -> Content:
    """The fields of a `CommandReply`; `OffloadFailed` where it could not be started, or wrote too much.

    Whatever ends this, cancellation too, the whole group has ended then.
    """
    transport, running = await _started(command, settings)
    try:
        _give(transport, command.input)
        await running.ended
    finally:
        await _end(transport, running)
    if running.too_much:
        raise OffloadFailed(f"{command.name} wrote more than {name_of('MAX_REPLY_BYTES')}, and was killed")
    stdout, stderr = (bytes(running.written[number]) for number in (STDOUT, STDERR))
    return {"returncode": transport.get_returncode(), "stdout": stdout, "stderr": stderr}


async def _started(command: Command, settings: OffloadSettings) -> tuple[asyncio.SubprocessTransport, _Running]:
    """A start is not cut off half-way: of what it had begun, only the first process would end."""
    starting = asyncio.create_task(_start(command, settings))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await _end(*await starting)
        raise


async def _end(transport: asyncio.SubprocessTransport, running: _Running) -> None:
    _kill_group(transport.get_pid())
    transport.close()
    await asyncio.wait([running.gone], timeout=END_SECONDS)


async def _start(command: Command, settings: OffloadSettings) -> tuple[asyncio.SubprocessTransport, _Running]:
    argv = [*settings.commands[command.name], *command.args]
    stdin = asyncio.subprocess.DEVNULL if command.input is None else asyncio.subprocess.PIPE
    loop = asyncio.get_running_loop()
    try:
        return await loop.subprocess_exec(
            lambda: _Running(settings.max_reply_bytes),
            *argv,
            stdin=stdin,
            env=dict(settings.command_env),
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise OffloadFailed(f"{command.name} could not be started ({type(error).__name__})") from None


def _give(transport: asyncio.SubprocessTransport, given: bytes | None) -> None:
    pipe = transport.get_pipe_transport(STDIN)
    if pipe is not None and given is not None:
        stdin = cast(asyncio.WriteTransport, pipe)
        stdin.write(given)
        stdin.close()  # when all is written


def _kill_group(group: int) -> None:
    """Children that the program left behind end, too."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


class _Running(asyncio.SubprocessProtocol):
    """What it writes, up to a limit.

    `gone` is done when it has exited and its output is closed; `ended`, too, or when it has written too much.
    """

    def __init__(self, max_bytes: int) -> None:
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.written = {STDOUT: bytearray(), STDERR: bytearray()}
        self.too_much = False
        self._left = max_bytes

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self.too_much = True
            self._end()
        else:
            self.written[fd] += data

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set_result(None)
        self._end()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
