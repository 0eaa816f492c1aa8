"""Where a service's replicas are, as the settings say it. Pure."""

import re
from dataclasses import dataclass
from ipaddress import ip_address

DNS_PREFIX = "dns:"

_ADDRESS = re.compile(
    r"(?P<host>\[[0-9a-fA-F:.]+\]|[0-9A-Za-z._-]{1,253}):(?P<port>\d{1,5})(?:@(?P<agent>\d{1,5}))?"
)
_MAX_PORT = 65_535


class AddressError(ValueError):
    """An address that can't be read; the text says which and how one is written."""


@dataclass(frozen=True, slots=True)
class Address:
    """One address, of one replica or, as a name, of all of them."""

    host: str
    port: int
    agent_port: int | None
    """Port of the replica's agent; None where the replicas have none."""


@dataclass(frozen=True, slots=True)
class Replicas:
    """The replicas of one service."""

    addresses: tuple[Address, ...]
    is_name: bool = False
    """Whether the one address is a name with an address for each replica."""


def parse_replicas(text: str) -> Replicas:
    """Read ``HOST:PORT[@AGENT_PORT],…`` or ``dns:NAME:PORT[@AGENT_PORT]``. Raises AddressError."""
    stripped = text.strip()
    if stripped.startswith(DNS_PREFIX):
        return Replicas((_parse_address(stripped.removeprefix(DNS_PREFIX)),), is_name=True)
    addresses = tuple(_parse_address(part.strip()) for part in stripped.split(",") if part.strip())
    if len(set(addresses)) < len(addresses):
        raise AddressError(f"{text!r} has an address twice")
    return Replicas(addresses)


def parse_name_servers(text: str) -> list[str]:
    """Read ``IP:PORT,…``; none for an empty text. Raises AddressError.

    A name is no name server: nobody could be asked about it.
    """
    servers = [part.strip() for part in text.split(",") if part.strip()]
    for server in servers:
        try:
            address = _parse_address(server)
            ip_address(address.host.strip("[]"))
        except ValueError:
            address = None
        if address is None or address.agent_port is not None:
            raise AddressError(f"TIELINE_EDGE_NAME_SERVERS: {server!r} is no IP:PORT")
    return servers


def _parse_address(text: str) -> Address:
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise AddressError(f"{text!r} is no address: write HOST:PORT or HOST:PORT@AGENT_PORT")
    agent = match["agent"]
    address = Address(match["host"], int(match["port"]), int(agent) if agent else None)
    if not all(1 <= port <= _MAX_PORT for port in (address.port, address.agent_port or 1)):
        raise AddressError(f"{text!r}: a port is 1 to {_MAX_PORT}")
    return address
