"""A message as a member of the sorted set, and a dead letter as one of the other; the layout: ``lua/messages.lua``."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import msgpack

from ..message import (
    MAX_DEAD_BYTES,
    DeadLetter,
    Target,
    Waiting,
    new_id,
    pack_options,
    unpack_options,
)
from .shelf import SLOT_MS, Listed, Spot

GROUP, KEY, OPTIONS = 1, 2, 4  # flags
FRACTIONS = 1024  # of a millisecond: a double still holds them in the year 2248


def score(generation: int) -> str:
    """The score of a claimed message, to the last digit."""
    return repr(generation / FRACTIONS)


def pack_id(id: str) -> bytes:
    """Ids of our own making take 17 bytes, any other its length and itself."""
    if len(id) == 32:
        try:
            raw = bytes.fromhex(id)
        except ValueError:
            pass
        else:
            if raw.hex() == id:
                return b"\0" + raw
    text = id.encode()
    if not 0 < len(text) < 256:
        raise ValueError(f"expected an id of 1 to 255 bytes, got {len(text)}")
    return bytes([len(text)]) + text


def unpack_id(raw: bytes) -> str:
    return raw[1:].hex() if raw[0] == 0 else raw[1:].decode()


def pack(message: Waiting) -> bytes:
    """A message as its member, the same from put to finish: what changes stands beside it."""
    name, key = message.target.name.encode(), (message.key or "").encode()
    options = b""
    if message.expires is not None or message.retry is not None or message.occurrence is not None:
        options = pack_options(replace(message, attempt=0))
    flags = GROUP * (message.target.kind == "group") | KEY * (message.key is not None) | OPTIONS * bool(options)
    parts = [pack_id(message.id), bytes([flags, len(name)]), name]
    if flags & KEY:
        parts += [len(key).to_bytes(2, "big"), key]
    if flags & OPTIONS:
        parts += [len(options).to_bytes(2, "big"), options]
    return b"".join((*parts, message.body))


def unpack(member: bytes, due: int, attempt: int) -> Waiting:
    """The message of a member; any exception where the bytes are none."""
    length = member[0]
    at = 17 if length == 0 else length + 1
    id = member[1:at].hex() if length == 0 else member[1:at].decode()
    flags, length = member[at], member[at + 1]
    name, at = member[at + 2 : at + 2 + length].decode(), at + 2 + length
    options: dict[str, Any] = {}
    if flags & KEY:
        length = int.from_bytes(member[at : at + 2], "big")
        options["key"], at = member[at + 2 : at + 2 + length].decode(), at + 2 + length
    if flags & OPTIONS:
        length = int.from_bytes(member[at : at + 2], "big")
        options, at = unpack_options(member[at + 2 : at + 2 + length]), at + 2 + length
    options["attempt"] = attempt
    target = Target("group" if flags & GROUP else "channel", name)
    message = Waiting(id, due, target, member[at:], **options)
    if pack(message) != member:  # then no finishing verb would find it again
        raise ValueError("bytes that are no message of ours")
    return message


def is_plain(message: Waiting, member: bytes) -> bool:
    """Whether nothing stands beside it: no key, no attempt spent, and due when its id says."""
    return message.key is None and not message.attempt and member[:7] == b"\0" + message.due.to_bytes(6, "big")


def put_args(message: Waiting) -> tuple[int, bytes, str, int, bytes]:
    """What ``put.lua`` and ``take_in.lua`` take of each message."""
    keyed = "" if message.key is None else message.on_conflict[0] + message.key
    return message.due, pack_id(message.id), keyed, message.attempt, pack(message)


def listed(score: bytes, member: bytes, size: int, attempt: bytes) -> Listed:
    """What ``look.lua`` shows of a message."""
    at = float(score)
    message = unpack(member, math.ceil(at) % SLOT_MS, int(attempt))
    return Listed(message, size, not at.is_integer(), Spot(at, pack_id(message.id).hex()))


def junk_letter(member: bytes, at: int, error: Exception) -> DeadLetter:
    """The dead letter of a member that is no message."""
    reason = f"expected a message in the store's layout, got bytes that are none ({type(error).__name__})"
    return DeadLetter(new_id(at), at, reason, "the store", member[:MAX_DEAD_BYTES])


def pack_letter(letter: DeadLetter) -> bytes:
    """What is told of it, and then the whole message, or the bytes that were none."""
    told = [letter.id, letter.at, letter.reason, letter.source, letter.message is not None]
    return bytes(msgpack.packb(told)) + (letter.body if letter.message is None else pack(letter.message))


def unpack_letter(raw: bytes, id: str, at: int) -> DeadLetter:
    """The dead letter in these bytes; of bytes that are none, one that says so."""
    try:
        return _unpack_letter(raw)
    except Exception as error:  # noqa: BLE001  a raw writer can put anything there
        reason = f"expected a dead letter in the store's layout, got bytes that are none ({type(error).__name__})"
        return DeadLetter(id, at, reason, "the store", raw[:MAX_DEAD_BYTES])


def _unpack_letter(raw: bytes) -> DeadLetter:
    unpacker = msgpack.Unpacker()
    unpacker.feed(raw)
    id, at, reason, source, whole = unpacker.unpack()
    body = raw[unpacker.tell() :]
    if not whole:
        return DeadLetter(id, at, reason, source, body)
    message = unpack(body, at, 0)
    return DeadLetter(id, at, reason, source, message.body, message)


def letter_args(letter: DeadLetter) -> tuple[int, str, bytes]:
    """What ``bury.lua`` takes of each."""
    return letter.at, letter.id, pack_letter(letter)
