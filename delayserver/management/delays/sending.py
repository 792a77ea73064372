"""``delays send``: a message by hand."""

from __future__ import annotations

import json
import sys
from typing import Any

from delayserver import group_send_later, send_later
from delayserver.content import shown

from . import terminal
from .desk import USAGE, Desk
from .listing import Options
from .terminal import local, relative


def send(desk: Desk, options: Options) -> None:
    """Nowhere -> waiting."""
    group, words = options["group"], list(options["words"])
    wanted = (group is None) + (options["type"] is None)
    if len(words) != wanted:
        names = [name for name, is_given in (("CHANNEL", group), ("CONTENT", options["type"])) if is_given is None]
        desk.refuse(f"expected {' and '.join(names) or 'no more words'}, got {len(words)} words", USAGE)
    target = words.pop(0) if group is None else group
    content: Any = parsed(desk, "CONTENT", words[0]) if options["type"] is None else {"type": options["type"]}
    later = send_later if group is None else group_send_later
    receipt = later(target, content, **_how(desk, options))
    desk.tell(id=receipt.id, due=terminal.iso(receipt.due), due_ms=receipt.due, created=receipt.created)
    done = "Stored" if receipt.created else "Kept what waits under that key"
    desk.say(f"{done}: {receipt.id}, due {relative(receipt.due, desk.now, 'now')} ({local(receipt.due)})")


def parsed(desk: Desk, name: str, text: str) -> object:
    """JSON from the command line, or from stdin."""
    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except (ValueError, RecursionError) as error:
        desk.refuse(f"expected {name} to be JSON, got {shown(text)} ({error})", USAGE)


def _how(desk: Desk, options: Options) -> Any:
    """The keywords of `send_later`, those that were given."""
    how = {name: options[name] for name in ("eta", "key", "on_conflict") if options[name] is not None}
    if "eta" not in how:
        how["delay"] = options["delay"] or 0
    if options["expires"] is not None:
        how["expires"] = options["expires"].as_option()
    return how
