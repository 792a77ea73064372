"""What runs without being asked for. The delay server finds this file as Django finds admin.py."""

from datetime import timedelta

from delayserver import Every, schedule

schedule(
    "every-ten-seconds",
    Every(timedelta(seconds=10)),
    channel="background-tasks",
    message={"type": "task.a", "task": "every-ten-seconds", "name": "Task a, every 10 s"},
)
