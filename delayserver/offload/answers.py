"""What comes back: the answer on the wire, and what a caller makes of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from ..content import Content, shown
from ..errors import OffloadFailed, OffloadRefused, OffloadTimeout

Failure = Literal["failed", "timeout", "refused"]
ERRORS: dict[str, type[OffloadFailed]] = {
    "failed": OffloadFailed,
    "timeout": OffloadTimeout,
    "refused": OffloadRefused,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer of an offload that was done. `id` is that of the offload; one that failed raises instead."""

    id: str
    ok: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReply(Reply):
    """What a server answered, of whatever `status`; `url` is the last one, after redirects.

    `headers` are pairs in their order, names in lower case. `body` is not compressed any more.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    url: str

    @property
    def text(self) -> str:
        """The body as UTF-8; what is none is replaced."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON; `ValueError` where it is none."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReply(Reply):
    """What a function returned."""

    result: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandReply(Reply):
    """How a command ended, whatever its `returncode` (-9: by SIGKILL), and what it wrote."""

    returncode: int
    stdout: bytes
    stderr: bytes


def done(id: str, fields: Content) -> Content:
    """The answer of an offload that was done."""
    return {"type": "offload.reply", "id": id, "ok": True, **fields}


def failure(id: str, error: OffloadFailed) -> Content:
    """The answer of one that was not."""
    kind = next(name for name, error_type in reversed(ERRORS.items()) if isinstance(error, error_type))
    return {"type": "offload.reply", "id": id, "ok": False, "failure": kind, "error": str(error)}


def read_reply(message: Content) -> Reply:
    """An ``offload.reply`` message as a value; raises the `OffloadFailed` that it tells of."""
    try:
        if message["ok"] is not True:
            raise ERRORS.get(message["failure"], OffloadFailed)(str(message["error"]))
        return _read_done(message)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, OffloadFailed):
            raise
        raise OffloadFailed(f"expected an offload.reply, got {shown(message)} ({type(error).__name__})") from None


def _read_done(message: Content) -> Reply:
    id = message["id"]
    if "status" in message:
        headers = [(str(name), str(value)) for name, value in message["headers"]]
        return RequestReply(id=id, status=message["status"], headers=headers, body=message["body"], url=message["url"])
    if "returncode" in message:
        code, stdout, stderr = message["returncode"], message["stdout"], message["stderr"]
        return CommandReply(id=id, returncode=code, stdout=stdout, stderr=stderr)
    return CallReply(id=id, result=message["result"])
