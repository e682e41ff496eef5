"""The addresses that a URL from a caller may lead to: public ones, and those that the operator allows."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from service.common.settings import Network

# IANA's special-purpose registries. Listed here, because `is_global` differs between versions of Python.
NOT_PUBLIC_4 = [
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
# The rest of IPv6 is not global unicast: loopback, ULA, link-local, multicast, and addresses that embed an IPv4
# address: mapped, compatible, translated (64:ff9b::/96, 64:ff9b:1::/48).
PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
# Within it: IETF protocol assignments with Teredo, documentation, 6to4, documentation.
NOT_PUBLIC_6 = [ipaddress.IPv6Network(name) for name in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]


def may_reach(address: str, allowed: Iterable[Network] = ()) -> bool:
    """Tell whether this IP address is public, or in a network that is allowed."""
    found = ipaddress.ip_address(address)
    if any(found in network for network in allowed):
        return True
    if isinstance(found, ipaddress.IPv4Address):
        return not any(found in network for network in NOT_PUBLIC_4)
    return found in PUBLIC_6 and not any(found in network for network in NOT_PUBLIC_6)
