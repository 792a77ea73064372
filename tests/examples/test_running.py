"""``python -m examples``: what it lists, starts, refuses, and leaves behind."""

from __future__ import annotations

import re
import signal
import socket
import sys
import urllib.request
from pathlib import Path

import pytest

from ..support.process import ROOT, Process
from ..support.wait import wait_for
from .starting import alive, children_of, examples, started

NAMES = sorted(path.parent.name for path in (ROOT / "examples").glob("*/manage.py"))


def test_it_lists_every_example() -> None:
    with examples() as process:
        assert process.wait() == 0
    listed = dict(re.findall(r"^  (\w+) +(\S.+)$", process.output, re.MULTILINE))
    assert sorted(listed) == NAMES
    assert all(line.endswith((".", "?")) for line in listed.values())


def test_an_unknown_name_is_answered_with_those_that_are_known() -> None:
    with examples("../progrock") as process:
        assert process.wait() == 2
    assert process.output == f"expected one of {', '.join(NAMES)}; got '../progrock'"


PACKAGES = {"background_tasks": "background_tasks", "offload": "offloading", "task_status": "task_status"}


@pytest.mark.parametrize(("name", "package"), PACKAGES.items())
def test_its_project_has_no_issues(name: str, package: str) -> None:
    args = [sys.executable, "manage.py", "check", "--fail-level", "WARNING"]
    environ = {"PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": f"{package}.settings"}
    with Process(args, cwd=ROOT / "examples" / name, env=environ) as process:
        assert process.wait() == 0
    assert process.output == "System check identified no issues (0 silenced)."


@pytest.mark.parametrize("port", ["0", "-1", "65536", "9" * 5000, "http", "8000.0"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with examples("offload", f"--port={port}") as process:
        assert process.wait() == 2
    assert "expected a port from 1 to 65535, got" in process.output


@pytest.mark.parametrize("name", NAMES)
def test_a_port_that_is_taken_is_named(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = ["--redis"] if name == "progrock" else []
        with examples(name, "--port", port, *options, DJANGO_SETTINGS_MODULE=f"{name}.settings") as process:
            assert process.wait() == 1
    assert process.output == f"port {port} of 127.0.0.1 is taken: choose another with --port"


def test_without_redis_server_it_says_what_to_do() -> None:
    with examples("offload", PATH="") as process:
        assert process.wait() == 1
    assert process.output == "redis-server was not found. Install Redis (Debian: apt install redis-server)."


def test_without_what_it_needs_it_says_what_to_install() -> None:
    script = "import runpy, sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]; sys.argv[1:] = []"
    script += f"; runpy.run_path({str(ROOT / 'examples/offload/serve.py')!r}, run_name='__main__')"
    with Process([sys.executable, "-I", "-c", script]) as process:
        assert process.wait() == 1
    assert "is not installed. In the folder of pyproject.toml: pip install -e '.[demo]'" in process.output


def test_without_celery_it_says_what_to_install() -> None:
    script = "import runpy, sys; sys.modules['celery'] = None; sys.argv[1:] = []"
    script += f"; runpy.run_path({str(ROOT / 'examples/task_status/serve.py')!r}, run_name='__main__')"
    with Process([sys.executable, "-c", script]) as process:
        assert process.wait() == 1
    sentence = "celery is not installed. In the folder of pyproject.toml: pip install -e '.[demo,celery]'"
    assert process.output == sentence


def test_what_was_started_ends_with_it(tmp_path: Path) -> None:
    """Its processes, and the folder of its Redis."""
    with started("background_tasks", TMPDIR=str(tmp_path)) as (process, url):
        children = children_of(process.pid)
        assert len(children) == 4
        assert any(tmp_path.rglob("*.aof"))
        assert urllib.request.urlopen(url, timeout=10).status == 200
        process.signal(signal.SIGINT)
        assert process.wait() == 0
        wait_for(lambda: not any(map(alive, children)), 1, f"{children} to be gone")
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in process.output
