"""A page, followed as its reader would: in a fresh folder, block by block.

What is done with a block depends on its language, and on the words of the comment before it:

    (any)    file=PATH      the block is that file of the project
    (any)    append=PATH    the block goes to the end of that file
    (any)    part=PATH      the block stands in that file of the repository, as it is but for its indentation
    sh                      each line is a command, found in `COMMANDS`
    python                  run after everything else on the page, all of a page's blocks in one namespace
    python   settings       a part of settings.py: loaded, and checked as ``manage.py check`` does
    python   elsewhere      another library's: compiled, not run
    python   channels1      as python, with the one name of Channels 1 that it imports
    json                    loads
    ini      unit=NAME      a systemd unit; its ExecStart is a command that we have
    ini      supervisor     a program of supervisord, and its command the same
    yaml     compose        services of Docker Compose, and their commands the same
    html                    its tags are closed
    text     seen           each line is now printed by one of the servers that the page started
    text     output         what the command before it printed
    text     page=URL       a browser opens it, presses the button `press`, and sees one line after the other;
                            `picture` is what it looks like at the first, and made where DOCS_PICTURES is set
    text     figure         a drawing; nothing to run

``stop`` in any comment first stops the servers that the page started, as Ctrl-C would. Whatever is not in this
list, and a command that is not in `COMMANDS`, fails the test.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path

import yaml

from delayserver.jobs import CANCEL_SECONDS
from delayserver.worker import LAST_SECONDS
from tests.support.process import Process
from tests.support.wait import wait_for

from .blocks import ROOT, Block
from .browsing import Visit, visit
from .projects import BASE_ASGI, BASE_SETTINGS, ENVIRONMENT, Projects, copy_project

SECONDS = 30  # the longest that any one fact is waited for
PICTURES = "DOCS_PICTURES"
PAGE_REDIS, PAGE_WEB = "127.0.0.1:6379", "127.0.0.1:8000"


class PageRun:
    """One page in one folder. `redis` and `web` are the host:port that stand for the page's own."""

    def __init__(self, folder: Path, redis: str, web: str, projects: Projects) -> None:
        self.folder = folder
        self._projects = projects
        self.servers: list[Process] = []
        self.output = ""
        self.units: set[str] = set()
        self._ports = {PAGE_REDIS: redis, PAGE_WEB: web, "--port 8000": f"--port {web.partition(':')[2]}"}

    def follow(self, blocks: Sequence[Block]) -> None:
        """All blocks of a page, in order; the Python ones, which a reader would type in a shell, at the end."""
        for block in blocks:
            if "stop" in block.words:
                self.stop()
            self._do(block)
        python = [block for block in blocks if self._language(block) == "python"]
        if python:
            self._execute(python)

    def make_project(self) -> None:
        """What a page without a ``startproject`` of its own takes for granted."""
        copy_project(self._projects.migrated, self.folder)

    def stop(self) -> None:
        while self.servers:
            self.servers.pop().end()

    def run(self, command: str, block: Block) -> None:
        for pattern, act in COMMANDS:
            if re.fullmatch(pattern, command):
                act(self, shlex.split(self._local(command)), block)
                return
        raise AssertionError(f"{block}: nothing in COMMANDS runs {command!r}")

    # -- blocks -------------------------------------------------------------------------------------------

    def _do(self, block: Block) -> None:
        if "file" in block.words:
            self._write(block.words["file"], block.text, "w")
        elif "append" in block.words:
            self._write(block.words["append"], block.text, "a")
        elif "part" in block.words:
            self.part(block)
        else:
            act = ACTS.get(self._language(block))
            assert act is not None, f"{block}: nothing in ACTS runs this block"
            act(self, block)

    def _language(self, block: Block) -> str:
        if {"file", "append", "part"} & block.words.keys():
            return "file"
        plain = block.words.keys() - {"stop", "channels1", "unit", "press", "picture"}
        return " ".join([block.language, *sorted(plain)])

    def sh(self, block: Block) -> None:
        for line in block.lines:
            self.run(line.partition("  #")[0].strip(), block)

    def python(self, block: Block) -> None:
        compile(block.text, str(block), "exec", flags=0x2000)  # PyCF_ALLOW_TOP_LEVEL_AWAIT; run later

    def settings(self, block: Block) -> None:
        """Check the block in a project of its own, so that blocks of one page may contradict each other."""
        with tempfile.TemporaryDirectory() as folder:
            other = PageRun(Path(folder), self._ports[PAGE_REDIS], self._ports[PAGE_WEB], self._projects)
            copy_project(self._projects.started, other.folder)
            base = "" if "INSTALLED_APPS" in block.text else BASE_SETTINGS
            other._write("mysite/settings.py", f"{base}import os\n{block.text}", "a")
            other._write("mysite/asgi.py", BASE_ASGI, "w")
            other._finish(["python", "-c", CHECK])

    def json(self, block: Block) -> None:
        json.loads(block.text)

    def ini(self, block: Block) -> None:
        unit = configparser.ConfigParser(strict=True, interpolation=None)
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read_string(block.text)
        assert unit.sections() == ["Unit", "Service", "Install"], f"{block}: {unit.sections()}"
        self.units.add(block.words["unit"].removesuffix(".service"))
        program = shlex.split(unit["Service"]["ExecStart"])
        assert program[0].startswith("/"), f"{block}: systemd wants a full path"
        command = [Path(program[0]).name, *program[1:]]
        if command[:2] == ["python", "manage.py"]:
            self._parse(command, unit["Service"].get("TimeoutStopSec"), block)
        else:
            assert command[0] == "uvicorn", f"{block}: {command}"

    def supervisor(self, block: Block) -> None:
        programs = configparser.ConfigParser(strict=True, interpolation=None)
        programs.read_string(block.text)
        assert programs.sections(), f"{block}: no program"
        for program in programs.sections():
            assert program.startswith("program:"), f"{block}: {program}"
            assert shlex.split(programs[program]["command"])[0].startswith("/"), f"{block}: a full path is wanted"
            self._parse(shlex.split(programs[program]["command"]), programs[program].get("stopwaitsecs"), block)

    def compose(self, block: Block) -> None:
        for service in yaml.safe_load(block.text)["services"].values():
            self._parse(shlex.split(service["command"]), service.get("stop_grace_period"), block)

    def _parse(self, command: Sequence[str], stop: str | None, block: Block) -> None:
        """A `manage.py` command that we have; who stops a worker leaves it the time that it may take."""
        assert Path(command[0]).name == "python" and command[1] == "manage.py", f"{block}: {command}"
        grace = self._finish(["python", "-c", PARSE, *command[2:]]).strip()
        if grace:
            assert stop, f"{block}: a worker needs longer to stop than it is given unasked"
            assert float(stop.removesuffix("s")) >= float(grace) + STOP_SECONDS, f"{block}: {stop} for {grace} s"

    def part(self, block: Block) -> None:
        file = ROOT / block.words["part"]
        lines, wanted = _bare(file.read_text()), _bare(block.text)
        found = any(lines[i : i + len(wanted)] == wanted for i in range(len(lines)))
        assert found, f"{block}: {file} has it otherwise"

    def html(self, block: Block) -> None:
        _Tags().check(block.text)

    def seen(self, block: Block) -> None:
        for wanted in block.lines:
            self._wait_to_see(self._local(wanted.strip()), block)

    def shown(self, block: Block) -> None:
        assert [line.strip() for line in self.output.splitlines()] == block.lines, f"{block}: {self.output}"

    def page(self, block: Block) -> None:
        picture = ROOT / block.words["picture"] if "picture" in block.words and os.environ.get(PICTURES) else None
        visit(Visit(self._local(block.words["page"]), block.words.get("press", ""), block.lines, picture), SECONDS)

    def figure(self, block: Block) -> None:
        pass

    # -- commands -----------------------------------------------------------------------------------------

    def foreground(self, arguments: Sequence[str], block: Block) -> None:
        self.output = self._finish(arguments)

    def background(self, arguments: Sequence[str], block: Block) -> None:
        server = Process(arguments, env=ENVIRONMENT, cwd=self.folder)
        self.servers.append(server)
        server.wait_for_line(READY, SECONDS)

    def curl(self, arguments: Sequence[str], block: Block) -> None:
        with urllib.request.urlopen(arguments[-1], timeout=SECONDS) as answer:
            self.output = answer.read().decode()

    def redis_cli(self, arguments: Sequence[str], block: Block) -> None:
        import redis

        host, _, port = self._ports[PAGE_REDIS].partition(":")
        with redis.Redis(host=host, port=int(port), decode_responses=True) as client:
            answer = client.execute_command(*arguments[1:])
        self.output = "\n".join(f"{name}\n{value}" for name, value in answer.items())

    def pip(self, arguments: Sequence[str], block: Block) -> None:
        """Not run here; what it asks for must be in pyproject.toml."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        known = {re.split(r"[^\w-]", asked)[0] for asked in project["dependencies"]}
        known |= {re.split(r"[^\w-]", asked)[0] for asked in project["optional-dependencies"]["demo"]}
        for asked in arguments[2:]:
            name, _, extras = asked.strip("'\"").rstrip("]").partition("[")
            assert name in (".", "-e", "path/to/delayserver") or name in known, f"{block}: {asked}"
            assert set(filter(None, extras.split(","))) <= project["optional-dependencies"].keys(), asked

    def make(self, arguments: Sequence[str], block: Block) -> None:
        """Not run here; the Makefile must have the target."""
        makefile = (ROOT / "Makefile").read_text()
        assert re.search(rf"^{re.escape(arguments[1])}:", makefile, re.MULTILINE), f"{block}: {arguments}"

    def examples(self, arguments: Sequence[str], block: Block) -> None:
        """Parsed, not started; tests/examples does that."""
        if len(arguments) > 3:
            command = [sys.executable, str(ROOT / "examples" / arguments[3] / "serve.py"), *arguments[4:], "--help"]
            self._finish(command)

    def systemd(self, arguments: Sequence[str], block: Block) -> None:
        """Not run here; the unit must be one that the page shows."""
        assert arguments[-1].removesuffix(".service") in self.units, f"{block}: {arguments}"

    def environment(self, arguments: Sequence[str], block: Block) -> None:
        """The tests' own environment stands for the reader's."""

    def repository(self, arguments: Sequence[str], block: Block) -> None:
        """Not run here; the files it names must exist."""
        for argument in arguments[1:]:
            if "/" in argument:
                assert (ROOT / argument.partition("::")[0]).exists(), f"{block}: {argument}"

    # -- inside -------------------------------------------------------------------------------------------

    def _local(self, text: str) -> str:
        for theirs, ours in self._ports.items():
            text = text.replace(theirs, ours)
        return text

    def _write(self, path: str, text: str, mode: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open(mode) as stream:
            stream.write(self._local(text))

    def _finish(self, arguments: Sequence[str], stdin: str | None = None) -> str:
        done = subprocess.run(
            arguments,
            cwd=self.folder,
            env={**os.environ, **ENVIRONMENT},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=2 * SECONDS,
        )
        assert done.returncode == 0, f"$ {shlex.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _execute(self, blocks: Sequence[Block]) -> None:
        """In a process of their own, where a warning is an error too."""
        told = [
            {
                "page": str(block.page.relative_to(ROOT)),
                "line": block.line,
                "text": self._local(block.text),
                "words": list(block.words),
            }
            for block in blocks
        ]
        script = str(Path(__file__).with_name("execute.py"))
        self._finish([sys.executable, "-W", "error", script], json.dumps(told))

    def _wait_to_see(self, wanted: str, block: Block) -> None:
        try:
            wait_for(lambda: any(wanted in server.output for server in self.servers), SECONDS, f"{block}: {wanted!r}")
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *map(str, self.servers)])) from None


def _bare(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


class _Tags(HTMLParser):
    def check(self, text: str) -> None:
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


READY = r"delay server ready|Uvicorn running on|Running worker|worker ready|celery@.* ready\."
# After its grace: to cut handlers off, to settle, to give back, and to end its loops.
STOP_SECONDS = 2 * CANCEL_SECONDS + 2 * LAST_SECONDS
PARSE = (
    "import sys, django; django.setup(); from django.core.management import load_command_class;"
    " options = load_command_class('delayserver', sys.argv[1]).create_parser('', '').parse_args(sys.argv[2:]);"
    " print(getattr(options, 'grace', ''))"
)
CHECK = (
    "from django.core.management import execute_from_command_line;"
    " execute_from_command_line(['manage.py', 'check', '--fail-level', 'WARNING']);"
    " from delayserver.conf import settings_faults; assert settings_faults() == [], settings_faults()"
)
ACTS: dict[str, Callable[[PageRun, Block], None]] = {
    "sh": PageRun.sh,
    "python": PageRun.python,
    "python settings": PageRun.settings,
    "python elsewhere": PageRun.python,
    "json": PageRun.json,
    "ini": PageRun.ini,
    "ini supervisor": PageRun.supervisor,
    "yaml compose": PageRun.compose,
    "html": PageRun.html,
    "text seen": PageRun.seen,
    "text output": PageRun.shown,
    "text page": PageRun.page,
    "text figure": PageRun.figure,
}
COMMANDS: list[tuple[str, Callable[[PageRun, Sequence[str], Block], None]]] = [
    (r"python3? -m venv \.venv|\. \.venv/bin/activate|mkdir \w+|cd \w+", PageRun.environment),
    (r"pip install .*", PageRun.pip),
    (r"make [\w-]+( [A-Z]+=\S+)*", PageRun.make),
    (r"python -m examples( [\w -]+)?", PageRun.examples),
    (r"django-admin startproject mysite \.", PageRun.foreground),
    (r"python manage\.py (migrate|check|test|delays .*)|pytest", PageRun.foreground),
    (r"python manage\.py (rundelay|runworker|runtasks)( [\w .:-]+)?", PageRun.background),
    (r"uvicorn mysite\.asgi:application --port 8000", PageRun.background),
    (r"celery -A mysite worker --loglevel INFO", PageRun.background),
    (r"curl .*http://127\.0\.0\.1:8000/\S*", PageRun.curl),
    (r"redis-cli config get [\w-]+", PageRun.redis_cli),
    (r"systemctl (enable --now|stop|restart|status) \S+|journalctl (-f )?-u \S+", PageRun.systemd),
    (r"\.venv/bin/(pytest|mkdocs|ruff|mypy|lint-imports).*", PageRun.repository),
]
