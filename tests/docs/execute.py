"""Run a page's Python blocks, in order, in one namespace, as a person would in ``manage.py shell``.

Started in a project's folder with the blocks as JSON on stdin. After a statement may stand ``# -> value``, on its
last line or the next: its repr (or ``ErrorName: sentence``, for one that raises) must be that. Comment lines that
are indented by four go on with it. Top-level ``await`` works.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import re
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import django

_SAYS, _THEN_SAYS = re.compile(r"  # -> (.*)$"), re.compile(r"^# -> (.*)$")
_GOES_ON = re.compile(r"^ *# {4,}(\S.*)$")


def main() -> None:
    sys.path.insert(0, os.getcwd())  # noqa: PTH109  as manage.py has it
    os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
    django.setup()
    namespace: dict[str, Any] = {"__name__": "__console__"}
    with asyncio.Runner() as runner:
        for block in json.load(sys.stdin):
            if "channels1" in block["words"]:
                _with_channels_1()
            for statement, expected in _statements(block["text"]):
                _run(runner, namespace, statement, expected, block)


def _statements(source: str) -> Iterator[tuple[ast.stmt, str | None]]:
    lines = source.splitlines()
    tree = compile(source, "block", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for statement in tree.body:
        end = statement.end_lineno or 0
        here, below = _SAYS.search(lines[end - 1]), _THEN_SAYS.match("".join(lines[end : end + 1]))
        if here:
            yield statement, _joined(here[1], lines[end:])
        elif below:
            yield statement, _joined(below[1], lines[end + 1 :])
        else:
            yield statement, None


def _joined(first: str, following: list[str]) -> str:
    words = [first]
    for line in following:
        more = _GOES_ON.match(line)
        if not more:
            break
        words.append(more[1])
    return " ".join(words)


def _run(
    runner: asyncio.Runner,
    namespace: dict[str, Any],
    statement: ast.stmt,
    expected: str | None,
    block: dict[str, Any],
) -> None:
    ast.increment_lineno(statement, block["line"] - 1)
    where = f"{block['page']}:{statement.lineno}"
    node: ast.Expression | ast.Module = ast.Module([statement], [])
    if expected is not None and isinstance(statement, ast.Expr):
        node = ast.Expression(statement.value)
    mode = "eval" if isinstance(node, ast.Expression) else "exec"
    code = compile(node, block["page"], mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    try:
        value = eval(code, namespace)
        if code.co_flags & inspect.CO_COROUTINE:
            value = runner.run(_awaited(value))
        came = repr(value)
    except Exception as error:
        if expected is None:
            raise
        came = f"{type(error).__name__}: {error}"
    if expected is not None and came != expected:
        sys.exit(f"{where}: the page says\n    {expected}\nand what came is\n    {came}")


async def _awaited(value: Any) -> Any:
    return await value


def _with_channels_1() -> None:
    """Give `channels` the one name of Channels 1 that a page quotes; what is sent must still be understood."""
    import channels

    from delayserver.message import parse

    def send(wire: dict[str, Any]) -> None:
        parse({**wire, "content": {"type": "channels1", **wire["content"]}})

    channels.Channel = lambda name: SimpleNamespace(name=name, send=send)


main()
