"""What all examples start with, and end with: their processes, in order, on a Redis of their own.

An example says what it consists of, in a function that it hands to `run_on_redis`::

    async def play(band):
        band.environ["EXAMPLE_REDIS"] = await band.add_redis()
        await band.add_web("shop.asgi:application", port)
        await band.add("worker", sys.executable, "manage.py", "runtasks", "orders", ready="worker ready")
        await band.ready()
        print("Look at ...", flush=True)
"""

import argparse
import asyncio
import importlib.util
import os
import shutil
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT

HOST = "127.0.0.1"
GRACE = 3  # seconds that anything gets to end by itself
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NEEDED = ("channels_redis", "delayserver", "httpx", "uvicorn", "websockets")
NO_REDIS = "redis-server was not found. Install Redis (Debian: apt install redis-server)"


def read_options(home, description, *extras, **more):
    """The options of an example: its port, and `more`, each with what argparse wants to know of it.

    Ends the process where something that is imported later is not installed; `extras` are packages that only this
    example needs, and the extras of delayserver that bring them.
    """
    parser = argparse.ArgumentParser(prog=f"python -m examples {home.name}", description=description)
    parser.add_argument("--port", type=port_number, default=8000)
    for name, about in more.items():
        parser.add_argument(f"--{name}", **about)
    options = parser.parse_args()
    missing = [name for name in (*NEEDED, *extras) if importlib.util.find_spec(name) is None]
    if missing:
        wanted = ",".join(("demo", *extras))
        sys.exit(f"{missing[0]} is not installed. In the folder of pyproject.toml: pip install -e '.[{wanted}]'")
    return options


def run_on_redis(play, home, port, otherwise="."):
    """Start what `play(band)` adds, from the folder `home`, until Ctrl-C; the exit code.

    `port` is that of the page. `otherwise` ends the sentence on a Redis that is not installed.
    """
    if shutil.which("redis-server") is None:
        print(f"{NO_REDIS}{otherwise}", file=sys.stderr)
        return 1
    if not is_free(port):
        print(f"port {port} of {HOST} is taken: choose another with --port", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix=f"{home.name}-") as folder:
        return asyncio.run(until_the_end(play, Band(home, folder)))


async def until_the_end(play, band):
    playing = asyncio.create_task(play_on(play, band))
    for number in ENDINGS:
        asyncio.get_running_loop().add_signal_handler(number, playing.cancel)
    try:
        await playing
    except asyncio.CancelledError:
        return 0
    except Ended as ended:
        print(f"{ended}: ending the others", file=sys.stderr, flush=True)
        return 1
    finally:
        await band.end()


async def play_on(play, band):
    await play(band)
    await band.play()


class Ended(Exception):
    """A process that should play on has ended."""


class Band:
    """Processes whose lines come out with their names in front, and which end together."""

    def __init__(self, home, folder):
        self.home = home
        self.folder = folder  # for what they write; it is gone when they are
        self.environ = os.environ | {"PYTHONUNBUFFERED": "1"}
        self.commands = {}
        self.processes = {}
        self.starting = {}  # whether it has said that it is ready, or will
        self.readers = []

    async def add_redis(self):
        """A Redis of its own, on a port that was free; its URL."""
        port = free_port()
        await self.add(
            "redis",
            *("redis-server", "--bind", HOST, "--port", str(port), "--dir", self.folder),
            *("--save", "", "--appendonly", "yes"),
            ready="Ready to accept connections",
        )
        await self.ready()
        return f"redis://{HOST}:{port}/0"

    async def add_web(self, application, port):
        await self.add(
            "web",
            *(sys.executable, "-m", "uvicorn", application, "--host", HOST, "--port", str(port)),
            *("--lifespan", "off", "--no-access-log", "--timeout-graceful-shutdown", str(GRACE)),
            ready="Uvicorn running on",
        )

    async def add(self, name, *command, ready=None, again=False):
        """Start a process; where `ready` is given, `ready()` waits until the process says so.

        With `again` it is started anew whenever it ends, as a supervisor would do.
        """
        self.commands[name] = (command, again)
        said_ready = await self.start(name, ready)
        if ready:
            self.starting[name] = said_ready

    async def ready(self):
        """Wait until all that were added are; they start side by side."""
        for name, said_ready in self.starting.items():
            if not await said_ready:
                await self.ended(name)

    async def start(self, name, ready=None):
        process = await asyncio.create_subprocess_exec(
            *self.commands[name][0],
            cwd=self.home,
            env=self.environ,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,  # a Ctrl-C in the terminal reaches us alone, and we end them in order
        )
        self.processes[name] = process
        said_ready = asyncio.get_running_loop().create_future()
        self.readers.append(asyncio.create_task(read(name, process.stdout, ready, said_ready)))
        return said_ready

    async def play(self):
        """Wait until one of them ends, which none should."""
        keeps = [asyncio.create_task(self.keep(name)) for name in self.processes]
        try:
            await asyncio.gather(*keeps)
        finally:
            for keep in keeps:
                keep.cancel()

    async def keep(self, name):
        while True:
            try:
                await self.ended(name)
            except Ended as ended:
                if not self.commands[name][1]:
                    raise
                print(f"{ended}: starting it again", flush=True)
                await self.start(name)

    async def ended(self, name):
        code = await self.processes[name].wait()
        raise Ended(f"{name} ended by itself, with exit code {code}")

    async def end(self):
        """End them one after the other, the last one first: each still has what it stands on."""
        for process in reversed(self.processes.values()):
            if process.returncode is None:
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), GRACE)
            except TimeoutError:
                os.killpg(process.pid, signal.SIGKILL)  # and with it the processes that it has started itself
        await asyncio.gather(*self.readers)


async def read(name, stream, ready, said_ready):
    async for line in stream:
        text = line.decode(errors="replace").rstrip()
        print(f"{name:>6} | {text}", flush=True)
        if ready and ready in text and not said_ready.done():
            said_ready.set_result(True)
    if not said_ready.done():
        said_ready.set_result(False)


def port_number(text):
    """What an option says, as argparse wants it."""
    if text.isdecimal() and 0 < int(text[:6]) < 65_536:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {text!r}")


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: what closed lately is free
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
