"""`supervise`: so many worker processes, each started anew when it ends, all stopped by one signal, none left over."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ..support.process import Process
from ..support.wait import wait_for
from .supervising.seen import found, is_gone, runs, wait_for_runs, wait_for_ticks, wait_until_gone, worked

Start = Callable[..., Process]


@pytest.fixture
def parent(start_process: Start, tmp_path: Path) -> Start:
    """Starts a parent of so many children that do such work."""
    database = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "project.sqlite3")}}

    def start(number: int, work: str = "waits", **env: str) -> Process:
        steered = {f"DELAYSERVER_TEST_{name}": value for name, value in env.items()}
        return start_process(
            [sys.executable, "-m", "tests.process.supervising.parent", str(number), work],
            env={
                "DJANGO_SETTINGS_MODULE": "tests.settings",
                "DELAYSERVER_TEST_DB": json.dumps(database),
                "PYTHONUNBUFFERED": "",  # what a child leaves in its buffers is for it to flush
                **steered,
            },
        )

    return start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_one_signal_ends_all_and_each_has_its_last_words(parent: Start, number: signal.Signals) -> None:
    process = parent(3)
    children = wait_for_runs(process, 3)
    assert sorted(each for each, _ in children) == [1, 2, 3]
    assert len({process.pid, *(pid for _, pid in children)}) == 4
    process.signal(number)
    assert process.wait() == 0
    assert all(is_gone(pid) for _, pid in children)
    assert sorted(found(process, r"^child (\d) ends: (.*)")) == [(f"{n}", "stopped, asked 1") for n in (1, 2, 3)]
    assert sorted(found(process, r"last words of (\d)")) == [("1",), ("2",), ("3",)]
    assert found(process, r"^(parent files|the parent's atexit)") == [("parent files",), ("the parent's atexit",)]
    assert not found(process, r"^(ERROR|INFO)"), process


def test_ctrl_c_in_a_terminal_is_one_request_for_each_process(parent: Start) -> None:
    process = parent(2)
    wait_for_runs(process, 2)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait() == 0
    assert sorted(found(process, r"^child (\d) ends: (.*)")) == [(f"{n}", "stopped, asked 1") for n in (1, 2)]
    assert "Traceback" not in process.output


def test_a_closed_terminal_is_no_second_request(parent: Start) -> None:
    """The shell sends SIGHUP to its jobs, and the kernel to the group in the foreground."""
    process = parent(2, "is_stubborn")
    (_, one), (_, two) = wait_for_runs(process, 2)
    os.killpg(process.pid, signal.SIGHUP)
    wait_for(lambda: len(found(process, r"(is asked)")) == 2, 20, "both to be asked")
    os.killpg(process.pid, signal.SIGHUP)
    os.kill(one, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{one}").exists(), 20, "the parent to take in an end, and so the second SIGHUP")
    assert not is_gone(two)
    process.terminate()
    assert process.wait() == 1
    assert not found(process, r"^(ERROR|INFO)"), process


def test_nohup_is_respected(parent: Start) -> None:
    process = parent(1, HANGUP="ignored")
    [(_, pid)] = wait_for_runs(process, 1)
    os.killpg(process.pid, signal.SIGHUP)
    os.kill(pid, signal.SIGUSR1)
    wait_for_runs(process, 2)
    process.terminate()
    assert process.wait() == 0


def test_a_second_signal_kills(parent: Start) -> None:
    process = parent(3, "is_stubborn")
    children = wait_for_runs(process, 3)
    process.terminate()
    wait_for(lambda: len(found(process, r"(is asked)")) == 3, 20, "each to be asked")
    assert process.running
    process.signal(signal.SIGINT)
    assert process.wait() == 1
    assert all(is_gone(pid) for _, pid in children)
    assert not found(process, r"child \d ends")


def test_a_child_that_handles_no_signals_yet_is_ended_by_the_first(parent: Start) -> None:
    process = parent(2, "is_deaf")
    children = wait_for_runs(process, 2)
    process.terminate()
    assert process.wait() == 0
    assert all(is_gone(pid) for _, pid in children)


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (signal.SIGKILL, "^ERROR worker process {} .pid {}. died: SIGKILL; starting it anew in 0.0 s$"),
        (signal.SIGUSR1, "^INFO worker process {} .pid {}. ended by itself; starting it anew in 0.0 s$"),
        (signal.SIGUSR2, "^ERROR worker process {} .pid {}. died: exit code 1; starting it anew in 0.0 s$"),
        (signal.SIGRTMIN + 3, "^ERROR worker process {} .pid {}. died: signal 37; starting it anew in 0.0 s$"),
    ],
)
def test_one_that_ends_is_told_in_a_line_and_started_anew(parent: Start, number: int, line: str) -> None:
    process = parent(3)
    children = wait_for_runs(process, 3)
    which, pid = children[1]
    os.kill(pid, number)
    after = wait_for_runs(process, 4)
    assert after[3][0] == which
    process.terminate()
    assert process.wait() == 0
    assert len(found(process, f"({line.format(which, pid)})")) == 1, process
    assert len(found(process, r"^(ERROR|INFO) worker process \d+ \(")) == 1
    assert len(runs(process)) == 4
    traced = found(process, r"^(ERROR worker process \d raised RuntimeError: broken on purpose|Traceback)")
    assert len(traced) == (2 if number == signal.SIGUSR2 else 0)


def test_those_that_die_together_are_all_started_anew(parent: Start) -> None:
    """While the parent cannot look: it gets one SIGCHLD for all of them."""
    process = parent(4)
    children = wait_for_runs(process, 4)
    process.signal(signal.SIGSTOP)
    for _, pid in children:
        os.kill(pid, signal.SIGKILL)
    wait_until_gone(children)
    process.signal(signal.SIGCONT)
    after = wait_for_runs(process, 8)[4:]
    assert sorted(number for number, _ in after) == [1, 2, 3, 4]
    process.terminate()
    assert process.wait() == 0
    assert all(is_gone(pid) for _, pid in after)


def test_when_the_parent_is_killed_all_children_stop(parent: Start) -> None:
    """Also where one was forked after the others."""
    process = parent(3)
    first = wait_for_runs(process, 3)[0]
    os.kill(first[1], signal.SIGKILL)
    children = [child for child in wait_for_runs(process, 4) if child != first]
    process.kill()
    assert process.wait() == -signal.SIGKILL
    wait_until_gone(children)
    assert sorted(found(process, r"^child (\d) ends: (.*)")) == [(f"{n}", "parent gone, asked 0") for n in (1, 2, 3)]


def test_nothing_of_the_parent_stays_open_in_a_child_but_one_end_of_a_pipe(parent: Start) -> None:
    process = parent(3)
    first = wait_for_runs(process, 3)[0]
    os.kill(first[1], signal.SIGKILL)
    wait_for_runs(process, 4)
    process.terminate()
    assert process.wait() == 0
    [(told,)] = found(process, r"^parent files (.*)")
    before = set(json.loads(told).items())
    for (files,) in found(process, r"^child files (.*)"):
        [(_, more)] = set(json.loads(files).items()) - before
        assert more.startswith("pipe:")
        assert before <= set(json.loads(files).items())
    assert found(process, r"^child connection (.*)") == [("None, wake-up -1",)] * 4
    assert found(process, r"^supervise returned (.*)") == [("0, files as before",)]


def test_the_parent_sleeps_while_nothing_happens(parent: Start) -> None:
    process = parent(1)
    wait_for_ticks(process, 1)
    before = worked(process.pid)
    wait_for_ticks(process, 4)
    assert_slept(before, worked(process.pid))


def test_the_parent_sleeps_while_a_child_takes_its_time_to_stop(parent: Start) -> None:
    """Also where another's pause is over meanwhile."""
    process = parent(2, "breaks_beside_a_stubborn_one", PAUSE="0.2")
    wait_for_runs(process, 1)
    process.wait_for_line(r"^ERROR worker process 2 .* in 0\.2 s$")
    process.terminate()
    process.wait_for_line("is asked$")
    wait_for_ticks(process, 2)
    before = worked(process.pid)
    wait_for_ticks(process, 4)
    assert_slept(before, worked(process.pid))
    process.terminate()
    assert process.wait() == 1


