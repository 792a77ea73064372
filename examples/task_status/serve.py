"""A form that starts a task, on our worker or on Celery's, and a page that shows its status until the end."""

import secrets
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))  # what the examples share
from running import HOST, read_options, run_on_redis  # noqa: E402

CELERY = ("celery", "-A", "task_status", "worker", "--pool", "prefork", "--concurrency", "4", "--loglevel", "INFO")
ALONE = ("--without-gossip", "--without-mingle")  # there is no other worker of Celery's to look for


def main():
    options = read_options(HERE, "The status of tasks, by delayserver.", "celery")

    async def play(band):
        band.environ |= {
            "DJANGO_SETTINGS_MODULE": "task_status.settings",
            "EXAMPLE_REDIS": await band.add_redis(),
            "EXAMPLE_SECRET": secrets.token_urlsafe(50),
        }
        await band.add_web("task_status.asgi:application", options.port)
        await band.add(
            "worker", sys.executable, "manage.py", "runtasks", "task-status", ready="worker ready", again=True
        )
        await band.add("celery", sys.executable, "-m", *CELERY, *ALONE, ready=" ready.", again=True)
        await band.ready()
        print(f"Task status: http://{HOST}:{options.port}/ (Ctrl-C ends it)", flush=True)

    return run_on_redis(play, HERE, options.port)


if __name__ == "__main__":
    sys.exit(main())
