"""From where a call comes: the connection's other end, or whom a trusted proxy names. Pure."""

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# What one household or office has; its own devices choose the rest of the address freely.
_IPV6_PREFIX_BITS = 64


def read_networks(text: str) -> tuple[Network, ...]:
    """Return the networks of a comma-separated list; ValueError names what is none."""
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def read_address(peer: str) -> str:
    """Return the address of what gRPC calls a peer: ``ipv4:192.0.2.7:4711``, ``ipv6:[::1]:4711``.

    Empty for an empty one; what is neither comes back as it is, a Unix socket's path for one.
    """
    family, _, rest = peer.partition(":")
    if family not in ("ipv4", "ipv6"):
        return peer
    # gRPC escapes the brackets of an IPv6 address in what it tells.
    rest = rest.replace("%5B", "[").replace("%5D", "]")
    return rest.rpartition(":")[0].strip("[]")


def find_client_address(peer: str, forwarded_for: str, proxies: Sequence[Network]) -> str:
    """Return the address of whoever calls, as far as it can be trusted.

    ``forwarded_for`` is a list to which each proxy has added whom it was called by: the last one
    that is no trusted proxy is the caller. Whatever stands before that the caller has made up.
    """
    address = peer
    for hop in reversed([part.strip() for part in forwarded_for.split(",") if part.strip()]):
        if not _is_within(address, proxies):
            break
        if _parse(hop) is None:
            break
        address = hop
    return address


def is_loopback(host: str) -> bool:
    """Tell whether this names the machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def group_address(address: str) -> str:
    """Return what is one party as far as limits go: an IPv4 address, the /64 of an IPv6 one."""
    parsed = _parse(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, _IPV6_PREFIX_BITS), strict=False))
    return address


def _is_within(address: str, networks: Sequence[Network]) -> bool:
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in networks)


def _parse(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None
