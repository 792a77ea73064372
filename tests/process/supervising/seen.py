"""What a test sees of a parent and its children: their lines, and what the kernel says of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ...support.process import Process
from ...support.wait import wait_for


def found(process: Process, pattern: str) -> list[tuple[str, ...]]:
    """The groups of each line that the pattern is found in, in order."""
    return [match.groups() for line in list(process.lines) if (match := re.search(pattern, line.text))]


def runs(process: Process) -> list[tuple[int, int]]:
    """(number, pid) of each child that has run so far."""
    return [(int(number), int(pid)) for number, pid in found(process, r"^child (\d+) pid (\d+) runs$")]


def wait_for_runs(process: Process, number: int) -> list[tuple[int, int]]:
    wait_for(lambda: len(runs(process)) >= number, 20, f"{number} children that run; {process}")
    return runs(process)


def is_gone(pid: int) -> bool:
    """Ended, whether or not anyone has asked for its exit code."""
    try:
        return (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]) == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until_gone(children: Sequence[tuple[int, int]]) -> None:
    wait_for(lambda: all(is_gone(pid) for _, pid in children), 15, f"the end of {children}")


def wait_for_ticks(process: Process, number: int) -> None:
    """So many more, by which its children count a quarter of a second each."""
    before = len(found(process, "(ticks)$"))
    wait_for(lambda: len(found(process, "(ticks)$")) >= before + number, 20, f"{number} ticks; {process}")


def worked(pid: int) -> tuple[int, int]:
    """How often it has gone to sleep, and for how many hundredths of a second it has used a processor."""
    status = Path(f"/proc/{pid}/status").read_text()
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return int(re.findall(r"^voluntary_ctxt_switches:\s*(\d+)", status, re.MULTILINE)[0]), sum(map(int, used))
