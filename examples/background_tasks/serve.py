"""Tasks in the background: started by a view, later, again where they fail, and on a schedule.

python serve.py                      under our worker, runtasks
python serve.py --worker runworker   under the one of Channels
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))  # what the examples share
from running import HOST, read_options, run_on_redis  # noqa: E402

WORKER = {"choices": ["runtasks", "runworker"], "default": "runtasks", "help": "which worker runs the tasks"}
CHANNELS = ("background-tasks", "background-hello")


def main():
    options = read_options(HERE, "Background tasks, by delayserver.", worker=WORKER)

    async def play(band):
        band.environ |= {
            "DJANGO_SETTINGS_MODULE": "background_tasks.settings",
            "EXAMPLE_REDIS": await band.add_redis(),
            "EXAMPLE_WORKER": options.worker,
        }
        await band.add_web("background_tasks.asgi:application", options.port)
        await band.add("delay", sys.executable, "manage.py", "rundelay", ready="delay server ready")
        ready = "worker ready" if options.worker == "runtasks" else None  # Channels' own says nothing
        await band.add("worker", sys.executable, "manage.py", options.worker, *CHANNELS, ready=ready, again=True)
        await band.ready()
        print(f"Background tasks, under {options.worker}: http://{HOST}:{options.port}/ (Ctrl-C ends it)", flush=True)

    return run_on_redis(play, HERE, options.port)


if __name__ == "__main__":
    sys.exit(main())
