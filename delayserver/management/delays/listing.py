"""``delays list``: what waits, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from delayserver.content import shown
from delayserver.message import Waiting
from delayserver.stores.base import Named
from delayserver.stores.shelf import SLOT_MS, Listed, Page, Wanted

from . import cursor, terminal
from .contents import type_of
from .desk import USAGE, Desk
from .terminal import CUT, Column, counted, relative

Options = Mapping[str, Any]

COLUMNS = (
    Column("DUE"),
    Column("TARGET", least=8),
    Column("TYPE", least=8, optional=True),
    Column("KEY", least=8, optional=True),
    Column("SIZE", right=True, optional=True),
    Column("STATE"),
    Column("ID"),
)
MAX_ID_LENGTH = 200
FILTERS = ("channel", "group", "key", "due_after", "due_before")


def list_(desk: Desk, options: Options) -> None:
    """The next page of what waits."""
    page = _page(desk, options)
    more = page.rest and cursor.written(page.rest)
    desk.tell(now=terminal.iso(desk.now), messages=[_told(desk, one) for one in page.listed], next=more, away=desk.away)
    if page.listed and not desk.as_json:
        desk.table(COLUMNS, [_row(desk, one) for one in page.listed])
    if more:
        desk.say(f"More: the same with --after {more}")
    elif page.listed or options["after"]:
        desk.say(f"{counted(len(page.listed), 'message')}, and no more.")
    else:
        filtered = any(options[name] is not None for name in FILTERS)
        desk.say("No message waits that fits." if filtered else "No message waits.")


def _page(desk: Desk, options: Options) -> Page:
    try:
        return desk.ask(desk.shelves.page, wanted_by(desk, options), options["limit"], options["after"])
    except ValueError:
        if options["after"] is None:
            raise
        desk.refuse("expected --after to be from a list of this store, got that of another", USAGE)


def wanted_by(desk: Desk, options: Options) -> Wanted:
    """The filters; times from now are counted from the stores' now."""
    after, before = options["due_after"], options["due_before"]
    kind: Literal["channel", "group"] | None = None
    if options["channel"] is not None or options["group"] is not None:
        kind = "channel" if options["group"] is None else "group"
    return Wanted(
        kind,
        options[kind] if kind else None,
        options["key"],
        0 if after is None else min(SLOT_MS, max(0, after.at(desk.now))),
        SLOT_MS if before is None else min(SLOT_MS, before.at(desk.now)),
    )


def named_by(desk: Desk, options: Options) -> list[Named]:
    """Those that the caller names: by ids, or by the key."""
    ids, key = options["words"], options["key"]
    if bool(ids) == (key is not None):
        desk.refuse(f"expected an ID or --key, got {'both' if ids else 'neither'}", USAGE)
    return [Named(key=key)] if key is not None else [Named(id) for id in ids_by(desk, options)]


def ids_by(desk: Desk, options: Options) -> list[str]:
    """The ids among the words, each once."""
    ids: list[str] = options["words"]
    for id in ids:
        if not 0 < len(id) <= MAX_ID_LENGTH or not id.isprintable():
            desk.refuse(f"expected an ID of 1 to {MAX_ID_LENGTH} printable characters, got {shown(id)}", USAGE)
    return list(dict.fromkeys(ids))


def _row(desk: Desk, one: Listed) -> list[str]:
    message, spent = one.message, one.message.attempt
    attempts = f", {counted(spent, 'attempt')}" if spent else ""
    return [
        _due(one, desk.now),
        target_of(message),
        type_of(message.body, desk.unseal) or CUT,
        message.key or "",
        terminal.size(one.size),
        _state(one, desk.now).replace("_", " ") + attempts,
        message.id,
    ]


def _due(one: Listed, now: int) -> str:
    """What waits and could have gone out is overdue; what is held back is only waiting for room."""
    if one.held_back or one.message.expired(now) or one.message.due > now - 1_000:
        return relative(one.message.due, now)
    return relative(one.message.due, now, "overdue {}")


def _state(one: Listed, now: int) -> str:
    if one.claimed:
        return "claimed"
    if one.message.expired(now):
        return "expired"
    return "held_back" if one.held_back else "waiting"


def target_of(message: Waiting) -> str:
    return f"{'group ' * (message.target.kind == 'group')}{message.target.name}"


def _told(desk: Desk, one: Listed) -> dict[str, object]:
    return {**identity(desk, one.message), "size": one.size, "state": _state(one, desk.now)}


def identity(desk: Desk, message: Waiting) -> dict[str, object]:
    """A message that waits, for a program: which, where it goes, and when."""
    return {
        "id": message.id,
        **addressed(desk, message),
        "due": terminal.iso(message.due),
        "due_ms": message.due,
        "expires": terminal.iso(message.expires),
        "attempts": message.attempt,
    }


def addressed(desk: Desk, message: Waiting | None) -> dict[str, object]:
    """Where a message goes, for a program."""
    kind, name = (message.target.kind, message.target.name) if message else (None, None)
    return {
        "channel": name if kind == "channel" else None,
        "group": name if kind == "group" else None,
        "type": type_of(message.body, desk.unseal) if message else None,
        "key": message.key if message else None,
    }
