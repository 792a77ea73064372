"""What may be asked for: every refusal names its setting; no form of an address gets around the guard."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delayserver.errors import OffloadFailed, OffloadRefused
from delayserver.offload.addresses import reach_of
from delayserver.offload.guarding import Lookup, check_addresses, check_url, resolve
from delayserver.offload_hosts import HostRule, Place, one_form
from delayserver.offload_settings import OffloadSettings

PRIVATE_NETWORKS = ["10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "0.0.0.0/8"]
NEVER_NETWORKS = ["169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"]
LISTED = OffloadSettings.of(
    {
        "HOSTS": ["api.example.com", "*.example.org", "odd.example.com:8443", "93.184.215.14", "10.0.0.5", "[::1]:80"],
        "PRIVATE_HOSTS": ["db.internal", "127.0.0.1:9000"],
    }
)


def within(networks: Sequence[str]) -> st.SearchStrategy[ipaddress.IPv4Address]:
    return st.one_of([st.ip_addresses(network=network) for network in networks]).map(
        lambda address: ipaddress.IPv4Address(int(address))
    )


def embeddings(address: ipaddress.IPv4Address) -> list[ipaddress.IPv6Address]:
    """Every way to write an IPv4 address into an IPv6 one."""
    number = int(address)
    forms = [
        0xFFFF << 32 | number,  # mapped
        0x0064_FF9B << 96 | number,  # NAT64
        0x2002 << 112 | number << 80 | 1,  # 6to4
        0x2001_0000 << 96 | (number ^ 0xFFFF_FFFF),  # Teredo
        0x2606 << 112 | 0x5EFE << 32 | number,  # ISATAP
    ]
    return [ipaddress.IPv6Address(form) for form in (*forms, number) if form > 1]


@given(within([*PRIVATE_NETWORKS, *NEVER_NETWORKS]))
def test_a_private_address_is_not_public_however_it_is_written(address: ipaddress.IPv4Address) -> None:
    assert reach_of(address) != "public"
    assert all(reach_of(form) != "public" for form in embeddings(address))


@given(within(NEVER_NETWORKS))
def test_what_is_never_reached_is_not_reached_inside_another(address: ipaddress.IPv4Address) -> None:
    assert reach_of(address) == "never"
    assert all(reach_of(form) == "never" for form in embeddings(address))


@pytest.mark.parametrize("text", ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "64:ff9b::808:808"])
def test_addresses_of_the_world_are_public(text: str) -> None:
    assert reach_of(ipaddress.ip_address(text)) == "public"


@pytest.mark.parametrize(
    ("text", "reach"),
    [
        ("::1", "private"),
        ("::", "never"),
        ("0.0.0.0", "never"),
        ("255.255.255.255", "never"),
        ("fd00:ec2::254", "private"),
        ("fe80::1", "never"),
        ("fec0::1", "private"),
        ("ff02::1", "never"),
        ("2001:db8::1", "private"),
        ("64:ff9b:1::808:808", "private"),
        ("192.0.2.1", "private"),
        ("192.0.0.192", "private"),  # Oracle's metadata
        ("168.63.129.16", "private"),  # Azure's
        ("3fff::1", "private"),
    ],
)
def test_the_reach_of_special_addresses(text: str, reach: str) -> None:
    assert reach_of(ipaddress.ip_address(text)) == reach


@given(st.ip_addresses(v=4))
def test_numbers_that_a_resolver_might_read_as_an_address_are_no_host(address: ipaddress.IPv4Address) -> None:
    number, parts = int(address), str(address).split(".")
    octal = ".".join(f"0{int(part):o}" for part in parts)
    hexadecimal = ".".join(hex(int(part)) for part in parts)
    short = f"{parts[0]}.{number & 0xFFFFFF}"
    for text in (
        str(number),
        hex(number),
        hex(number).upper(),
        f"0{number:o}",
        octal,
        hexadecimal,
        short,
        f"{address}.",
    ):
        with pytest.raises(ValueError, match="expected the host to be a name in ASCII"):
            one_form(text)
    assert one_form(str(address)) == str(address)


@given(st.text(max_size=30))
def test_whatever_is_accepted_as_a_host_has_one_form(text: str) -> None:
    try:
        host = one_form(text)
    except ValueError:
        return
    assert host.isascii()
    assert host == one_form(f"[{host}]" if ":" in host else host)
    assert HostRule.parse(f"[{host}]" if ":" in host else host).matches(Place("https", host, 443))


REFUSED = [
    ("http://169.254.169.254/latest/meta-data/", "'169.254.169.254' is not in DELAYSERVER['OFFLOAD']['HOSTS']"),
    ("http://[::1]:8000/", "['HOSTS']"),
    ("http://[::1]/", "leads to the private address ::1, and is not in DELAYSERVER['OFFLOAD']['PRIVATE_HOSTS']"),
    ("http://[0:0:0:0:0:0:0:1]/", "['PRIVATE_HOSTS']"),
    ("http://[::ffff:127.0.0.1]:9000/", "['HOSTS']"),
    (
        "http://10.0.0.5/",
        "leads to the private address 10.0.0.5, and is not in DELAYSERVER['OFFLOAD']['PRIVATE_HOSTS']",
    ),
    ("file:///etc/passwd", "a scheme in DELAYSERVER['OFFLOAD']['SCHEMES'], got 'file'"),
    ("file:/etc/passwd", "['SCHEMES'], got 'file'"),
    ("ftp://api.example.com/", "['SCHEMES'], got 'ftp'"),
    ("gopher://127.0.0.1:6379/_FLUSHALL", "['SCHEMES']"),
    ("//api.example.com/", "['SCHEMES']"),
    ("api.example.com", "['SCHEMES']"),
    ("https:api.example.com", "['HOSTS']"),
    ("https:///api.example.com", "['HOSTS']"),
    ("", "['SCHEMES']"),
    ("https://evil.com/", "'evil.com' is not in DELAYSERVER['OFFLOAD']['HOSTS']"),
    ("https://example.org/", "'example.org' is not in"),
    ("https://evilexample.org/", "['HOSTS']"),
    ("https://api.example.com.evil.com/", "['HOSTS']"),
    ("https://api.example.com:444/", "'api.example.com:444' is not in"),
    ("https://odd.example.com/", "'odd.example.com' is not in"),
    ("http://api.example.com:443/", "['HOSTS']"),
    ("https://api.example.com:0/", "a port from 1 to 65535"),
    ("https://api.example.com:99999/", "a port from 1 to 65535"),
    ("https://api.example.com:/", "host or host:port"),
    ("https://user:secret@api.example.com/", "without user and password"),
    ("https://api.example.com@evil.com/", "without user and password"),
    ("https://evil.com\\@api.example.com/", "without spaces and backslashes"),
    ("https://evil.com#@api.example.com/", "'evil.com' is not in"),
    ("https://evil.com?@api.example.com/", "'evil.com' is not in"),
    ("https://api.example.com./", "the host to be a name in ASCII"),
    ("https://api.example.com%2eevil.com/", "the host to be a name in ASCII"),
    ("https://\u24d0pi.example.com/", "ASCII"),
    ("http://\uff11\uff12\uff17.0.0.1:9000/", "ASCII"),
    ("http://2130706433:9000/", "the host to be a name in ASCII"),
    ("http://0x7f.1:9000/", "the host to be a name in ASCII"),
    ("http://0177.0.0.1:9000/", "the host to be a name in ASCII"),
    ("http://127.1:9000/", "the host to be a name in ASCII"),
    ("http://127.0.0.1.:9000/", "the host to be a name in ASCII"),
    ("http://[::1%25eth0]/", "the host to be a name in ASCII"),
    ("http://[::1]evil/", "host or host:port"),
    ("https://api.example.com/a b", "without spaces"),
    ("https://api.example.com/\r\nX: y", "without spaces"),
    ("https://api.example.com/\x00", "without spaces"),
    (" https://api.example.com/", "without spaces"),
    ("https://api.example.com/" + "a" * 9_000, "at most 8192 ASCII characters"),
]


@pytest.mark.parametrize(("url", "sentence"), REFUSED)
def test_a_url_is_refused_with_the_setting_or_the_fault(url: str, sentence: str) -> None:
    with pytest.raises(OffloadRefused) as refused:
        check_url(url, LISTED)
    assert sentence in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "place", "rest"),
    [
        ("https://api.example.com", Place("https", "api.example.com", 443), "/"),
        ("HTTPS://API.Example.COM:443/A?b#c", Place("https", "api.example.com", 443), "/A?b"),
        ("http://api.example.com?x=1", Place("http", "api.example.com", 80), "/?x=1"),
        ("https://a.b.example.org/", Place("https", "a.b.example.org", 443), "/"),
        ("https://odd.example.com:8443/", Place("https", "odd.example.com", 8443), "/"),
        ("http://93.184.215.14/", Place("http", "93.184.215.14", 80), "/"),
        ("http://127.0.0.1:9000/a@b", Place("http", "127.0.0.1", 9000), "/a@b"),
    ],
)
def test_a_url_of_a_listed_host_is_read(url: str, place: Place, rest: str) -> None:
    assert check_url(url, LISTED) == (place, rest)


def test_nothing_is_listed_by_default() -> None:
    with pytest.raises(OffloadRefused, match="HOSTS"):
        check_url("https://example.com/", OffloadSettings.of({}))


# -- what a name leads to -------------------------------------------------------------------------------------------

API, INTERNAL = Place("https", "api.example.com", 443), Place("http", "db.internal", 80)


def answers(*texts: str) -> Lookup:
    async def look_up(host: str, port: int) -> list[str]:
        return list(texts)

    return look_up


async def test_every_address_of_a_name_is_checked() -> None:
    assert list(map(str, await resolve(API, LISTED, answers("8.8.8.8", "8.8.8.8", "2606:4700::1111")))) == [
        "8.8.8.8",
        "2606:4700::1111",
    ]
    for private in ("127.0.0.1", "10.1.2.3", "::1", "::ffff:10.0.0.1", "fd00::1"):
        with pytest.raises(OffloadRefused, match=r"'api\.example\.com' leads to the private .*\['PRIVATE_HOSTS'\]"):
            await resolve(API, LISTED, answers("8.8.8.8", private))
        assert await resolve(INTERNAL, LISTED, answers(private))


@pytest.mark.parametrize("place", [API, INTERNAL])
@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "::", "fe80::1", "::ffff:169.254.169.254"])
async def test_link_local_and_reserved_addresses_are_refused_to_everyone(place: Place, address: str) -> None:
    with pytest.raises(OffloadRefused, match="link-local or reserved: no host may"):
        await resolve(place, LISTED, answers(address))


async def test_a_private_host_on_another_port_is_no_private_host() -> None:
    with pytest.raises(OffloadRefused, match="PRIVATE_HOSTS"):
        check_addresses(INTERNAL._replace(port=81), [ipaddress.ip_address("10.0.0.1")], LISTED)


@pytest.mark.parametrize("found", [[], ["not an address"], ["fe80::1%eth0x!"]])
async def test_a_name_without_an_address_is_a_failure(found: list[str]) -> None:
    with pytest.raises(OffloadFailed):
        await resolve(API, LISTED, answers(*found))


async def test_a_resolver_that_fails_is_a_failure() -> None:
    async def look_up(host: str, port: int) -> Any:
        raise OSError("no such host")

    with pytest.raises(OffloadFailed, match=r"'api\.example\.com' has no address \(OSError\)") as failed:
        await resolve(API, LISTED, look_up)
    assert not isinstance(failed.value, OffloadRefused)
