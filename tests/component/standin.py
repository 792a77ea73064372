"""A server that speaks the contract of a progress as its test wants it: pages, frames, and their HTTP twin.

/                    a page, under a strict Content-Security-Policy
/static/...          the package's own files, and what a test has put beside them
/ws/progress/TOKEN/  the present frame, then each one sent; refused while `refusing`
/progress/TOKEN/     the present frame, with its version as ETag
"""

from __future__ import annotations

import json
from collections import Counter
from http import HTTPStatus
from mimetypes import guess_type
from pathlib import Path
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ..support.process import ROOT
from ..support.servers import HOST, free_port

STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; require-trusted-types-for 'script'"
)
STATIC = ROOT / "delayserver" / "static"
OVER = ("succeeded", "failed", "timed_out", "cancelled")
PENDING = {"state": "pending", "current": 0, "total": None, "text": "", "result": None, "error": "", "attempt": 1}


class StandIn:
    """A token has a progress from `send` on, and `close` says how its sockets end otherwise."""

    def __init__(self) -> None:
        self.port = free_port()
        self.pages: dict[str, str] = {}
        self.files: dict[str, Path] = {}
        self.frames: dict[str, dict[str, Any]] = {}
        self.codes: dict[str, int] = {}  # token -> the close code that its sockets get instead of a frame
        self.refusing = False
        self.refused = 0
        self.broken = False  # the twin answers 500
        self.policy = STRICT
        self.opened: Counter[str] = Counter()
        self.sockets: dict[str, set[ServerConnection]] = {}
        self.served: Counter[str] = Counter()  # pages, by their path
        self.asked: list[tuple[str, int]] = []  # of the twin: token, and status of the answer
        self._server: Server | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/"

    async def start(self) -> None:
        self._server = await serve(self._talk, HOST, self.port, process_request=self._answer)

    async def die(self) -> None:
        """As by `kill -9`: every connection is cut, and nobody listens any more."""
        if self._server is None:
            return
        for connection in self._server.connections:
            connection.transport.abort()
        self._server.close()
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self.die()

    async def send(self, token: str, **changes: Any) -> None:
        """The next frame, with these parts; its version is one more unless it is given. A final one closes."""
        last = self.frames.get(token) or {"id": f"id of {token}", **PENDING, "version": 0}
        frame = {**last, "version": last["version"] + 1, **changes}
        if frame["version"] > last["version"]:
            self.frames[token] = frame
        for connection in list(self.sockets.get(token, ())):
            await connection.send(json.dumps(frame))
            if frame["state"] in OVER:
                await connection.close(1000)

    async def close(self, token: str, code: int) -> None:
        for connection in list(self.sockets.get(token, ())):
            await connection.close(code)

    def count(self, token: str) -> int:
        """How many sockets it has now."""
        return len(self.sockets.get(token, ()))

    # -- what browsers ask -------------------------------------------------------------------------------------

    async def _talk(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        token = connection.request.path.split("/")[-2]
        self.opened[token] += 1
        if token in self.codes:
            await connection.close(self.codes[token])
            return
        here = self.sockets.setdefault(token, set())
        here.add(connection)
        try:
            await self._say_present(connection, token)
            await connection.wait_closed()
        except ConnectionClosed:
            pass
        finally:
            here.discard(connection)

    async def _say_present(self, connection: ServerConnection, token: str) -> None:
        if token not in self.frames:
            return
        await connection.send(json.dumps(self.frames[token]))
        if self.frames[token]["state"] in OVER:
            await connection.close(1000)

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        path = request.path.partition("?")[0]
        if path.startswith("/ws/"):
            self.refused += self.refusing
            return self._response(HTTPStatus.SERVICE_UNAVAILABLE) if self.refusing else None
        if path.startswith("/progress/"):
            return self._twin(path.split("/")[-2], request.headers.get("If-None-Match"))
        if path.startswith("/static/"):
            name = path.removeprefix("/static/")
            return self._response(
                HTTPStatus.OK, self.files.get(name, STATIC / name).read_bytes(), str(guess_type(name)[0])
            )
        if path in self.pages:
            self.served[path] += 1
            return self._response(HTTPStatus.OK, self.pages[path].encode(), "text/html; charset=utf-8")
        return self._response(HTTPStatus.NOT_FOUND)

    def _twin(self, token: str, known: str | None) -> Response:
        refusal = {4404: HTTPStatus.NOT_FOUND, 4403: HTTPStatus.FORBIDDEN}.get(self.codes.get(token, 0))
        frame = self.frames.get(token)
        etag = f'"{frame["version"]}"' if frame else ""
        status = refusal or (HTTPStatus.NOT_MODIFIED if known and known == etag else HTTPStatus.OK)
        status = HTTPStatus.INTERNAL_SERVER_ERROR if self.broken else status
        self.asked.append((token, status))
        body = json.dumps(frame).encode() if status is HTTPStatus.OK else b""
        return self._response(status, body, "application/json", ETag=etag)

    def _response(self, status: HTTPStatus, body: bytes = b"", kind: str = "text/plain", **more: str) -> Response:
        headers = Headers({"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close", **more})
        headers["Content-Security-Policy"] = self.policy
        return Response(status, status.phrase, headers, body)
