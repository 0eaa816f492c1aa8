"""The parts of HAProxy's configuration that concern one service's replicas. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType

from tieline.api.common.v1.priority_pb2 import BUSINESS_CLASS_LOW
from tieline.chassis.interceptors.refusals import NEVER_RETRY, PUSHBACK_KEY
from tieline.chassis.streams import SERVICES
from tieline.edge import refusals
from tieline.edge.replicas import Address, Replicas, parse_replicas
from tieline.edge.settings import EdgeSettings

CLASSES = (1, 2, 3, 4)
"""The values of BusinessClass, the most important first."""


class Kind(StrEnum):
    """What a backend is for; ends its name."""

    CALLS = "calls"
    LARGE = "large"
    """Calls whose message does not fit into the edge's buffer, and so arrives at the replica."""

    LONG = "long"
    """Streams."""


# How much of the queue each class may fill: what matters finds room when the rest is full.
ROOM_SHARES: Mapping[int, Fraction] = MappingProxyType(
    {1: Fraction(1), 2: Fraction(7, 8), 3: Fraction(1, 2), 4: Fraction(1, 4)}
)

# How soon a dead replica gets no calls any more, and a new one its first.
_CHECK_INTERVAL_MS = 200
_FAILED_CHECKS = 2
_AGENT_INTERVAL_MS = 500


@dataclass(frozen=True, slots=True)
class Backend:
    """One kind of what one service is asked."""

    service: str
    kind: Kind
    replicas: Replicas
    rooms: Mapping[int, int]
    """Calls of a class may wait for each replica while fewer than these wait already."""

    @property
    def name(self) -> str:
        """Name in the configuration."""
        return f"{self.service}_{self.kind}"


def build_backends(settings: EdgeSettings) -> list[Backend]:
    """Return a backend of each kind for each service that has replicas."""
    rooms = {
        business_class: max(1, int(settings.edge_queue_length * share))
        for business_class, share in ROOM_SHARES.items()
    }
    return [
        Backend(service, kind, parse_replicas(settings.replicas(service)), rooms)
        for service in SERVICES
        if settings.replicas(service)
        for kind in Kind
    ]


def backend_lines(backend: Backend, settings: EdgeSettings) -> list[str]:
    """Return the section of a backend."""
    return [
        f"backend {backend.name}",
        "  balance leastconn",
        "  http-reuse always",
        *_time_lines(backend.kind, settings),
        # What waited too long: by class, since the surge operator counts it as demand.
        *(
            f"  http-after-response set-var(proc.{expired_variable(backend.service, number)}) "
            f"var(proc.{expired_variable(backend.service, number)}),add(1) "
            f"if {{ status 503 }} {{ var(txn.class) -m str {number} }}"
            for number in CLASSES
        ),
        f"  http-after-response set-header {PUSHBACK_KEY} {NEVER_RETRY} "
        f"if {{ status 503 }} {{ var(txn.class) -m str {BUSINESS_CLASS_LOW} }}",
        *_server_lines(backend, settings),
    ]


def _time_lines(kind: Kind, settings: EdgeSettings) -> list[str]:
    match kind:
        case Kind.LONG:
            return [f"  timeout server {settings.edge_stream_idle_s}s"]
        case Kind.LARGE:
            # What the sender adds does not begin the time anew: a byte now and then would hold a
            # place for ever.
            return [
                "  option independent-streams",
                f"  timeout server {settings.edge_large_call_timeout_s}s",
            ]
        case Kind.CALLS:
            return []


def refusing_lines(backend: Backend) -> list[str]:
    """Return the backends that refuse the service's calls: HAProxy counts what each was given."""
    lines = []
    for name in ("refused", "again"):
        for number in CLASSES:
            is_low = number == BUSINESS_CLASS_LOW
            overloaded = refusals.OVERLOADED_LOW if is_low else refusals.OVERLOADED
            lines += [
                f"backend {name}_{backend.service}_{number}",
                f"  http-request return status 200 {refusals.NO_REPLICA.headers()} "
                f"if {{ nbsrv({backend.name}) eq 0 }} !{{ stopping }}",
                f"  http-request return status 200 {overloaded.headers()}",
            ]
    return lines


def expired_variable(service: str, business_class: int) -> str:
    """Return the name of the process's variable that counts what waited too long."""
    return f"expired_{service}_{business_class}"


def _server_lines(backend: Backend, settings: EdgeSettings) -> list[str]:
    slots = {
        Kind.CALLS: settings.edge_slots,
        Kind.LARGE: settings.edge_large_calls,
        Kind.LONG: settings.edge_streams,
    }[backend.kind]
    options = (
        f"proto h2 weight 100 maxconn {slots} check inter {_CHECK_INTERVAL_MS}ms "
        f"fastinter {_CHECK_INTERVAL_MS // 2}ms downinter {_CHECK_INTERVAL_MS}ms "
        f"fall {_FAILED_CHECKS} rise 1 on-marked-down shutdown-sessions"
    )
    lines = [f"  default-server {options}"]
    for number, address in enumerate(backend.replicas.addresses, start=1):
        agent = ""
        question = f"{backend.kind} {backend.service}\\n"
        if address.agent_port is not None:
            agent = (
                f" agent-check agent-port {address.agent_port} "
                f'agent-inter {_AGENT_INTERVAL_MS}ms agent-send "{question}"'
            )
        where = f"{address.host}:{address.port}{agent}{_tls_options(address, settings)}"
        if backend.replicas.is_name:
            lines.append(
                f"  server-template replica {settings.edge_max_replicas} {where} "
                "resolvers names init-addr none"
            )
        else:
            lines.append(f"  server replica{number} {where}")
    return lines


def _tls_options(address: Address, settings: EdgeSettings) -> str:
    if not settings.edge_replica_tls_ca:
        return ""
    own = settings.edge_replica_tls_certificate
    # A check several times a second is a connection, and no handshake.
    return (
        f" ssl alpn h2 verify required ca-file {settings.edge_replica_tls_ca} "
        f"sni str({address.host}) verifyhost {address.host} no-check-ssl"
        f"{f' crt {own}' if own else ''}"
    )
