"""A request against a local server of odd answers: the right answer, or a failure that says what it was."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from delayserver.errors import OffloadFailed, OffloadRefused
from delayserver.offload.asked import Request
from delayserver.offload.fetching import fetch
from delayserver.offload_settings import OffloadSettings

from .conftest import to_loopback
from .server import TEXT, OddServer


async def get(server: OddServer, allowed: OffloadSettings, path: str, **fields: Any) -> dict[str, Any]:
    async with asyncio.timeout(10):
        return await fetch(Request(url=f"{server.url}/{path}", **fields), allowed, to_loopback)


@pytest.mark.parametrize("status", [204, 304, 404, 418, 500, 599])
async def test_any_status_is_an_answer(server: OddServer, allowed: OffloadSettings, status: int) -> None:
    answer = await get(server, allowed, f"status/{status}")
    body = b"" if status in (204, 304) else b"status %d" % status
    assert (answer["status"], answer["body"], answer["url"]) == (status, body, f"{server.url}/status/{status}")


@pytest.mark.parametrize("name", ["chunked", "gzipped", "deflated", "bare_deflated"])
async def test_bodies_come_as_they_were_before_they_were_packed(
    server: OddServer, allowed: OffloadSettings, name: str
) -> None:
    answer = await get(server, allowed, name)
    assert answer["body"] == TEXT
    assert "content-encoding" not in dict(answer["headers"])
    assert name == "chunked" or "content-length" not in dict(answer["headers"])


async def test_an_encoding_that_was_not_asked_for_is_left_as_it_is(server: OddServer, allowed: OffloadSettings) -> None:
    answer = await get(server, allowed, "unknown_encoding")
    assert answer["body"] == b"\x00\x01"
    assert dict(answer["headers"])["content-encoding"] == "br"


async def test_headers_are_pairs_and_none_is_lost(server: OddServer, allowed: OffloadSettings) -> None:
    answer = await get(server, allowed, "cookies")
    assert [value for name, value in answer["headers"] if name == "set-cookie"] == ["a=1; Path=/", "b=2"]
    assert [value for name, value in answer["headers"] if name == "x-twice"] == ["1", "2"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("reset", "gave no answer: "),
        ("reset_within", "gave no answer: RemoteProtocolError"),
        ("garbage", "gave no answer: RemoteProtocolError"),
        ("many_headers", "gave no answer: "),
        ("no_gzip", "the body of the answer is no gzip"),
        ("cut_gzip", "the body of the answer is cut off within its gzip"),
        ("huge", r"over DELAYSERVER\['OFFLOAD'\]\['MAX_REPLY_BYTES'\] \(1000000\)"),
        ("bomb", r"over DELAYSERVER\['OFFLOAD'\]\['MAX_REPLY_BYTES'\] \(1000000\)"),
    ],
)
async def test_what_is_no_good_answer_is_a_failure(
    server: OddServer, allowed: OffloadSettings, name: str, sentence: str
) -> None:
    with pytest.raises(OffloadFailed, match=sentence) as failed:
        await get(server, allowed, name)
    assert "hunter2" not in str(failed.value)


async def test_a_server_that_is_not_there_is_a_failure(offload_options: dict[str, Any]) -> None:
    allowed = OffloadSettings.of({**offload_options, "PRIVATE_HOSTS": ["127.0.0.1:1"]})
    with pytest.raises(OffloadFailed, match=r"127\.0\.0\.1:1 gave no answer: ConnectError"):
        await fetch(Request(url="http://127.0.0.1:1/"), allowed)


async def test_a_request_arrives_as_it_was_asked_for(server: OddServer, allowed: OffloadSettings) -> None:
    headers = [
        ("X-Two", "1"),
        ("X-Two", "2"),
        ("Authorization", "Bearer t"),
        ("accept", "text/plain"),
        ("X-Latin", "é"),
    ]
    answer = await get(server, allowed, "echo?a=%2F&b", method="PUT", headers=headers, content=b"\x00body\xff")
    told = json.loads(answer["body"])
    assert (told["method"], told["path"], told["body"]) == ("PUT", "/echo?a=%2F&b", "\x00body\xff")
    names = {name.lower() for name, _ in told["headers"]}
    assert names == {
        "host",
        "accept",
        "accept-encoding",
        "user-agent",
        "x-two",
        "x-latin",
        "authorization",
        "content-length",
    }
    [seen] = server.seen
    assert seen.header("host") == server.place
    assert (seen.header("accept"), seen.header("x-latin")) == ("text/plain", "é")
    assert [value for name, value in seen.headers if name.lower() == "x-two"] == ["1", "2"]


async def test_proxies_and_netrc_of_the_environment_are_not_asked(
    server: OddServer, allowed: OffloadSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert (await get(server, allowed, "status/418"))["status"] == 418
    assert server.seen[0].header("authorization") is None


# -- redirects ------------------------------------------------------------------------------------------------------


SECRETS = [("Authorization", "Bearer t"), ("Cookie", "c=1"), ("X-Api-Key", "k"), ("User-Agent", "own")]


async def test_a_redirect_within_a_host_keeps_its_headers(server: OddServer, allowed: OffloadSettings) -> None:
    answer = await get(server, allowed, "redirect?to=/echo%3Fa", headers=SECRETS)
    assert answer["url"] == f"{server.url}/echo?a"
    told = {name.lower(): value for name, value in json.loads(answer["body"])["headers"]}
    assert (told["authorization"], told["cookie"], told["x-api-key"]) == ("Bearer t", "c=1", "k")


async def test_another_host_gets_no_secrets(server: OddServer, named: OffloadSettings) -> None:
    answer = await get(server, named, f"redirect?to=http://two.test:{server.port}/echo", headers=SECRETS)
    told = {name.lower(): value for name, value in json.loads(answer["body"])["headers"]}
    assert told["host"] == f"two.test:{server.port}"
    assert told["user-agent"] == "own"
    assert not told.keys() & {"authorization", "cookie", "x-api-key"}


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "PUT", "GET"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
        (303, "HEAD", "HEAD"),
        (302, "DELETE", "DELETE"),
    ],
)
async def test_the_method_and_body_after_a_redirect(
    server: OddServer, allowed: OffloadSettings, status: int, method: str, then: str
) -> None:
    content = None if method == "HEAD" else b"body"
    headers = [] if method == "HEAD" else [("Content-Type", "text/plain")]
    await get(
        server, allowed, f"redirect?to=/status/200&status={status}", method=method, content=content, headers=headers
    )
    last = server.seen[-1]
    kept = then == method and content is not None
    assert (last.method, last.body) == (then, b"body" if kept else b"")
    assert (last.header("content-type") is not None) == kept
    assert last.header("cookie") is None


@pytest.mark.parametrize(
    ("to", "sentence"),
    [
        ("http://169.254.169.254/latest/", "'169.254.169.254' is not in DELAYSERVER['OFFLOAD']['HOSTS']"),
        ("http://127.0.0.1:1/", "['HOSTS']"),
        ("//evil.test/", "'evil.test' is not in DELAYSERVER['OFFLOAD']['HOSTS']"),
        ("file:///etc/passwd", "['SCHEMES'], got 'file'"),
        ("javascript:alert(1)", "['SCHEMES']"),
        ("http://user:pw@one.test/", "without user and password"),
        ("http://api.example.com/", "leads to the private address 127.0.0.1"),
        ("http://[", "a redirect of"),
    ],
)
async def test_a_redirect_that_leaves_what_is_allowed_is_refused(
    server: OddServer, named: OffloadSettings, to: str, sentence: str
) -> None:
    with pytest.raises(OffloadRefused) as refused:
        await get(server, named, f"redirect?to={to}")
    assert sentence in str(refused.value)
    assert len(server.seen) == 1


async def test_redirects_end(server: OddServer, allowed: OffloadSettings) -> None:
    with pytest.raises(OffloadFailed, match=r"more redirects than .*\['MAX_REDIRECTS'\] \(5\)"):
        await get(server, allowed, "loop")
    assert len(server.seen) == 6
