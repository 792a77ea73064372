"""What may be offloaded: the allow-lists, and the addresses that a host may lead to.

Asked where an offload is sent, and again where it is done; hosts are asked of once more as the connection is made, so
that what was checked is what is connected to. Each refusal names its setting.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence

from ..content import shown
from ..errors import OffloadFailed, OffloadRefused
from ..offload_hosts import DEFAULT_PORTS, Place, is_address, split_authority
from ..offload_settings import OffloadSettings, name_of
from .addresses import Address, reach_of

MAX_URL_LENGTH = 8_192
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?://([^/?#\\]*))?([^#]*)(?:#.*)?", re.DOTALL)
_CONTROL_OR_SPACE = re.compile(r"[\x00-\x20\x7f-\x9f\\]")

Lookup = Callable[[str, int], Awaitable[Iterable[str]]]  # a host's addresses, as text


def check_url(url: str, settings: OffloadSettings) -> tuple[Place, str]:
    """Where a URL leads and what it asks for there (path and query), or `OffloadRefused`."""
    if len(url) > MAX_URL_LENGTH or _CONTROL_OR_SPACE.search(url) or not url.isascii():
        raise OffloadRefused(
            f"expected url to be at most {MAX_URL_LENGTH} ASCII characters without spaces and backslashes,"
            f" percent-encoded where need be, got {shown(url)}"
        )
    match = _URL.fullmatch(url)
    scheme = match[1].lower() if match else ""
    if match is None or scheme not in settings.schemes:
        raise OffloadRefused(f"expected a URL of a scheme in {name_of('SCHEMES')}, got {shown(scheme or url)}")
    place = _place(scheme, match[2] or "")
    if not any(rule.matches(place) for rule in (*settings.hosts, *settings.private_hosts)):
        raise OffloadRefused(f"{shown(_said(place))} is not in {name_of('HOSTS')}")
    if is_address(place.host):
        check_addresses(place, [ipaddress.ip_address(place.host)], settings)
    rest = match[3]
    return place, rest if rest.startswith("/") else f"/{rest}"


def _place(scheme: str, authority: str) -> Place:
    if "@" in authority:
        raise OffloadRefused("expected a URL without user and password; give them in headers, as Authorization")
    try:
        host, port = split_authority(authority)
    except ValueError as error:
        raise OffloadRefused(f"expected a URL of a host in {name_of('HOSTS')}: {error}") from None
    return Place(scheme, host, port or DEFAULT_PORTS[scheme])


def _said(place: Place) -> str:
    """As one would write it into the setting."""
    return place.authority


def check_addresses(place: Place, addresses: Iterable[Address], settings: OffloadSettings) -> None:
    """`OffloadRefused` where one of a host's addresses is not for it to have."""
    is_private_host = any(rule.matches(place) for rule in settings.private_hosts)
    for address in addresses:
        match reach_of(address):
            case "never":
                raise OffloadRefused(
                    f"{shown(_said(place))} leads to {address}, which is link-local or reserved: no host may, whatever"
                    f" {name_of('PRIVATE_HOSTS')} says"
                )
            case "private" if not is_private_host:
                raise OffloadRefused(
                    f"{shown(_said(place))} leads to the private address {address}, and is not in"
                    f" {name_of('PRIVATE_HOSTS')}"
                )


async def resolve(place: Place, settings: OffloadSettings, lookup: Lookup) -> Sequence[Address]:
    """The addresses to connect to, each of which was checked; `OffloadRefused` where one of them may not be."""
    try:
        found = [place.host] if is_address(place.host) else list(await lookup(place.host, place.port))
        addresses = [ipaddress.ip_address(text) for text in dict.fromkeys(found)]
    except (OSError, ValueError) as error:
        raise OffloadFailed(f"{shown(place.host)} has no address ({type(error).__name__})") from None
    if not addresses:
        raise OffloadFailed(f"{shown(place.host)} has no address")
    check_addresses(place, addresses, settings)
    return addresses


async def look_up(host: str, port: int) -> list[str]:
    """What the system's resolver says."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def check_callable(path: str, settings: OffloadSettings) -> None:
    if path not in settings.callables:
        raise OffloadRefused(f"{shown(path)} is not in {name_of('CALLABLES')}")


def check_command(name: str, settings: OffloadSettings) -> None:
    if name not in settings.commands:
        raise OffloadRefused(f"{shown(name)} is not in {name_of('COMMANDS')}")
