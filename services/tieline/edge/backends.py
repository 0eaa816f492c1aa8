"""The parts of HAProxy's configuration that concern one service's replicas. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
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

LONG_SUFFIX = "_long"
"""Ends the name of a backend of streams and large calls."""

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
    """The calls of one service, or what stays long: its streams and its large calls."""

    service: str
    is_long: bool
    replicas: Replicas
    rooms: Mapping[int, int]
    """Calls of a class may wait for each replica while fewer than these wait already."""

    @property
    def name(self) -> str:
        """Name in the configuration."""
        return f"{self.service}{LONG_SUFFIX if self.is_long else '_calls'}"


def build_backends(settings: EdgeSettings) -> list[Backend]:
    """Return two backends for each service that has replicas."""
    rooms = {
        business_class: max(1, int(settings.edge_queue_length * share))
        for business_class, share in ROOM_SHARES.items()
    }
    return [
        Backend(service, is_long, parse_replicas(settings.replicas(service)), rooms)
        for service in SERVICES
        if settings.replicas(service)
        for is_long in (False, True)
    ]


def backend_lines(backend: Backend, settings: EdgeSettings) -> list[str]:
    """Return the section of a backend."""
    return [
        f"backend {backend.name}",
        "  balance leastconn",
        "  http-reuse always",
        *([f"  timeout server {settings.edge_stream_idle_s}s"] if backend.is_long else []),
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
    slots = settings.edge_streams if backend.is_long else settings.edge_slots
    options = (
        f"proto h2 weight 100 maxconn {slots} check inter {_CHECK_INTERVAL_MS}ms "
        f"fastinter {_CHECK_INTERVAL_MS // 2}ms downinter {_CHECK_INTERVAL_MS}ms "
        f"fall {_FAILED_CHECKS} rise 1 on-marked-down shutdown-sessions"
    )
    lines = [f"  default-server {options}"]
    asked = "long" if backend.is_long else "calls"
    for number, address in enumerate(backend.replicas.addresses, start=1):
        agent = ""
        if address.agent_port is not None:
            agent = (
                f" agent-check agent-port {address.agent_port} "
                f'agent-inter {_AGENT_INTERVAL_MS}ms agent-send "{asked} {backend.service}\\n"'
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
