"""Slow work that a worker does for a view, a request, a call or a command, while the web worker answers others."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))  # what the examples share
from running import HOST, free_port, read_options, run_on_redis  # noqa: E402


def main():
    options = read_options(HERE, "Offloaded work, by delayserver.")
    slow = str(free_port())

    async def play(band):
        band.environ |= {
            "DJANGO_SETTINGS_MODULE": "offloading.settings",
            "EXAMPLE_REDIS": await band.add_redis(),
            "EXAMPLE_SLOW": f"{HOST}:{slow}",
        }
        await band.add("slow", sys.executable, "slow_service.py", slow, ready="is up")
        await band.add_web("offloading.asgi:application", options.port)
        await band.add(
            "worker", sys.executable, "manage.py", "runtasks", "asgi.offload", ready="worker ready", again=True
        )
        await band.ready()
        print(f"Offloading: http://{HOST}:{options.port}/ (Ctrl-C ends it)", flush=True)

    return run_on_redis(play, HERE, options.port)


if __name__ == "__main__":
    sys.exit(main())
