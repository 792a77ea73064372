"""The fixture, in a project's own run of pytest."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEST = """
from delayserver import send_later


def test_two_lines(delays):
    send_later("nobody", {"type": "tick"}, delay=200)
    delays.advance(200)
    delays.assert_delivered(channel="nobody")


async def test_async(delays):
    await delays.aadvance(hours=1)
    delays.assert_delivered(channel="nobody")
"""


def test_a_projects_tests_have_the_fixture(tmp_path: Path) -> None:
    (tmp_path / "test_project.py").write_text(TEST)
    plugins = ["delayserver.pytest_plugin", "django", "asyncio"]
    command = [sys.executable, "-m", "pytest", *(f"-p{name}" for name in plugins), "--asyncio-mode=auto", str(tmp_path)]
    environment = os.environ | {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # else it would be there twice, where delayserver is installed
        "PYTEST_ADDOPTS": "",
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert "1 failed, 1 passed" in ran.stdout, ran.stdout + ran.stderr
    assert "AssertionError: expected 1 delivered with channel 'nobody', found 0; there are none at all" in ran.stdout
    # The traceback ends in the test itself.
    assert "test_project.py:13: AssertionError" in ran.stdout


def test_pytest_finds_it_as_an_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module = import_module(project["entry-points"]["pytest11"]["delayserver"])
    assert module.delays


def test_the_plugin_needs_no_settings_and_no_test_tools() -> None:
    """pytest loads it in every run, also of projects that do not use Django."""
    code = "import sys, delayserver.pytest_plugin; print('delayserver.testing' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    command = [sys.executable, "-W", "error", "-c", code]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("False\n", "")
