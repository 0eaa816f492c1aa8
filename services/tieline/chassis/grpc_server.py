"""The gRPC server of a service: guarded methods, health, reflection; binding, serving, draining."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from tieline.chassis.admission.accept_pace import build_paced_server
from tieline.chassis.admission.control import AdmissionControl
from tieline.chassis.admission.measured_capacity import pending_limit
from tieline.chassis.admission.priorities import BusinessClass
from tieline.chassis.admission.queue_probe import QueueProbe
from tieline.chassis.authentication import TokenVerifier
from tieline.chassis.certificates import ServerCertificate
from tieline.chassis.health import Health
from tieline.chassis.health_servicer import HealthServicer
from tieline.chassis.interceptors.access import AccessRule, build_access_table
from tieline.chassis.interceptors.business_classes import build_class_table
from tieline.chassis.interceptors.call_interceptor import CallInterceptor
from tieline.chassis.interceptors.call_metrics import CallMetrics
from tieline.chassis.interceptors.guarded_method import CallLimits
from tieline.chassis.interceptors.tracing import CallTracing
from tieline.chassis.process import StartError
from tieline.chassis.telemetry import Telemetry

Servicer = TypeVar("Servicer")

# gRPC's own default for what is received, here for both directions: a page of 1,000 members is
# about 200 KiB. Larger things are streamed.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024

# A client that pings more often than this is told to go away; our own ping every 30 s.
MIN_PING_INTERVAL_MS = 10_000

# Finds a peer that vanished without a word (a pulled cable, a lost pod) within 40 s, and one whose
# kernel still takes what is sent (a stopped process) within 90 s. The second is gRPC's own bound:
# the answer to a ping waits behind an upload, which on a slow line is megabytes of buffers.
PING_INTERVAL_MS = 30_000
PING_TIMEOUT_MS = 10_000
PING_ANSWER_TIMEOUT_MS = 60_000

NO_CLASSES: Mapping[str, BusinessClass] = MappingProxyType({})

# Streams that end by themselves (a page of an export) get a second of the drain; subscriptions,
# which never do, then go to another replica.
STREAM_GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class Served(Generic[Servicer]):
    """One gRPC service of a server: what is generated with it, and the object that answers."""

    add_to_server: Callable[[Servicer, grpc.aio.Server], None]
    """The generated ``add_…Servicer_to_server``."""

    servicer: Servicer
    descriptor: ServiceDescriptor

    def add(self, server: grpc.aio.Server) -> None:
        """Have the server route the service's methods to the servicer."""
        self.add_to_server(self.servicer, _by_name(server))


@dataclass(frozen=True, slots=True)
class Transport:
    """What holds for connections and for calls that Python has not seen yet."""

    capacity_per_s: int = 0
    """Calls that a replica does in a second, 0 where that is not known; decides how many may wait
    in the C core."""

    limits_pending: bool = True
    """Whether the C core refuses what would wait too long."""

    max_streams: int = 1000
    """Calls and streams of one connection at a time; the client holds back what is more."""

    connection_age_s: float = 0.0
    """After it a client is asked to connect anew, and so finds new replicas; 0 for never."""

    shares_port: bool = False


@dataclass(frozen=True, slots=True)
class GuardedServer:
    """A server and what its drain needs."""

    server: grpc.aio.Server
    interceptor: CallInterceptor
    health: Health
    probe: QueueProbe


def build_server(
    services: Sequence[Served[Any]],
    *,
    verifier: TokenVerifier,
    health: Health,
    telemetry: Telemetry,
    limits: CallLimits,
    control: AdmissionControl | None = None,
    transport: Transport | None = None,
) -> GuardedServer:
    """Return a server of these services, not yet bound.

    Raises StartError when a method does not say who may call it, or how much it matters.
    """
    access: dict[str, AccessRule] = {}
    classes: dict[str, BusinessClass] = {}
    for served in services:
        access |= build_access_table(served.descriptor)
        classes |= build_class_table(served.descriptor)
    built = build_guarded_server(
        access,
        verifier=verifier,
        health=health,
        telemetry=telemetry,
        limits=limits,
        classes=classes,
        control=control,
        transport=transport,
    )
    for served in services:
        served.add(built.server)
    names = [served.descriptor.full_name for served in services]
    routed = _by_name(built.server)
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(health, names), routed)
    health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    reflection.enable_server_reflection([*names, health_name, reflection.SERVICE_NAME], routed)
    return built


