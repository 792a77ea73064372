"""The content of a message: what it may hold, and the bytes it lies in.

Content keeps its types exactly, in every store and on the way back, or is refused: what msgpack or a layer would change
(tuples, subclasses, dates) never gets in. Whatever is handed in, the work is bounded by the size limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgpack

from .errors import InvalidMessage

MAX_DEPTH = 100  # below what msgpack (511), json and copy.deepcopy (about 300) can follow
RESERVED_KEYS = frozenset({"__asgi_channel__", "__delay__"})

Content = dict[str, Any]


def shown(value: object) -> str:
    """A value for an error's sentence: short, escaped, and never more than a glance into it."""
    match value:
        case str() | bytes():
            return repr(value[:60]) + ("..." if len(value) > 60 else "")
        case bool() | None | float():
            return repr(value)
        case int() if value.bit_length() > 64:
            return f"an int of {value.bit_length()} bits"
        case int():
            return repr(int(value))
        case timedelta() | datetime():
            return repr(value)
    return f"a value of type {type(value).__name__}"


def check_envelope(content: object) -> None:
    """What any message on a layer needs: a dict, with a `type`, without reserved keys."""
    if type(content) is not dict:
        raise InvalidMessage(f"expected content to be a dict, got {shown(content)}")
    reserved = RESERVED_KEYS & content.keys()
    if reserved:
        raise InvalidMessage(f"expected content without the reserved key {min(reserved)}")
    type_ = content.get("type")
    if type(type_) is not str or not type_ or type_[0] in "._":
        raise InvalidMessage(
            "expected content to have a type: a str that names a handler and does not start with a period or"
            f" an underscore, got {shown(type_) if 'type' in content else 'none'}"
        )


def pack(content: Content, max_bytes: int) -> bytes:
    """Content to msgpack, types kept exactly; `InvalidMessage` names the key at fault.

    Allowed are None, bool, int of 64 bits, float, str, bytes, list, and dict with str keys, nested at most
    `MAX_DEPTH` deep. What msgpack or a layer would change on the way (tuples, subclasses, dates) is refused.
    """
    _check_types(content, max_bytes)
    try:
        body: bytes = msgpack.packb(content, strict_types=True)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:  # a lone surrogate, say
        raise InvalidMessage(
            f"expected content that msgpack can hold: {type(error).__name__} ({_plain(error)})"
        ) from None
    if len(body) > max_bytes:
        raise InvalidMessage(f"expected content of at most {max_bytes} bytes (MAX_MESSAGE_BYTES), got {len(body)}")
    return body


def unpack(body: bytes) -> Any:
    return msgpack.unpackb(body)


def _check_types(content: Content, max_bytes: int) -> None:
    """Walk the content, no further than `max_bytes` could hold, and refuse what would not arrive as sent."""
    if _is_plain(content, max_bytes):
        return
    size = 0
    for path, name, value in _walk(content):
        size += 1 + (len(name) if type(name) is str else 0)
        kind = type(value)
        if kind is str or kind is bytes:
            size += len(value)
        elif kind is int:
            if not -(1 << 63) <= value < 1 << 64:
                raise InvalidMessage(f"expected content{_path(path, name)} to fit 64 bits, got {shown(value)}")
        elif not (value is None or kind is bool or kind is float or kind is dict or kind is list):
            hint = " (use a list)" if kind is tuple else ""
            raise InvalidMessage(
                f"expected content{_path(path, name)} to be None, bool, int, float, str, bytes, list or dict,"
                f" got {shown(value)}{hint}"
            )
        if size > max_bytes:
            raise InvalidMessage(f"expected content of at most {max_bytes} bytes (MAX_MESSAGE_BYTES), got more")


def _is_plain(content: Content, max_bytes: int) -> bool:
    """Whether it is flat and without fault: most often it is, and this is told in half the time."""
    size = 0
    for name, value in content.items():
        if type(name) is not str:
            return False
        size += 1 + len(name)
        kind = type(value)
        if kind is str or kind is bytes:
            size += len(value)
        elif kind is int:
            if not -(1 << 63) <= value < 1 << 64:
                return False
        elif not (kind is float or kind is bool or value is None):
            return False
        if size > max_bytes:
            return False
    return True


def _walk(content: Content) -> Iterator[tuple[list[str | int], str | int, Any]]:
    """Each value in the content, in order, with its name and the path to what holds it; in memory for the depth."""
    path: list[str | int] = []
    holders = [_items(content, path)]
    while holders:
        for name, value in holders[-1]:
            yield path, name, value
            if type(value) is dict or type(value) is list:
                if len(holders) >= MAX_DEPTH:
                    raise InvalidMessage(f"expected content nested at most {MAX_DEPTH} deep, got more")
                if value:
                    path.append(name)
                    holders.append(_items(value, path))
                    break
        else:
            holders.pop()
            del path[-1:]


def _items(holder: dict[Any, Any] | list[Any], path: list[str | int]) -> Iterator[tuple[str | int, Any]]:
    if type(holder) is list:
        yield from enumerate(holder)
    elif type(holder) is dict:
        for name, value in holder.items():
            if type(name) is not str:
                raise InvalidMessage(f"expected the keys of content{_path(path)} to be str, got {shown(name)}")
            yield name, value


def _path(path: Sequence[str | int], *names: str | int) -> str:
    path = [*path[:9], *names]
    return "".join(f"[{shown(step)}]" for step in path[:8]) + ("..." if len(path) > 8 else "")


def _plain(error: Exception) -> str:
    """The error's sentence without the payload that some of them quote."""
    return getattr(error, "reason", None) or str(error)[:80]
