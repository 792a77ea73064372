"""Our docstrings as Markdown, for the API page of the docs (`docs/reference/api.md`).

They are written for a reader of the source: ``name, name`` with an indented sentence below is an item of a list, and a
single pair of backticks is about something of ours. On the page that becomes a definition list, and links.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object, Package

ITEM = re.compile(r"^(?P<names>[a-z_]+(?:, [a-z_]+)*)\n {4}(?P<text>.+\n?(?: {4}.+\n?)*)", re.MULTILINE)
OURS = re.compile(r"(?<!`)`(?P<name>\w+)`(?!`)")
BESIDE = {
    "Options": "delayserver.sending.Options",
    "embedded": "delayserver.embedded.embedded",
    "Delays": "delayserver.testing.Delays",
}


class Docstrings(Extension):
    """What griffe reads from the source, rewritten before anything is made of it."""

    def on_package(self, *, pkg: Package, **_: Any) -> None:
        paths = BESIDE | {str(name): f"delayserver.{name}" for name in pkg.exports or ()}
        _rewrite(pkg, paths)


def _rewrite(one: Object, paths: dict[str, str]) -> None:
    if one.docstring:
        others = {name: path for name, path in paths.items() if name != one.name}
        text = ITEM.sub(_definition, one.docstring.value)
        one.docstring.value = OURS.sub(lambda found: _link(found, others), text)
    for member in one.members.values():
        if isinstance(member, Object):
            _rewrite(member, paths)


def _definition(found: re.Match[str]) -> str:
    names = ", ".join(f"`{name}`" for name in found["names"].split(", "))
    return f"{names}\n:   {found['text']}\n"


def _link(found: re.Match[str], paths: dict[str, str]) -> str:
    path = paths.get(found["name"])
    return f"[{found[0]}][{path}]" if path else found[0]
