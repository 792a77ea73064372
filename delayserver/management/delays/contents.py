"""What is in a message, for a person and for a program: the type of one in a list, and all of it."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import msgpack

from delayserver.content import MAX_DEPTH, unpack
from delayserver.errors import DelayServerError

from .terminal import CUT, printable

Unseal = Callable[[bytes], bytes]

SHOWN_CHARACTERS = 500
ENCRYPTED = "encrypted"  # by a layer's keys, and not to be read with those it has now


class Unreadable(DelayServerError):
    """The bytes of a message are no content; says what they are."""


def content_of(body: bytes, unseal: Unseal) -> object:
    """What was packed into `body`; `Unreadable` where nothing was that we can read."""
    try:
        plain = unseal(body)
    except Exception:  # noqa: BLE001  each layer's own
        raise Unreadable(ENCRYPTED) from None
    try:
        return unpack(plain)
    except Exception as error:  # noqa: BLE001  a raw writer can put anything there
        raise Unreadable(f"not msgpack ({type(error).__name__})") from None


def type_of(body: bytes, unseal: Unseal) -> str | None:
    """The type of the message that begins with these bytes; None where they do not tell it."""
    try:
        plain = unseal(body)
    except Exception:  # noqa: BLE001  each layer's own
        return ENCRYPTED
    unpacker = msgpack.Unpacker()
    unpacker.feed(plain)
    try:
        for _ in range(unpacker.read_map_header()):
            if unpacker.unpack() == "type":
                value = unpacker.unpack()
                return value if isinstance(value, str) else None
            unpacker.skip()
    except Exception:  # noqa: BLE001  cut short, or put there by a raw writer
        return None
    return None


# -- for a program -----------------------------------------------------------------------------------------


def jsonable(value: object, depth: int = 0) -> object:
    """The value with what JSON lacks as ``{"__bytes__": base64}`` and ``{"__float__": "nan"}``."""
    if depth > MAX_DEPTH:  # a raw writer can put anything there
        return CUT
    match value:
        case dict():
            return {str(name): jsonable(item, depth + 1) for name, item in value.items()}
        case list():
            return [jsonable(item, depth + 1) for item in value]
        case bytes():
            return {"__bytes__": base64.b64encode(value).decode()}
        case float() if not math.isfinite(value):
            return {"__float__": str(value)}
        case None | bool() | int() | float() | str():
            return value
    return repr(value)


# -- for a person ------------------------------------------------------------------------------------------


def shown(value: object, most: int | None = SHOWN_CHARACTERS) -> tuple[str, bool]:
    """The value as indented text, `most` characters of it, and whether that is all. Bytes stand as Python has them."""
    text: list[str] = []
    left = most
    for piece in _pieces(value):
        if left is not None:
            if len(piece) > left:
                return "".join([*text, piece[:left], CUT]), False
            left -= len(piece)
        text.append(piece)
    return "".join(text), True


def _pieces(value: object, indent: str = "", depth: int = 0) -> Iterator[str]:
    if depth > MAX_DEPTH:
        yield CUT
    elif isinstance(value, dict) and value:
        yield from _items("{}", ((f"{_text(name)}: ", item) for name, item in value.items()), indent, depth)
    elif isinstance(value, list) and value:
        yield from _items("[]", (("", item) for item in value), indent, depth)
    else:
        yield _text(value)


def _items(brackets: str, items: Iterator[tuple[str, Any]], indent: str, depth: int) -> Iterator[str]:
    inner, comma = f"{indent}  ", ""
    yield brackets[0]
    for name, item in items:
        yield f"{comma}\n{inner}{name}"
        yield from _pieces(item, inner, depth + 1)
        comma = ","
    yield f"\n{indent}{brackets[1]}"


def _text(value: object) -> str:
    match value:
        case None | bool() | int() | float() | str() | dict() | list():
            return printable(json.dumps(value, ensure_ascii=False))
    return printable(repr(value))
