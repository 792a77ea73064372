"""Start the prog rock demo, and say where to look. Ctrl-C ends it.

python serve.py           everything in one process, without any server
python serve.py --redis   web, delay server and worker: three processes, on a Redis of their own
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

try:
    import django
    import uvicorn

    import delayserver  # noqa: F401
except ImportError as missing:
    sys.exit(f"{missing}. In the folder of delayserver's pyproject.toml: pip install -e '.[demo]'")
from django.conf import settings
from django.core.management import call_command

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"
APPLICATION = "progrock.asgi:application"
GRACE = 3  # seconds that anything gets to end by itself
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main():
    parser = argparse.ArgumentParser(description="The prog rock demo of delayserver.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--redis", action="store_true", help="three processes, on a Redis of their own")
    options = parser.parse_args()
    try:
        prepare()
        if options.redis:
            return asyncio.run(play_on_redis(options.port))
        return play_in_one_process(options.port)
    except KeyboardInterrupt:
        return 0


def prepare():
    """Have a database with tables: any start may be the first."""
    os.environ.pop("PROGROCK_REDIS", None)  # which Redis, if any, is said by --redis alone
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "progrock.settings")
    django.setup()
    settings.VAR_DIR.mkdir(exist_ok=True)
    call_command("migrate", verbosity=0)


def announce(port):
    print(f"Prog rock plays at http://{HOST}:{port}/ (Ctrl-C ends it)", flush=True)


# One process.


class Server(uvicorn.Server):
    """Says where to look, and ends in order however often it is asked to."""

    async def startup(self, sockets=None):
        await super().startup(sockets)
        if self.started:
            announce(self.config.port)

    @contextlib.contextmanager
    def capture_signals(self):
        for number in ENDINGS:
            signal.signal(number, self.end)
        yield

    def end(self, number, frame):
        self.should_exit = True


def play_in_one_process(port):
    server = Server(
        uvicorn.Config(
            APPLICATION,
            host=HOST,
            port=port,
            lifespan="on",
            log_level="warning",
            timeout_graceful_shutdown=GRACE,
        )
    )
    server.run()
    return 0 if server.started else 1


# Three processes, and Redis.


class Ended(Exception):
    """A process that should play on has ended."""


class Band:
    """Processes whose lines come out with their names in front, and which end together."""

    def __init__(self, environ):
        self.environ = environ
        self.processes = {}
        self.readers = []

    async def add(self, name, *command, ready=None):
        """Start a process; where `ready` is given, wait until the process says so."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=HERE,
            env=self.environ,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,  # a Ctrl-C in the terminal reaches us alone, and we end them in order
        )
        self.processes[name] = process
        said_ready = asyncio.get_running_loop().create_future()
        self.readers.append(asyncio.create_task(read(name, process.stdout, ready, said_ready)))
        if ready and not await said_ready:
            await self.ended(name)

    async def play(self):
        """Wait until one of them ends, which none should."""
        waits = [asyncio.create_task(self.ended(name)) for name in self.processes]
        await asyncio.gather(*waits)

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
                process.kill()
        await asyncio.gather(*self.readers)


async def read(name, stream, ready, said_ready):
    async for line in stream:
        text = line.decode(errors="replace").rstrip()
        print(f"{name:>6} | {text}", flush=True)
        if ready and ready in text and not said_ready.done():
            said_ready.set_result(True)
    if not said_ready.done():
        said_ready.set_result(False)


async def play_on_redis(port):
    if shutil.which("redis-server") is None:
        print("redis-server was not found. Install Redis (Debian: apt install redis-server),", file=sys.stderr)
        print("or start without --redis, which needs no server at all.", file=sys.stderr)
        return 1
    redis_port = free_port()
    environ = {"PROGROCK_REDIS": f"redis://{HOST}:{redis_port}/0", "PYTHONUNBUFFERED": "1"}
    band = Band(os.environ | environ)
    with tempfile.TemporaryDirectory(prefix="progrock-") as folder:
        playing = asyncio.create_task(play(band, port, redis_port, folder))
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


async def play(band, port, redis_port, folder):
    await band.add(
        "redis",
        *(
            "redis-server",
            "--bind",
            HOST,
            "--port",
            str(redis_port),
            "--dir",
            folder,
            "--save",
            "",
            "--appendonly",
            "yes",
        ),
        ready="Ready to accept connections",
    )
    await band.add(
        "web",
        *(sys.executable, "-m", "uvicorn", APPLICATION, "--host", HOST, "--port", str(port)),
        *("--lifespan", "off", "--no-access-log", "--timeout-graceful-shutdown", str(GRACE)),
        ready="Uvicorn running on",
    )
    await band.add("delay", sys.executable, "manage.py", "rundelay", ready="delay server ready")
    await band.add("worker", sys.executable, "manage.py", "runworker", "prog-rocker")
    announce(port)
    await band.play()


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
