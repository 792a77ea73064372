"""How a request connects, and how much of a body is read."""

from __future__ import annotations

import datetime
import gzip
import ssl
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from delayserver.errors import OffloadFailed, OffloadRefused
from delayserver.offload import fetching
from delayserver.offload.asked import Request
from delayserver.offload.bodies import Body
from delayserver.offload.fetching import fetch
from delayserver.offload_settings import OffloadSettings

from .conftest import to_loopback
from .server import OddServer


async def test_the_address_that_was_checked_is_the_one_connected_to(server: OddServer, named: OffloadSettings) -> None:
    """A name that is looked up twice may lead elsewhere the second time."""
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    url = f"http://one.test:{server.port}/echo"
    answer = await fetch(Request(url=url), named, rebinding)
    assert asked == ["one.test"]
    assert (answer["status"], answer["url"]) == (200, url)


async def test_an_address_that_does_not_answer_is_passed_over(server: OddServer, named: OffloadSettings) -> None:
    async def two(host: str, port: int) -> list[str]:
        return ["127.0.0.9", "127.0.0.1"]

    answer = await fetch(Request(url=f"http://one.test:{server.port}/status/200"), named, two)
    assert answer["status"] == 200


@contextmanager
def tls(folder: Path, name: str) -> Iterator[ssl.SSLContext]:
    """A server's context with a certificate of `name`, and the certificate in ``ca.pem``."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "ca.pem").write_bytes(pem)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(pem + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    yield context


async def test_tls_asks_for_the_name_and_not_for_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offload_options: dict[str, Any]
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with tls(tmp_path, "one.test") as context, OddServer(context) as server:
        fetching._tls.cache_clear()
        names = [f"{name}.test:{server.port}" for name in ("one", "two")]
        allowed = OffloadSettings.of({**offload_options, "PRIVATE_HOSTS": names})
        try:
            answer = await fetch(Request(url=f"https://{names[0]}/status/200"), allowed, to_loopback)
            assert answer["status"] == 200
            with pytest.raises(OffloadFailed, match=r"ConnectError: .*CERTIFICATE_VERIFY_FAILED"):
                await fetch(Request(url=f"https://{names[1]}/status/200"), allowed, to_loopback)
            to_http = f"https://{names[0]}/redirect?to=http://{names[0]}/"
            with pytest.raises(OffloadRefused, match="it leads from https to http"):
                await fetch(Request(url=to_http), allowed, to_loopback)
        finally:
            fetching._tls.cache_clear()


# -- bodies ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=300), max_size=4), st.integers(1, 50), st.sampled_from(["gzip", "deflate", ""]))
def test_a_body_is_the_same_however_it_is_cut(parts: list[bytes], step: int, encoding: str) -> None:
    whole = b"".join(parts)
    packed = {
        "gzip": b"".join(map(gzip.compress, parts)),  # one member after the other
        "deflate": zlib.compress(whole),
        "": whole,
    }[encoding]
    body = Body(encoding, len(whole))
    for at in range(0, len(packed), step):
        body.feed(packed[at : at + step])
    assert body.finish() == whole


@given(st.integers(1, 5_000), st.integers(0, 5_000))
def test_a_body_is_read_to_its_limit_and_no_further(size: int, limit: int) -> None:
    body = Body("gzip", limit)
    if size <= limit:
        body.feed(gzip.compress(bytes(size)))
        assert len(body.finish()) == size
    else:
        with pytest.raises(OffloadFailed, match="MAX_REPLY_BYTES"):
            body.feed(gzip.compress(bytes(size)))
        assert len(body._read) == limit + 1


def test_what_comes_to_nothing_without_end_is_too_long() -> None:
    body, empty = Body("gzip", 1_000), gzip.compress(b"") * 1_000
    with pytest.raises(OffloadFailed, match="MAX_REPLY_BYTES"):
        for _ in range(10):
            body.feed(empty)
