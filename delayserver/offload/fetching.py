"""A request, done with httpx: each hop checked anew, connected to what was checked, and read to a limit."""

from __future__ import annotations

import functools
import ssl
from collections.abc import AsyncIterator, Iterable
from typing import Any, NamedTuple
from urllib.parse import urljoin

import httpcore
import httpx

from ..content import Content
from ..errors import OffloadFailed, OffloadRefused
from ..offload_hosts import Place
from ..offload_settings import OffloadSettings, name_of
from .asked import Request
from .bodies import ACCEPTED, Body
from .guarding import Lookup, check_url, look_up, resolve

CONNECT_SECONDS = 3.0  # for each address but the last; all of it is within the offload's own timeout
REDIRECTS = {301, 302, 303, 307, 308}
DECODED = {"content-encoding", "content-length", "transfer-encoding"}  # true of the body as it came, not as we give it
ELSEWHERE = {"accept", "accept-language", "content-type", "user-agent"}  # what another host is told, too


class Hop(NamedTuple):
    """One request of a chain of redirects, and where it leads."""

    request: Request
    place: Place
    url: str


async def fetch(request: Request, settings: OffloadSettings, lookup: Lookup = look_up) -> Content:
    """The fields of a `RequestReply`; raises `OffloadRefused` or `OffloadFailed`, or is cancelled."""
    hop = _hop(request, settings)
    for _ in range(settings.max_redirects + 1):
        answer = await _ask(hop, settings, lookup)
        if isinstance(answer, dict):
            return answer
        hop = _next_hop(hop, answer, settings)
    raise OffloadFailed(f"more redirects than {name_of('MAX_REDIRECTS')} ({settings.max_redirects})")


def _hop(request: Request, settings: OffloadSettings) -> Hop:
    place, rest = check_url(request.url, settings)
    return Hop(request, place, f"{place.scheme}://{place.authority}{rest}")


async def _ask(hop: Hop, settings: OffloadSettings, lookup: Lookup) -> Content | httpx.Response:
    """The answer, or a redirect that is to be followed."""
    headers = httpx.Headers({"Accept": "*/*", "Accept-Encoding": ACCEPTED, "User-Agent": "delayserver"})
    own = [(name.encode(), value.encode("latin-1")) for name, value in hop.request.headers]
    headers.update(httpx.Headers(own))
    transport = Transport(hop.place, settings, lookup)
    try:
        # No httpx.AsyncClient around it: that brings cookies, proxies, and redirects of its own.
        asked = httpx.Request(hop.request.method, hop.url, headers=headers, content=hop.request.content)
        answer = await transport.handle_async_request(asked)
        if answer.status_code in REDIRECTS and "location" in answer.headers:
            return answer
        return await _read(hop, answer, settings)
    except OffloadFailed:
        raise
    except Exception as error:  # noqa: BLE001  httpx, httpcore, anyio and ssl raise many things; each is a failure
        raise OffloadFailed(f"{hop.place.authority} gave no answer: {_told(error)}") from None
    finally:
        await transport.aclose()


def _told(error: Exception) -> str:
    """What it says of a connection is of use; elsewhere it may quote what the server sent."""
    is_safe = isinstance(error, httpcore.ConnectError)
    return f"{type(error).__name__}: {str(error)[:200]}" if is_safe else type(error).__name__


async def _read(hop: Hop, answer: httpx.Response, settings: OffloadSettings) -> Content:
    body = Body(answer.headers.get("content-encoding", ""), settings.max_reply_bytes)
    async for part in answer.aiter_raw():
        body.feed(part)
    headers = [[name.decode("latin-1").lower(), value.decode("latin-1")] for name, value in answer.headers.raw]
    if body.decodes:
        headers = [pair for pair in headers if pair[0] not in DECODED]
    return {"status": answer.status_code, "headers": headers, "body": body.finish(), "url": hop.url}


def _next_hop(hop: Hop, answer: httpx.Response, settings: OffloadSettings) -> Hop:
    """`OffloadRefused` where a redirect leads to what may not be asked."""
    request = hop.request
    method, content, headers = request.method, request.content, request.headers
    status = answer.status_code
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, content = "GET", None
        headers = [pair for pair in headers if not pair[0].lower().startswith("content-")]
    try:
        url = urljoin(hop.url, answer.headers["location"])
        followed = _hop(Request(url=url, method=method, content=content), settings)
    except (OffloadRefused, ValueError) as error:
        raise OffloadRefused(f"a redirect of {hop.place.authority} was refused: {error}") from None
    if hop.place.scheme == "https" and followed.place.scheme != "https":
        raise OffloadRefused(f"a redirect of {hop.place.authority} was refused: it leads from https to http")
    if followed.place != hop.place:
        headers = [pair for pair in headers if pair[0].lower() in ELSEWHERE]
    followed_request = Request(url=url, method=method, headers=headers, content=content)
    return followed._replace(request=followed_request)


# -- the connection ------------------------------------------------------------------------------------------------


class Backend(httpcore.AsyncNetworkBackend):
    """Connects to one place, at an address that was checked; the name stays that of the place, for TLS as well."""

    def __init__(self, place: Place, settings: OffloadSettings, lookup: Lookup) -> None:
        self._place, self._settings, self._lookup = place, settings, lookup
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's own signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if (host, port) != (self._place.host, self._place.port):
            raise OffloadRefused("expected the connection to lead where the URL does")
        *others, last = await resolve(self._place, self._settings, self._lookup)
        for address in others:
            try:
                return await self._inner.connect_tcp(str(address), port, CONNECT_SECONDS)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._inner.connect_tcp(str(last), port, timeout)


class Transport(httpx.AsyncBaseTransport):
    """One request on a connection of its own, with nothing of the environment: no proxy, no netrc, no cookies."""

    def __init__(self, place: Place, settings: OffloadSettings, lookup: Lookup) -> None:
        context = _tls() if place.scheme == "https" else None
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context, network_backend=Backend(place, settings, lookup), max_connections=1
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
        )
        answer = await self._pool.handle_async_request(asked)
        return httpx.Response(answer.status, headers=answer.headers, stream=_Stream(answer))

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Stream(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._answer.aiter_stream():
            yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


@functools.cache
def _tls() -> ssl.SSLContext:
    """Made once, for it is dear; a project's own authorities come by ``SSL_CERT_FILE``, as httpx has it."""
    return httpx.create_ssl_context()
