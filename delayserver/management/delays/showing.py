"""``delays show``: one message that waits, or one dead letter, with what is in it."""

from __future__ import annotations

from collections.abc import Mapping

from delayserver.backoff import Retry
from delayserver.errors import StoreUnavailable
from delayserver.message import DeadLetter, Waiting
from delayserver.stores.base import Named

from . import terminal
from .contents import Unreadable, content_of, jsonable, shown
from .desk import USAGE, Desk
from .listing import Options, addressed, identity, named_by
from .terminal import counted, local, number, relative, span


def show(desk: Desk, options: Options) -> None:
    """One message that waits, or one dead letter."""
    named, *others = named_by(desk, options)
    if others:
        desk.refuse("expected one ID, got several", USAGE)
    message, letter = desk.ask(_sought, desk, named)
    if message is not None:
        _show_waiting(desk, message, options["full"])
    elif letter is not None:
        _show_dead(desk, letter, options["full"])
    elif named.id is None:
        desk.refuse(f"no message waits under the key {named.key}")
    else:
        desk.refuse(f"no message {named.id} waits (it may be claimed, or gone), and no dead letter has that id")


async def _sought(desk: Desk, named: Named) -> tuple[Waiting | None, DeadLetter | None]:
    """The message, or else the dead letter; that one of them may be where a store is away hides not the other."""
    try:
        found = await desk.shelves.find(named)
    except StoreUnavailable:
        if named.id is None:
            raise
        found = None
    if found is not None or named.id is None:
        return found and found[1], None
    return None, (await desk.shelves.find_dead([named.id])).get(named.id)


def _show_waiting(desk: Desk, message: Waiting, full: bool) -> None:
    retry = message.retry.to_wire() if message.retry else None
    size = {"size": len(message.body), "retry": retry}
    desk.tell(message={**identity(desk, message), **size, **_content(desk, message.body)})
    _say_fields(
        desk,
        {
            "id": message.id,
            message.target.kind: message.target.name,
            "key": message.key,
            "due": _when(desk, message.due),
            "expires": message.expires and _when(desk, message.expires),
            "retry": message.retry and _retry(message.retry),
            "attempts": message.attempt and f"{number(message.attempt)} spent",
            "size": terminal.size(len(message.body)),
        },
    )
    _say_content(desk, message.body, full)


def _show_dead(desk: Desk, letter: DeadLetter, full: bool) -> None:
    message = letter.message
    body = _content(desk, letter.body) if message else {"content": jsonable(letter.body), "unreadable": "no message"}
    desk.tell(dead_letter={**letter_told(desk, letter), "size": len(letter.body), **body})
    _say_fields(
        desk,
        {
            "dead letter": letter.id,
            "died": _when(desk, letter.at),
            "reason": letter.reason,
            "source": None if message else letter.source,
            message.target.kind if message else "": message and message.target.name,
            "key": message and message.key,
            "retry": message and message.retry and _retry(message.retry),
            "size": terminal.size(len(letter.body)),
        },
    )
    if message:
        _say_content(desk, letter.body, full)
    else:
        _say_value(desk, "body", letter.body, full)


def letter_told(desk: Desk, letter: DeadLetter) -> dict[str, object]:
    """A dead letter, for a program."""
    return {
        "id": letter.id,
        "died": terminal.iso(letter.at),
        "died_ms": letter.at,
        "reason": letter.reason,
        "source": letter.source,
        "is_message": letter.message is not None,
        **addressed(desk, letter.message),
    }


def _when(desk: Desk, at: int) -> str:
    return f"{relative(at, desk.now)} ({local(at)})"


def _retry(retry: Retry) -> str:
    wire = retry.to_wire()
    given_up = f"; given up on {', '.join(map(str, retry.give_up_on))}" if retry.give_up_on else ""
    return (
        f"until acked, at most {counted(retry.max_attempts, 'attempt')}, {span(int(wire['backoff']))} apart at first,"
        f" {span(int(wire['max_wait']))} at last; ack within {span(retry.ack_timeout_ms)}{given_up}"
    )


def _say_fields(desk: Desk, fields: Mapping[str, object]) -> None:
    told = {name: str(value) for name, value in fields.items() if value}
    width = max(map(len, told))
    for name, value in told.items():
        desk.say(f"{name:{width}}  {terminal.printable(value)}")


def _content(desk: Desk, body: bytes) -> dict[str, object]:
    try:
        return {"content": jsonable(content_of(body, desk.unseal)), "unreadable": None}
    except Unreadable as error:
        return {"content": jsonable(body), "unreadable": str(error)}


def _say_content(desk: Desk, body: bytes, full: bool) -> None:
    try:
        _say_value(desk, "content", content_of(body, desk.unseal), full)
    except Unreadable as error:
        _say_value(desk, f"content, {error}", body, full)


def _say_value(desk: Desk, name: str, value: object, full: bool) -> None:
    text, whole = shown(value, None) if full else shown(value)
    desk.say(f"{name}\n{text}" if whole else f"{name}, the beginning (all of it: --full)\n{text}")
