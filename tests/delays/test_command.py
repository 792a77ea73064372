"""``manage.py delays`` as a user runs it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ..process.conftest import Site
from ..support.process import ROOT, Process
from ..support.wait import wait_for

on_both = pytest.mark.parametrize("site", ["redis", "postgres"], indirect=True)


@pytest.fixture
def run(site: Site, start_process: Callable[..., Process]) -> Callable[..., Process]:
    """The command, once it has ended, with the exit code that it should have."""

    def run(*words: str, code: int = 0, **env: str) -> Process:
        command = [sys.executable, "-m", "django", "delays", *words]
        process = start_process(command, env={**site.env, "COLUMNS": "100", **env})
        assert process.wait() == code, process
        assert "Traceback" not in process.output
        return process

    return run


@on_both
def test_a_message_is_sent_seen_moved_and_cancelled(run: Callable[..., Process]) -> None:
    first = run("send", "reports", "--delay", "1h", '{"type": "report.build", "id": 7}', "--key", "report:7")
    id = re.fullmatch(r"Stored: (\w{32}), due in 60 min \(.*\)", first.output)
    assert id
    assert run("list").lines[1].text.split()[3:] == ["reports", "report.build", "report:7", "23", "B", "waiting", id[1]]
    assert '"id": 7' in run("show", id[1]).output
    assert run("run-now", "--key", "report:7").output == "Due now: 1 message."
    assert json.loads(run("stats", "--json").output)["targets"][0]["waiting"] == 1
    assert run("cancel", "--channel", "rep*", code=1).output == (
        "CommandError: Cancel 1 message? Nobody can be asked here: add --yes to do it."
    )
    assert run("cancel", id[1]).output == "Cancelled: 1 message."
    assert run("cancel", id[1], code=1).output.startswith("CommandError: not waiting")
    assert run("list").output == "No message waits."


@on_both
def test_dead_letters_come_from_what_a_server_refuses(site: Site, run: Callable[..., Process]) -> None:
    server = site.rundelay()
    site.run(
        "from asgiref.sync import async_to_sync; from channels.layers import get_channel_layer\n"
        "async_to_sync(get_channel_layer().send)('asgi.delay', {'type': 'x', 'channel': 'sink', 'delay': 0})"
    ).wait()
    id = server.wait_for_line(r"kept as dead letter (\w{32})")[1]
    assert run("dead").lines[1].text.split()[-1] == id
    assert "never was a message" in run("requeue", id, code=1).output
    assert run("purge", "--older-than", "0s", "--yes").output == "Purged 1 dead letter."
    assert run("dead", "list").output == "No dead letters."


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "the following arguments are required: SUBCOMMAND"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["list", "--nonsense", "x"], "unrecognized arguments: --nonsense x"),
        (["cancel", "a", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["list", "--due-after", "5"], "argument --due-after: expected an ISO 8601 instant"),
        (["list", "--channel", "a", "--group", "b"], "not allowed with argument --channel"),
        (["dead", "list", "--limit", "0"], "argument --limit: expected a whole number from 1 to 1000"),
        (["cancel"], "CommandError: expected IDs, --key or a filter, got none"),
        (["send", "a", "{"], "CommandError: expected CONTENT to be JSON"),
    ],
)
def test_wrong_usage_is_exit_code_2(run: Callable[..., Process], words: list[str], sentence: str) -> None:
    assert sentence in run(*words, code=2).output


AWAY = "redis://127.0.0.1:1"
MEMORY = json.dumps({"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}})


@pytest.mark.parametrize("words", [["list"], ["show", "a"], ["dead"], ["stats"], ["purge", "a"], ["requeue", "a"]])
def test_a_store_that_is_away_is_told_in_one_sentence(run: Callable[..., Process], words: list[str]) -> None:
    process = run(*words, code=1, DELAYSERVER_TEST_REDIS=AWAY)
    assert process.output.startswith("CommandError: the Redis store did not answer (ConnectionError): ")
    assert len(process.lines) == 1


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        (
            {"DELAYSERVER_TEST_SETTINGS": '{"STORE": "memory"}', "DELAYSERVER_TEST_LAYERS": MEMORY},
            "The memory store lives",
        ),
        ({"DELAYSERVER_TEST_SETTINGS": '{"STORE": "database"}'}, "no such table"),
        ({"DELAYSERVER_TEST_SETTINGS": '{"STOER": "redis"}'}, "DELAYSERVER has an unknown name 'STOER'"),
        ({"DELAYSERVER_TEST_LAYERS": "{}"}, "You do not have any CHANNEL_LAYERS configured"),
    ],
)
def test_what_cannot_be_seen_is_told_in_one_sentence(
    run: Callable[..., Process], env: dict[str, str], sentence: str
) -> None:
    process = run("list", code=1, **env)
    assert re.search(f"^CommandError: .*{sentence}", process.output)
    assert len(process.lines) == 1


def test_another_layer(run: Callable[..., Process], site: Site) -> None:
    layers = {"other": json.loads(json.dumps({"BACKEND": "channels_redis.core.RedisChannelLayer"}))}
    layers["other"]["CONFIG"] = {"hosts": [site.url], "prefix": "other"}
    assert run("list", "--layer", "other", DELAYSERVER_TEST_LAYERS=json.dumps(layers)).output == "No message waits."
    assert "no channel layer 'default'" in run("list", code=1, DELAYSERVER_TEST_LAYERS=json.dumps(layers)).output


@on_both
def test_a_reader_that_goes_away_ends_it_quietly(site: Site) -> None:
    filler = site.run(
        "from delayserver import send_later\nfor n in range(900): send_later('a', {'type': 'b'}, delay=n)"
    )
    assert filler.wait() == 0
    command = f"{sys.executable} -m django delays list --limit 900 | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], env={**os.environ, **site.env}, cwd=ROOT, capture_output=True, text=True, check=True
    )
    head, code = done.stdout.splitlines()
    assert (head.split()[0], done.stderr) == ("DUE", "")
    assert code in ("0", "141")  # all may have fitted into the pipe


def test_what_the_terminal_cannot_write_is_escaped(run: Callable[..., Process]) -> None:
    run("send", "a", '{"type": "日本"}', "--delay", "1h")
    assert r"\u65e5\u672c" in run("list", PYTHONIOENCODING="ascii").output


# -- with a person at a terminal -------------------------------------------------------------------------------


class AtTerminal:
    """The command on a terminal of its own, which we type into and read from."""

    def __init__(self, site: Site, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "django", "delays", *words]
        env = {**os.environ, **site.env, "COLUMNS": "100"}
        self._popen = subprocess.Popen(
            command, env=env, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self.seen = ""

    def read_until(self, text: str) -> None:
        while text not in self.seen:
            self.seen += os.read(self._ours, 10_000).decode()

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def sockets(self) -> int:
        """How many the command has open: two are its event loop's own."""
        descriptors = Path(f"/proc/{self._popen.pid}/fd").iterdir()
        return sum(_leads_to(descriptor).startswith("socket:") for descriptor in descriptors)

    def interrupt(self) -> None:
        self._popen.send_signal(signal.SIGINT)

    def end(self) -> int:
        with contextlib.suppress(OSError):  # the terminal's other end is closed
            while more := os.read(self._ours, 10_000):
                self.seen += more.decode()
        os.close(self._ours)
        return self._popen.wait(10)


