"""A function and a program, done: what they give, what they are kept from, and how they end."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from delayserver.errors import OffloadFailed
from delayserver.offload.asked import Call, Command
from delayserver.offload.calls import run_call
from delayserver.offload.commands import run_command
from delayserver.offload_settings import OffloadSettings

from ..support.wait import await_for
from . import functions
from .functions import HERE


async def call(allowed: OffloadSettings, name: str, *args: Any, **kwargs: Any) -> Any:
    path = name if "." in name else f"{HERE}.{name}"
    return (await run_call(Call(path=path, args=list(args), kwargs=kwargs), allowed))["result"]


async def test_an_async_function_is_awaited(allowed: OffloadSettings) -> None:
    assert await call(allowed, "double", 21) == 42
    assert await call(allowed, "double", 21, times=3) == 63


async def test_several_may_come_while_the_module_is_imported(
    allowed: OffloadSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time; time.sleep(0.2)\ndef one(): return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    calls = [asyncio.create_task(call(allowed, "slow_to_import.one"))]
    await await_for(lambda: "slow_to_import" in sys.modules, 5, "the import to begin")
    calls += [asyncio.create_task(call(allowed, "slow_to_import.one")) for _ in range(3)]
    assert await asyncio.gather(*calls) == [1, 1, 1, 1]


async def test_any_other_runs_in_a_thread_of_its_own_kind(allowed: OffloadSettings) -> None:
    assert (await call(allowed, "thread_name")).startswith("delayserver offload")


@pytest.mark.django_db(transaction=True)
async def test_it_may_ask_the_database(allowed: OffloadSettings) -> None:
    assert await call(allowed, "query") == [5]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("fail", "functions.fail raised ValueError$"),
        ("own_timeout", "functions.own_timeout raised TimeoutError$"),
        ("exits", "functions.exits raised SystemExit$"),
        ("exits_in_thread", "functions.exits_in_thread raised SystemExit$"),
        ("cancels", "functions.cancels raised CancelledError$"),
        ("stops", "functions.stops raised RuntimeError$"),
        ("no_such_name", r"functions.no_such_name cannot be imported where the worker runs \(AttributeError\)$"),
        ("NO_FUNCTION", "is no function$"),
        ("nowhere.at.all", r"nowhere.at.all cannot be imported where the worker runs \(ModuleNotFoundError\)$"),
    ],
)
async def test_a_call_that_fails_says_which_class_of_error_and_no_more(
    allowed: OffloadSettings, name: str, sentence: str
) -> None:
    with pytest.raises(OffloadFailed, match=sentence):
        await call(allowed, name)


async def test_the_log_has_what_a_function_raised(allowed: OffloadSettings, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(OffloadFailed):
        await call(allowed, "fail")
    [record] = caplog.records
    assert vars(record)["event"] == "offload_raised"
    assert record.exc_info is not None


async def test_a_call_in_a_thread_can_be_given_up(allowed: OffloadSettings) -> None:
    functions.RELEASE.clear()
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await call(allowed, "wait")
        assert not functions.RELEASE.is_set()
    finally:
        functions.RELEASE.set()


# -- commands -------------------------------------------------------------------------------------------------------


async def run(allowed: OffloadSettings, name: str, *args: str, input: bytes | None = None) -> dict[str, Any]:
    return await run_command(Command(name=name, args=list(args), input=input), allowed)


async def test_arguments_are_words_and_not_a_shell_s(allowed: OffloadSettings) -> None:
    words = ["$(id)", "; ls", "a b", "`id`", "*", "--help", "ü", ""]
    ended = await run(allowed, "echo", *words)
    assert ended == {"returncode": 0, "stdout": f"-- {' '.join(words)}\n".encode(), "stderr": b""}


async def test_what_it_reads_and_writes_and_how_it_ends(allowed: OffloadSettings) -> None:
    big = os.urandom(300_000)
    assert (await run(allowed, "cat", input=big))["stdout"] == big
    assert (await run(allowed, "cat"))["stdout"] == b""
    ended = await run(allowed, "python", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    assert ended == {"returncode": 3, "stdout": b"out\n", "stderr": b"err\n"}
    killed = await run(allowed, "python", "import os; os.kill(os.getpid(), 9)")
    assert killed["returncode"] == -9
    deaf = await run(allowed, "python", "pass", input=big)
    assert deaf["returncode"] == 0


async def test_its_environment_is_clean(allowed: OffloadSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2")
    told = (await run(allowed, "env"))["stdout"].decode().split()
    assert {line.partition("=")[0] for line in told} == {"PATH", "LANG"}


async def test_one_that_cannot_be_started_is_a_failure(allowed: OffloadSettings) -> None:
    with pytest.raises(OffloadFailed, match=r"missing could not be started \(FileNotFoundError\)"):
        await run(allowed, "missing")


async def test_one_that_writes_too_much_is_killed(allowed: OffloadSettings) -> None:
    with pytest.raises(OffloadFailed, match=r"wrote more than DELAYSERVER\['OFFLOAD'\]\['MAX_REPLY_BYTES'\]"):
        await run(allowed, "sh", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done")


async def test_one_that_is_given_up_ends_with_all_that_it_started(allowed: OffloadSettings, tmp_path: Path) -> None:
    told = tmp_path / "pids"
    running = asyncio.create_task(run(allowed, "sh", f"sleep 1000 & echo $$ $! > {told}; wait"))
    await await_for(lambda: told.exists() and len(told.read_text().split()) == 2, 10, "a command that has started")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    for pid in map(int, told.read_text().split()):
        await await_for(functools.partial(_has_ended, pid), 10, f"the end of {pid}")


async def test_one_that_is_given_up_while_it_starts_ends_too(allowed: OffloadSettings, tmp_path: Path) -> None:
    """Wherever in its start that is."""
    told = tmp_path / "pids"
    for turns in range(12):
        running = asyncio.create_task(run(allowed, "sh", f"sleep 1000 & echo $$ $! >> {told}; wait"))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    for pid in map(int, told.read_text().split() if told.exists() else ()):
        await await_for(functools.partial(_has_ended, pid), 10, f"the end of {pid}")


async def test_what_it_leaves_behind_ends_with_it(allowed: OffloadSettings) -> None:
    ended = await run(allowed, "sh", "sleep 1000 >/dev/null 2>&1 & echo $!")
    pid = int(ended["stdout"])
    await await_for(functools.partial(_has_ended, pid), 10, "the end of a child that was left behind")


def _has_ended(pid: int) -> bool:
    """Or is a zombie, whose parent has not asked yet."""
    try:
        os.kill(pid, signal.SIG_DFL)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True
