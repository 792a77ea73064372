"""The hosts that offloads may go to: how one is written, in settings and in URLs, and which of them match."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from .content import shown

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_HOST_LENGTH = 253
HOST_FORMS = "a name in ASCII (its xn-- form), a dotted decimal IPv4 address, or an IPv6 address in brackets"

_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")


class Place(NamedTuple):
    """Where a request goes: a host in its one form (an IPv6 address without brackets), and a port."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """As it stands in a URL: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


class HostRule(NamedTuple):
    """One entry of an allow-list: a host, or every host below one; without a port, the scheme's own."""

    host: str
    port: int | None
    below: bool

    @classmethod
    def parse(cls, entry: object) -> HostRule:
        """``"api.example.com"``, ``"*.example.com"``, ``"localhost:8000"``, ``"[::1]:8000"``; else `ValueError`."""
        if not isinstance(entry, str):
            raise ValueError(f"expected a str, got {shown(entry)}")  # noqa: TRY004  one error for whatever is wrong
        below = entry.startswith("*.")
        host, port = split_authority(entry[2:] if below else entry)
        if below and ("." not in host or is_address(host)):
            raise ValueError(f"expected a domain of two parts or more after the asterisk, got {shown(entry)}")
        return cls(host, port, below)

    def matches(self, place: Place) -> bool:
        if place.port != (self.port or DEFAULT_PORTS[place.scheme]):
            return False
        return place.host.endswith(f".{self.host}") if self.below else place.host == self.host


def split_authority(text: str) -> tuple[str, int | None]:
    """``host`` or ``host:port`` as the host in its one form, and the port where one is given; else `ValueError`."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise ValueError(f"expected host or host:port, got {shown(text)}")
    host, port = match[1], match[2]
    if port is not None and not 1 <= int(port) <= 65_535:
        raise ValueError(f"expected a port from 1 to 65535, got {shown(port)}")
    return one_form(host), None if port is None else int(port)


def one_form(host: str) -> str:
    """A host as we compare it: lower case, addresses in their shortest form, an IPv6 one without its brackets.

    `ValueError` for whatever a resolver could read in another way than we do: numbers that are no dotted decimal,
    octal or hexadecimal parts, a trailing period, a zone, letters that are not ASCII.
    """
    wrong = ValueError(f"expected the host to be {HOST_FORMS}, got {shown(host)}")
    if not host.isascii() or len(host) > MAX_HOST_LENGTH or "%" in host:
        raise wrong
    text = host.lower()
    if text.startswith("["):
        return _address(ipaddress.IPv6Address, text[1:-1], wrong)
    if _NUMBER.fullmatch(text.rpartition(".")[2]):
        return _address(ipaddress.IPv4Address, text, wrong)
    if not _NAME.fullmatch(text):
        raise wrong
    return text


def is_address(host: str) -> bool:
    """Whether a host in its one form is an address, and no name."""
    return ":" in host or bool(_NUMBER.fullmatch(host.rpartition(".")[2]))


def _address(kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address], text: str, wrong: ValueError) -> str:
    try:
        return str(kind(text))
    except ValueError:
        raise wrong from None