def _leads_to(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:  # it was closed meanwhile
        return ""


def test_it_asks_a_person_and_tells_how_far_it_is(site: Site) -> None:
    site.run("from delayserver import send_later\nfor n in range(600): send_later('a', {'type': 'b'}, delay=n)").wait()
    terminal = AtTerminal(site, "cancel", "--channel", "a")
    terminal.read_until("Cancel 600 messages? [y/N] ")
    terminal.type("y\n")
    assert terminal.end() == 0
    assert "\rcancelled 500 ..." in terminal.seen
    assert terminal.seen.endswith("\rCancelled 600 messages.\r\n")


def test_ctrl_c_ends_it_quietly(site: Site) -> None:
    site.run("from delayserver import send_later; send_later('a', {'type': 'b'}, delay=0)").wait()
    terminal = AtTerminal(site, "cancel", "--channel", "a")
    terminal.read_until("Cancel 1 message? [y/N] ")
    terminal.interrupt()
    assert terminal.end() == 130
    assert "Traceback" not in terminal.seen


def test_ctrl_c_does_not_wait_for_the_store(site: Site) -> None:
    with site.redis() as client:
        client.execute_command("CLIENT", "PAUSE", 30_000, "WRITE")
        try:
            terminal = AtTerminal(site, "stats")
            wait_for(lambda: terminal.sockets() > 2, 20, "a connection to Redis, where scripts wait as writes do")
            before = time.monotonic()
            terminal.interrupt()
            assert terminal.end() == 130
            assert time.monotonic() - before < 3.0  # a command to Redis is given up after 5 s
        finally:
            client.execute_command("CLIENT", "UNPAUSE")
    assert "Traceback" not in terminal.seen
