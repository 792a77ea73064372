"""`offload.response`: what goes on of a request, what comes back of an answer, and what does neither."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse
from django.test import RequestFactory
from pytest_django import Settings

from delayserver import offload
from delayserver.offload import RequestReply
from delayserver.offload.proxy import as_response

from .server import TEXT, OddServer

pytestmark = pytest.mark.usefixtures("in_memory")

SECRETS = {
    "Authorization": "Bearer t",
    "Cookie": "sessionid=1",
    "X-Forwarded-For": "10.0.0.1",
    "Connection": "keep-alive",
    "Host": "ours.example.com",
    "Proxy-Authorization": "Basic x",
}


async def asked(server: OddServer, path: str = "echo", method: str = "GET", **options: Any) -> HttpResponse:
    headers = {**SECRETS, "Accept": "text/plain", "User-Agent": "visitor/1"}
    body = options.pop("body", b"")
    request = RequestFactory().generic(method, "/here/", body, content_type="text/csv", headers=headers)
    return await offload.response(request, f"{server.url}/{path}", **options)


async def test_method_body_and_plain_headers_go_on(server: OddServer) -> None:
    told = json.loads((await asked(server, method="PUT", body=b"a,b")).content)
    assert (told["method"], told["body"]) == ("PUT", "a,b")
    headers = {name.lower(): value for name, value in told["headers"]}
    assert (headers["accept"], headers["user-agent"], headers["content-type"]) == (
        "text/plain",
        "visitor/1",
        "text/csv",
    )
    assert headers["host"] == server.place
    assert not headers.keys() & {"authorization", "cookie", "x-forwarded-for", "proxy-authorization"}


async def test_the_project_may_add_headers(server: OddServer) -> None:
    answer = await asked(server, headers={"Authorization": "Bearer ours", "Accept": "a/b"})
    headers = {name.lower(): value for name, value in json.loads(answer.content)["headers"]}
    assert (headers["authorization"], headers["accept"]) == ("Bearer ours", "a/b")


async def test_status_body_and_headers_come_back(server: OddServer) -> None:
    answer = await asked(server)
    assert (answer.status_code, answer["Content-Type"], answer["X-Own"]) == (200, "application/json", "yes")
    assert int(answer["Content-Length"]) == len(answer.content)
    assert "Keep-Alive" not in answer
    assert "Connection" not in answer


async def test_a_packed_body_comes_back_unpacked(server: OddServer) -> None:
    answer = await asked(server, "gzipped")
    assert answer.content == TEXT
    assert "Content-Encoding" not in answer
    assert int(answer["Content-Length"]) == len(TEXT)


async def test_cookies_of_the_other_server_stay_there(server: OddServer) -> None:
    answer = await asked(server, "cookies")
    assert "Set-Cookie" not in answer
    assert not answer.cookies
    assert answer["X-Twice"] == "1, 2"
    assert answer["Content-Type"] == "application/octet-stream"


def test_what_speaks_for_the_whole_site_or_the_connection_does_not_come_back() -> None:
    names = [
        "Strict-Transport-Security",
        "Clear-Site-Data",
        "Alt-Svc",
        "Transfer-Encoding",
        "Upgrade",
        "X-Hop",
        "Trailer",
        "Date",
        "Server",
    ]
    headers = [*((name, "x") for name in names), ("Connection", "close, X-Hop"), ("X-Kept", "y")]
    answer = as_response(RequestReply(id="1", status=200, headers=headers, body=b"", url=""), "GET")
    assert {name.lower() for name in answer.headers} == {"x-kept", "content-length"}


@pytest.mark.parametrize("status", [204, 304, 404, 418, 500, 599])
async def test_any_status_comes_back(server: OddServer, status: int) -> None:
    answer = await asked(server, f"status/{status}")
    assert answer.status_code == status
    assert ("Content-Length" in answer) == (status not in (204, 304))


def test_a_status_that_is_none_is_a_bad_gateway() -> None:
    assert as_response(RequestReply(id="1", status=999, headers=[], body=b"", url=""), "GET").status_code == 502


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("reset", 502, b"Bad Gateway\n"),
        ("garbage", 502, b"Bad Gateway\n"),
        ("bomb", 502, b"Bad Gateway\n"),
        ("hang", 504, b"Gateway Timeout\n"),
        ("redirect?to=http://169.254.169.254/", 502, b"Bad Gateway\n"),
    ],
)
async def test_a_failure_is_a_status_without_details(server: OddServer, path: str, status: int, text: bytes) -> None:
    answer = await asked(server, path, timeout=0.5)
    assert (answer.status_code, answer.content, answer["Content-Type"]) == (status, text, "text/plain; charset=utf-8")


async def test_what_may_not_be_asked_is_a_bad_gateway_and_a_line(caplog: pytest.LogCaptureFixture) -> None:
    answer = await offload.response(RequestFactory().get("/"), "http://169.254.169.254/")
    assert (answer.status_code, answer.content) == (502, b"Bad Gateway\n")
    assert "is not in DELAYSERVER['OFFLOAD']['HOSTS']" in caplog.text


async def test_what_cannot_go_on_is_told(server: OddServer, settings: Settings) -> None:
    assert (await asked(server, method="TRACE")).status_code == 405
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = None
    assert (await asked(server, method="POST", body=b"x" * 1_000_001)).status_code == 413
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert (await asked(server, method="POST", body=b"x" * 11)).status_code == 413
    assert server.seen == []


def test_the_sync_twin_does_the_same(server: OddServer) -> None:
    request = RequestFactory().get("/here/")
    assert offload.response_sync(request, f"{server.url}/chunked").content == TEXT
    assert offload.response_sync(request, "http://[::1]:1/").status_code == 502


class CutOff(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise OSError("the visitor has gone")


async def test_a_visitor_that_goes_is_a_bad_request(server: OddServer) -> None:
    environ = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "5", "wsgi.input": CutOff()}
    request = WSGIRequest({**RequestFactory()._base_environ(), **environ})  # type: ignore[attr-defined]
    assert (await offload.response(request, f"{server.url}/echo")).status_code == 400
