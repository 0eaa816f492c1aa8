"""Which port each part of the platform listens on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tieline.cli.errors import CommandError

DEFAULT_BASE_PORT = 7000
# The highest offset is below 500, and ports end at 65535.
MAX_BASE_PORT = 65000
POSTGRES_OFFSET = 432
NATS_OFFSET = 222
NATS_MONITORING_OFFSET = 223
FIRST_GRPC_OFFSET = 101
FIRST_METRICS_OFFSET = 201
EDGE_OFFSET = 100
FIRST_AGENT_OFFSET = 301


@dataclass(frozen=True)
class PortPlan:
    """The ports, by what listens on them, and what is worth telling about them."""

    postgres: int
    nats: int
    nats_monitoring: int
    grpc: Mapping[str, int]
    metrics: Mapping[str, int]
    edge: int | None
    """Where clients call all services; None without an edge."""

    agents: Mapping[str, int]
    """Where the services tell the edge what they can take; empty without one."""

    notes: Sequence[str]


def plan_ports(
    services: Sequence[str],
    base_port: int | None,
    *,
    is_free: Callable[[int], bool],
    find_free: Callable[[], int],
    with_edge: bool = False,
) -> PortPlan:
    """Take the base port plus a fixed offset for each part.

    Without a base port the default one is used, and a taken port is replaced by a free one, with a
    note. A base port that was asked for is kept to: a taken port is an error that names it.
    """
    wanted = {
        "PostgreSQL": POSTGRES_OFFSET,
        "NATS": NATS_OFFSET,
        "NATS's monitoring": NATS_MONITORING_OFFSET,
        **{name: FIRST_GRPC_OFFSET + index for index, name in enumerate(services)},
        **{
            f"{name}'s metrics": FIRST_METRICS_OFFSET + index for index, name in enumerate(services)
        },
    }
    if with_edge:
        wanted["the edge"] = EDGE_OFFSET
        for index, name in enumerate(services):
            wanted[f"{name}'s agent"] = FIRST_AGENT_OFFSET + index
    base = DEFAULT_BASE_PORT if base_port is None else base_port
    ports = {user: base + offset for user, offset in wanted.items()}
    taken = [user for user, port in ports.items() if not is_free(port)]
    if taken and base_port is not None:
        names = ", ".join(f"{ports[user]} ({user})" for user in taken)
        raise CommandError(f"in use: port {names}; stop what uses it or give another --base-port")
    notes = []
    for user in taken:
        default = ports[user]
        ports[user] = _find_unplanned(find_free, set(ports.values()))
        notes.append(f"port {default} is in use: {user} is on {ports[user]} instead")
    return PortPlan(
        postgres=ports["PostgreSQL"],
        nats=ports["NATS"],
        nats_monitoring=ports["NATS's monitoring"],
        grpc={name: ports[name] for name in services},
        metrics={name: ports[f"{name}'s metrics"] for name in services},
        edge=ports.get("the edge"),
        agents={name: ports[f"{name}'s agent"] for name in services} if with_edge else {},
        notes=notes,
    )


def _find_unplanned(find_free: Callable[[], int], planned: set[int]) -> int:
    while (port := find_free()) in planned:
        pass
    return port