def build_guarded_server(
    access: Mapping[str, AccessRule],
    *,
    verifier: TokenVerifier,
    health: Health,
    telemetry: Telemetry,
    limits: CallLimits,
    classes: Mapping[str, BusinessClass] = NO_CLASSES,
    control: AdmissionControl | None = None,
    transport: Transport | None = None,
) -> GuardedServer:
    """Return a server without services whose methods this access table opens.

    Methods that ``classes`` does not name are NORMAL. Without a ``control`` nothing is refused.
    """
    transport = transport or Transport()
    if control is None:
        capacity_per_s = transport.capacity_per_s
        control = AdmissionControl(os.urandom(32), capacity_per_s=capacity_per_s, is_on=False)
    probe = QueueProbe(control)
    metrics = CallMetrics(telemetry.meter, classes)
    telemetry.histograms.append(metrics.durations)
    interceptor = CallInterceptor(
        access=access,
        classes=classes,
        control=control,
        probe=probe,
        verifier=verifier,
        health=health,
        metrics=metrics,
        tracing=CallTracing(telemetry.tracer, limits.trace_sample_ratio),
        limits=limits,
    )
    server = build_paced_server(control.pace, [interceptor], _options(transport))
    probe.bind(server)
    return GuardedServer(server, interceptor, health, probe)


def bind(
    guarded: GuardedServer, host: str, port: int, certificate: ServerCertificate | None = None
) -> int:
    """Open the port and return it; a free one is taken for port 0. Raises StartError.

    With a certificate the port speaks TLS alone.

    The error does not tell why, since gRPC does not: ask ``check_port_is_free`` before.
    """
    try:
        if certificate is None:
            return guarded.server.add_insecure_port(_address(host, port))
        return guarded.server.add_secure_port(_address(host, port), certificate.credentials())
    except RuntimeError as error:
        raise StartError(
            f"{_address(host, port)} can't be opened: check TIELINE_GRPC_HOST and TIELINE_GRPC_PORT"
        ) from error


def check_port_is_free(host: str, port: int) -> None:
    """Raise StartError, which names the setting, when somebody listens on the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Connections of a server that ended a moment ago are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                text = f"port {port} on {host} is in use: set TIELINE_GRPC_PORT to a free one"
            else:
                text = (
                    f"port {port} on {host} can't be opened ({error.strerror}): "
                    "check TIELINE_GRPC_HOST and TIELINE_GRPC_PORT"
                )
            raise StartError(text) from error


@asynccontextmanager
async def answering_probes(
    health: Health, host: str, port: int, *, shares_port: bool = False
) -> AsyncIterator[None]:
    """Answer health checks on a port without TLS within the block; port 0 answers none."""
    if not port:
        yield
        return
    server = grpc.aio.server(options=[("grpc.so_reuseport", int(shares_port))])
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(health, []), _by_name(server))
    try:
        server.add_insecure_port(_address(host, port))
    except RuntimeError as error:
        await server.stop(None)
        raise StartError(
            f"{_address(host, port)} can't be opened: check TIELINE_PROBE_PORT"
        ) from error
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)


@asynccontextmanager
async def serving(
    guarded: GuardedServer, *, grace_s: float, drain_s: float = 0.0
) -> AsyncIterator[None]:
    """Serve within the block; then leave for ``drain_s`` seconds, and stop within ``grace_s`` more.

    Leaving: readiness goes false, and everything is served until those who send calls have heard.
    Stopping: no connection and no new call is accepted, calls in flight finish, response streams
    end, and what is not done by then is cancelled.
    """
    await guarded.server.start()
    guarded.health.mark_serving()
    try:
        async with guarded.probe.running():
            yield
            guarded.health.mark_leaving()
            await asyncio.sleep(drain_s)
    finally:
        guarded.health.mark_draining()
        stopping = asyncio.create_task(guarded.server.stop(grace_s))
        await asyncio.wait([stopping], timeout=min(STREAM_GRACE_S, grace_s))
        guarded.interceptor.end_response_streams()
        await stopping


class _ByName:
    """A server to the generated code, which finds all methods by their names as calls arrive.

    Methods that are registered beforehand have a queue each, and gRPC's loop looks at all of them
    for every call: with 80 methods that costs as much as the call itself. In one queue calls are
    also taken in the order in which they came, and the probe waits where they do.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self.add_generic_rpc_handlers = server.add_generic_rpc_handlers

    def add_registered_method_handlers(self, _service: str, _handlers: object) -> None:
        """Leave the methods to the generic handlers, which the generated code adds as well."""


def _by_name(server: grpc.aio.Server) -> grpc.aio.Server:
    return cast(grpc.aio.Server, _ByName(server))


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _options(transport: Transport) -> list[tuple[str, int]]:
    options = [
        # gRPC's default would let a second `tieline serve` silently share the port of the first.
        ("grpc.so_reuseport", int(transport.shares_port)),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", PING_INTERVAL_MS),
        ("grpc.keepalive_timeout_ms", PING_TIMEOUT_MS),
        ("grpc.http2.ping_timeout_ms", PING_ANSWER_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
        ("grpc.max_concurrent_streams", transport.max_streams),
    ]
    if transport.limits_pending:
        pending = pending_limit(transport.capacity_per_s)
        options += [
            # Between two different numbers calls would be refused by chance.
            ("grpc.server.max_pending_requests", pending),
            ("grpc.server.max_pending_requests_hard_limit", pending),
        ]
    if transport.connection_age_s:
        # gRPC spreads it by 10 % to both sides. Calls that are open then are not cut off.
        options.append(("grpc.max_connection_age_ms", int(transport.connection_age_s * 1000)))
    return options
