"""A progress bar in the browser, moved by a consumer that re-schedules itself.

python serve.py           everything in one process, without any server
python serve.py --redis   web, delay server and worker: three processes, on a Redis of their own
"""

import argparse
import contextlib
import os
import signal
import sys
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
sys.path.append(str(HERE.parent))  # what the examples share
from running import ENDINGS, GRACE, HOST, port_number, run_on_redis  # noqa: E402

APPLICATION = "progrock.asgi:application"


def main():
    parser = argparse.ArgumentParser(description="The prog rock demo of delayserver.")
    parser.add_argument("--port", type=port_number, default=8000)
    parser.add_argument("--redis", action="store_true", help="three processes, on a Redis of their own")
    options = parser.parse_args()
    try:
        prepare()
        if options.redis:
            return play_on_redis(options.port)
        return play_in_one_process(options.port)
    except KeyboardInterrupt:
        return 0


def prepare():
    """Have a database with tables: any start may be the first."""
    os.environ.pop("PROGROCK_REDIS", None)  # which Redis, if any, is said by --redis alone
    os.environ["DJANGO_SETTINGS_MODULE"] = "progrock.settings"  # whatever else is worked on in this terminal
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


def play_on_redis(port):
    async def play(band):
        band.environ["PROGROCK_REDIS"] = await band.add_redis()
        await band.add_web(APPLICATION, port)
        await band.add("delay", sys.executable, "manage.py", "rundelay", ready="delay server ready")
        await band.add("worker", sys.executable, "manage.py", "runworker", "prog-rocker", "prog-poller")
        await band.ready()
        announce(port)

    return run_on_redis(play, HERE, port, otherwise=",\nor start without --redis, which needs no server at all.")


if __name__ == "__main__":
    sys.exit(main())
