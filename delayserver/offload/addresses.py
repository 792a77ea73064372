"""Which addresses belong to the world, which to a private network, and which are nobody's to ask."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Literal

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Reach = Literal["public", "private", "never"]

_NAT64 = [ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48")]
_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")
# Nobody's in the world, of which not every Python knows: IANA's registries; and Azure's server for its own machines.
_NOT_PUBLIC = [ipaddress.ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20", "168.63.129.16")]
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
_LAST_32 = 0xFFFF_FFFF


def reach_of(address: Address) -> Reach:
    """Who can be reached by it: the world; a private network or this machine; or what no project means to ask.

    An IPv6 address that carries an IPv4 one is no better than that.
    """
    found = {_own_reach(one) for one in (address, *_carried(address))}
    if "never" in found:
        return "never"
    return "private" if "private" in found else "public"


def _own_reach(address: Address) -> Reach:
    if address in _NAT64[0]:
        return "public"  # how a network without IPv4 reaches the IPv4 world: what it carries counts
    if address.is_loopback:
        return "private"
    if address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved:
        return "private" if _is_carrier(address) else "never"
    if not address.is_global or getattr(address, "is_site_local", False):
        return "private"
    if any(address in network for network in _NOT_PUBLIC):
        return "private"
    return "public"


def _is_carrier(address: Address) -> bool:
    """Whether it is reserved only because it carries an IPv4 address: that one counts, and it is no public way."""
    return isinstance(address, ipaddress.IPv6Address) and next(_carried(address), None) is not None


def _carried(address: Address) -> Iterator[ipaddress.IPv4Address]:
    """The IPv4 addresses inside: mapped, compatible, 6to4, Teredo, NAT64 and ISATAP."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    last = ipaddress.IPv4Address(int(address) & _LAST_32)
    if address.ipv4_mapped:
        yield address.ipv4_mapped
    if address in _IPV4_COMPATIBLE and int(address) > 1:
        yield last
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo
    if any(address in network for network in _NAT64) or (int(address) >> 32) & _LAST_32 in _ISATAP:
        yield last
