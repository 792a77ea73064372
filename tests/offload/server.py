"""A local HTTP server of odd answers, in a thread of its own."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

TEXT = b"the quick brown fox jumps over the lazy dog. " * 20


class Seen(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class OddServer:
    """``GET /NAME`` answers as the function `NAME` below does. `seen` are all requests."""

    def __init__(self, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.seen: list[Seen] = []
        self._host, self._context = host, context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        self.place = f"{self._host}:{self.port}"
        self.url = f"http://{self.place}"
        return self

    async def _start(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, self._host, 0, ssl=self._context, backlog=1000)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            seen = await _read(reader)
            self.seen.append(seen)
            name = urlsplit(seen.path).path.strip("/").partition("/")[0]
            await ANSWERS[name](seen, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = [(line.partition(": ")[0], line.partition(": ")[2]) for line in lines]
    length = int(next((value for name, value in headers if name.lower() == "content-length"), "0"))
    return Seen(method, path, headers, await reader.readexactly(length))


def say(writer: asyncio.StreamWriter, body: bytes, *lines: str, status: str = "200 OK", sized: bool = True) -> None:
    length = [f"Content-Length: {len(body)}"] if sized else []
    writer.write("\r\n".join([f"HTTP/1.1 {status}", *lines, *length, "Connection: close", "", ""]).encode("latin-1"))
    writer.write(body)


async def status(seen: Seen, writer: asyncio.StreamWriter) -> None:
    number = seen.path.rpartition("/")[2]
    bodiless = number in ("204", "304")
    say(writer, b"" if bodiless else b"status " + number.encode(), status=f"{number} X", sized=not bodiless)


async def chunked(seen: Seen, writer: asyncio.StreamWriter) -> None:
    say(writer, b"", "Transfer-Encoding: chunked", sized=False)
    for at in range(0, len(TEXT), 100):
        part = TEXT[at : at + 100]
        writer.write(b"%x\r\n%s\r\n" % (len(part), part))
        await asyncio.sleep(0)
    writer.write(b"0\r\n\r\n")


async def gzipped(seen: Seen, writer: asyncio.StreamWriter) -> None:
    say(writer, gzip.compress(TEXT), "Content-Encoding: gzip", "Content-Type: text/plain")


async def deflated(seen: Seen, writer: asyncio.StreamWriter) -> None:
    say(writer, zlib.compress(TEXT), "Content-Encoding: deflate")


async def bare_deflated(seen: Seen, writer: asyncio.StreamWriter) -> None:
    say(writer, zlib.compress(TEXT)[2:-4], "Content-Encoding: deflate")


async def no_gzip(seen: Seen, writer: asyncio.StreamWriter) -> None:
    say(writer, TEXT, "Content-Encoding: gzip")


async def cut_gzip(seen: Seen, writer: asyncio.StreamWriter) -> None:
    say(writer, gzip.compress(TEXT)[:-9], "Content-Encoding: gzip")


async def unknown_encoding(seen: Seen, writer: asyncio.StreamWriter) -> None:
    say(writer, b"\x00\x01", "Content-Encoding: br")


async def cookies(seen: Seen, writer: asyncio.StreamWriter) -> None:
    say(writer, b"two", "Set-Cookie: a=1; Path=/", "Set-Cookie: b=2", "X-Twice: 1", "X-Twice: 2")


async def hang(seen: Seen, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def drip(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """One byte at a time, for ever: no read is slow, the whole is."""
    say(writer, b"", "Content-Length: 100000", sized=False)
    while True:
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.02)


async def reset(seen: Seen, writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def reset_within(seen: Seen, writer: asyncio.StreamWriter) -> None:
    say(writer, b"half of it", "Content-Length: 1000", sized=False)


async def garbage(seen: Seen, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\xff secret=hunter2 this is no HTTP\r\n\r\n")


async def huge(seen: Seen, writer: asyncio.StreamWriter) -> None:
    say(writer, b"", "Transfer-Encoding: chunked", sized=False)
    while True:
        writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
        await writer.drain()


async def bomb(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """A hundred megabytes in a hundred kilobytes."""
    say(writer, BOMB, "Content-Encoding: gzip")


async def many_headers(seen: Seen, writer: asyncio.StreamWriter) -> None:
    say(writer, b"", *(f"X-{number}: {'y' * 1000}" for number in range(1000)))


async def redirect(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """To ``?to=``, with ``&status=``; a cookie that nobody may send on."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(seen.path).query).items()}
    say(writer, b"", f"Location: {asked['to']}", "Set-Cookie: t=1", status=f"{asked.get('status', '302')} Y")


async def loop(seen: Seen, writer: asyncio.StreamWriter) -> None:
    say(writer, b"", "Location: /loop", status="307 Again")


async def echo(seen: Seen, writer: asyncio.StreamWriter) -> None:
    told = {"method": seen.method, "path": seen.path, "headers": seen.headers, "body": seen.body.decode("latin-1")}
    say(writer, json.dumps(told).encode(), "Content-Type: application/json", "X-Own: yes", "Keep-Alive: timeout=5")


BOMB = gzip.compress(bytes(100_000_000), 9)
Answer = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]
ANSWERS: dict[str, Answer] = {
    act.__name__: act
    for act in (
        *(status, chunked, gzipped, deflated, bare_deflated, no_gzip, cut_gzip, unknown_encoding, cookies, hang),
        *(drip, reset, reset_within, garbage, huge, bomb, many_headers, redirect, loop, echo),
    )
}
