"""Django projects that pages of the docs take for granted: made once, and copied for each page."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from .blocks import ROOT

BASE_SETTINGS = """
INSTALLED_APPS += ["delayserver"]
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
ASGI_APPLICATION = "mysite.asgi.application"
"""
BASE_ASGI = """
from django.core.asgi import get_asgi_application
from delayserver.embedded import embedded
application = embedded(get_asgi_application())
"""
ENVIRONMENT: Mapping[str, str] = {
    "DJANGO_SETTINGS_MODULE": "mysite.settings",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": str(ROOT),
}


class Projects(NamedTuple):
    """The folders of two: just `started`, and with delayserver in it and `migrated`."""

    started: Path
    migrated: Path


def make_projects(folder: Path) -> Projects:
    made = Projects(folder / "started", folder / "migrated")
    made.started.mkdir()
    _run(made.started, "django-admin", "startproject", "mysite", ".")
    copy_project(made.started, made.migrated)
    with (made.migrated / "mysite/settings.py").open("a") as settings:
        settings.write(BASE_SETTINGS)
    (made.migrated / "mysite/asgi.py").write_text(BASE_ASGI)
    _run(made.migrated, "python", "manage.py", "migrate")
    return made


def copy_project(project: Path, folder: Path) -> None:
    """Into `folder`, which may be there already."""
    shutil.copytree(project, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def _run(folder: Path, *command: str) -> None:
    env = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
