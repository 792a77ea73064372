"""The fenced blocks of a Markdown page, in order, with what the comment before each says about it.

A comment ``<!-- test: ... -->`` on the line before a fence says how the block is run. Words in it are parted
by commas; ``name=value`` gives a word a value. `runner.py` says what each word means.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>[\w-]*)[^`]*$")
_COMMENT = re.compile(r"^ *<!-- test: (?P<words>.+?) -->$")


@dataclass(frozen=True)
class Block:
    """One fenced block: `line` is that of its first line of text, `words` what its comment says."""

    page: Path
    line: int
    language: str
    text: str
    words: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line} ({self.language or 'no language'})"

    @property
    def lines(self) -> list[str]:
        """Lines that say something: no blank ones, and none that is only a shell comment."""
        return [line for line in self.text.splitlines() if line.strip() and not line.startswith("# ")]


def blocks_of(page: Path) -> list[Block]:
    return list(_blocks(page, page.read_text().splitlines()))


def _blocks(page: Path, lines: list[str]) -> Iterator[Block]:
    words: dict[str, str] = {}
    numbered = iter(enumerate(lines, start=1))
    for number, line in numbered:
        comment, fence = _COMMENT.match(line), _FENCE.match(line)
        if comment:
            words = _words(comment["words"])
        elif fence:
            body = []
            for _, inner in numbered:
                if inner.strip() == fence["ticks"]:
                    break
                body.append(inner)
            else:
                raise ValueError(f"{page}:{number}: the block is never closed")
            yield Block(page, number + 1, fence["language"], textwrap.dedent("\n".join(body)) + "\n", words)
            words = {}
        elif line.strip() and words:
            raise ValueError(f"{page}:{number}: a test comment stands before something that is no block")


def _words(text: str) -> dict[str, str]:
    pairs = (word.strip().partition("=") for word in text.split(","))
    return {name: value for name, _, value in pairs}


def table_rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of the first table under `heading` (without its head), as Markdown."""
    text = page.read_text()
    section = text[text.index(f"{heading}\n") :]
    rows = []
    for line in section.splitlines()[1:]:
        if line.startswith("|"):
            rows.append([cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows or line.startswith("#"):
            break
    return rows[2:]