def assert_slept(before: tuple[int, int], after: tuple[int, int]) -> None:
    assert after[0] - before[0] <= 2, "it woke up"
    assert after[1] - before[1] <= 20, "it used a processor"  # of some hundred


def test_a_broken_project_is_given_up_after_growing_pauses(parent: Start) -> None:
    process = parent(2, "breaks")
    assert process.wait(60) == 1
    process.wait_for_line("^ERROR every worker process ended within 1 s of its start, 5 times in a row; giving up$")
    for number in (1, 2):
        paused = found(process, rf"^ERROR worker process {number} .* died: exit code 3; .* in (.*) s$")
        assert [pause for (pause,) in paused[:5]] == ["0.0", "0.1", "0.2", "0.5", "1.0"]
        broke = [float(at) for (at,) in found(process, rf"^child {number} broke at (.*)")]
        for earlier, later, (pause,) in zip(broke, broke[1:], paused, strict=False):
            assert later - earlier >= float(pause), "never before the pause is over"


def test_it_is_not_given_up_while_one_child_runs(parent: Start) -> None:
    process = parent(2, "breaks_beside_another")
    process.wait_for_line(r"^ERROR worker process 2 .* in 2\.0 s$")  # its sixth
    process.terminate()
    assert process.wait() == 0
    assert len(runs(process)) == 1


def test_a_stop_does_not_wait_for_a_pause(parent: Start) -> None:
    process = parent(2, "breaks_beside_another", PAUSE="600")
    process.wait_for_line(r"^ERROR worker process 2 .* in 600\.0 s$")
    wait_for_runs(process, 1)
    process.terminate()
    assert process.wait() == 0
    assert len(found(process, "^child 2 (broke)")) == 1
