"""The files that tell HAProxy what to do. Pure: settings and methods in, texts out.

A request meets, in this order:

    the connection's limits         per address
    how many requests it begins     per address
    what is no gRPC request         refused
    the map of methods              its backend, class and number; an unknown method is refused
    limits (``limits``)             per address, corp and user, by what was answered before
    the queue's room for its class  refused, and counted by service and class
    the backend (``backends``)      its body arrives, it waits for a slot, it is answered
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from tieline.chassis.interceptors.call_metadata import (
    AUTHORIZATION_KEY,
    OUR_RETRY_KEY,
    RETRY_KEY,
)
from tieline.edge import limits, refusals
from tieline.edge.backends import (
    CLASSES,
    Backend,
    Kind,
    backend_lines,
    build_backends,
    expired_variable,
    refusing_lines,
)
from tieline.edge.methods import EdgeMethod
from tieline.edge.refusals import Refusal
from tieline.edge.replicas import parse_name_servers
from tieline.edge.settings import EdgeSettings

CONFIGURATION_FILE = "haproxy.cfg"
METHODS_FILE = "methods.map"
STATS_SOCKET = "stats.sock"
MASTER_SOCKET = "master.sock"
PEER_SOCKET = "peers.sock"

OWN_METRICS_PATH = "/metrics/edge"
"""Where the metrics are that HAProxy does not have."""

PRESENCE = "presence"
"""A backend with a server of that name: in maintenance once this edge is leaving."""

# The largest request head: metadata with a token of many departments.
_BUFFER_BYTES = 32 * 1024
# Half of the memory: the rest is for connections, requests without one, counters and ourselves.
_BUFFERS_PER_MIB = 1024 * 1024 // _BUFFER_BYTES // 2
# Streams of one client connection at a time; further calls wait with the client.
_STREAMS_PER_CONNECTION = 250
# Of a message: whether it is compressed, and its length.
_PREFIX_BYTES = 5
# An answer may lack an address that the next one has.
_LEAST_KEPT_S = 2
# An old worker serves its streams this many times as long as calls may take at shutdown.
_STREAM_GRACE_FACTOR = 60

# What HAProxy says by itself, by the HTTP status that it would say it with.
_OWN_ANSWERS: tuple[tuple[int, Refusal], ...] = (
    (400, refusals.MALFORMED),
    (408, refusals.TOO_SLOW),
    (413, refusals.TOO_LARGE),
    (500, refusals.REPLICA_LOST),
    (502, refusals.REPLICA_LOST),
    (503, refusals.QUEUE_TIME_PASSED),
    (504, refusals.CALL_TIMED_OUT),
)


def render(
    settings: EdgeSettings,
    methods: Sequence[EdgeMethod],
    directory: Path,
    *,
    certificate_end: datetime | None = None,
) -> Mapping[str, str]:
    """Return the files by their names. Raises AddressError for what can't be read.

    ``certificate_end`` is when the certificate that clients see expires, which metrics tell.
    """
    backends = build_backends(settings)
    sections = (
        _global_lines(settings, backends, directory),
        _defaults_lines(settings),
        _peers_lines(directory),
        _resolvers_lines(settings),
        limits.table_lines(settings),
        _metrics_lines(settings, certificate_end),
        _frontend_lines(settings, backends, directory),
        *(backend_lines(backend, settings) for backend in backends),
        *(refusing_lines(backend) for backend in backends if backend.kind is Kind.CALLS),
        *(limits.refusing_lines(limit) for limit in limits.list_limits(settings)),
    )
    text = "\n\n".join("\n".join(section) for section in sections if section) + "\n"
    return {CONFIGURATION_FILE: text, METHODS_FILE: _map_text(methods, backends)}


def _global_lines(
    settings: EdgeSettings, backends: Sequence[Backend], directory: Path
) -> list[str]:
    threads = [f"  nbthread {settings.edge_threads}"] if settings.edge_threads else []
    hard_stop_s = max(1, int(settings.shutdown_grace_s * _STREAM_GRACE_FACTOR))
    return [
        "global",
        *threads,
        "  log stdout format raw daemon notice",
        f"  maxconn {settings.edge_max_connections}",
        # Fewer files than wished for are a smaller edge, and no edge would be none.
        "  no strict-limits",
        "  localpeer edge",
        f"  stats socket {directory / STATS_SOCKET} mode 600 level admin expose-fd listeners",
        f"  hard-stop-after {hard_stop_s}s",
        f"  tune.bufsize {_BUFFER_BYTES}",
        f"  tune.buffers.limit {settings.edge_memory_mib * _BUFFERS_PER_MIB}",
        f"  tune.h2.max-concurrent-streams {_STREAMS_PER_CONNECTION}",
        "  ssl-default-bind-options ssl-min-ver TLSv1.2",
        *(
            f"  set-var proc.{expired_variable(backend.service, number)} int(0)"
            for backend in backends
            if backend.kind is Kind.CALLS
            for number in CLASSES
        ),
    ]


def _defaults_lines(settings: EdgeSettings) -> list[str]:
    return [
        "defaults",
        "  mode http",
        "  log global",
        "  option dontlog-normal",
        # Messages of a stream go out at once.
        "  option http-no-delay",
        "  timeout connect 500ms",
        "  timeout check 500ms",
        f"  timeout http-request {settings.edge_request_timeout_s}s",
        f"  timeout http-keep-alive {settings.edge_stream_idle_s}s",
        f"  timeout client {settings.edge_stream_idle_s}s",
        "  timeout client-fin 5s",
        f"  timeout server {settings.edge_call_timeout_s}s",
        f"  timeout queue {settings.edge_queue_time_ms}ms",
        # A call that met a closed port was not sent: it may go to another replica.
        "  retries 2",
        "  retry-on conn-failure",
        "  option redispatch 1",
        *(f"  http-error status {code} {refusal.headers()}" for code, refusal in _OWN_ANSWERS),
    ]


def _peers_lines(directory: Path) -> list[str]:
    """Have the worker after a reload learn the counters of the one before."""
    return ["peers edge_peers", f"  peer edge unix@{directory / PEER_SOCKET}"]


def _resolvers_lines(settings: EdgeSettings) -> list[str]:
    servers = parse_name_servers(settings.edge_name_servers)
    # A pod that is told to stop is in no answer from then on, and still has calls in hand, which
    # would end with its address.
    kept_s = max(_LEAST_KEPT_S, math.ceil(settings.drain_s + settings.shutdown_grace_s))
    return [
        "resolvers names",
        *(f"  nameserver server{number} {where}" for number, where in enumerate(servers, start=1)),
        *([] if servers else ["  parse-resolv-conf"]),
        "  accepted_payload_size 8192",
        "  timeout resolve 500ms",
        "  timeout retry 500ms",
        "  hold valid 500ms",
        f"  hold obsolete {kept_s}s",
        # A name server that is away must not take the replicas away.
        "  hold timeout 10m",
        "  hold refused 10m",
        "  hold other 10m",
    ]


def _metrics_lines(settings: EdgeSettings, certificate_end: datetime | None) -> list[str]:
    if not settings.edge_metrics_port:
        return []
    own = "# no certificate\\n"
    if certificate_end is not None:
        own = (
            "# TYPE certificate_not_after_seconds gauge\\n"
            f"certificate_not_after_seconds {certificate_end.timestamp():.0f}\\n"
        )
    return [
        "frontend metrics",
        f"  bind {settings.edge_host}:{settings.edge_metrics_port}",
        "  no log",
        "  timeout client 10s",
        "  monitor-uri /healthz",
        f"  monitor fail if {{ nbsrv({PRESENCE}) eq 0 }}",
        "  http-request use-service prometheus-exporter if { path /metrics }",
        # What HAProxy does not tell of itself. It is reloaded when the certificate changes.
        '  http-request return status 200 content-type "text/plain; version=0.0.4" '
        f'string "{own}" if {{ path {OWN_METRICS_PATH} }}',
        "  http-request deny deny_status 404",
        "",
        f"backend {PRESENCE}",
        # Nothing is sent there: whether it is in maintenance is what the probe is told.
        f"  server {PRESENCE} 127.0.0.1:1",
    ]


def _frontend_lines(
    settings: EdgeSettings, backends: Sequence[Backend], directory: Path
) -> list[str]:
    return [
        "frontend edge",
        f"  bind {settings.edge_host}:{settings.edge_port} {_bind_options(settings)}",
        "  no log",
        f"  maxconn {settings.edge_max_connections}",
        "  option forwardfor",
        *limits.connection_rules(settings),
        *limits.request_rules(settings),
        *_form_rules(directory),
        *_body_rules(settings),
        *limits.caller_rules(),
        *(
            f"  use_backend limited_{limit.name} if {limit.condition}"
            for limit in limits.list_limits(settings)
        ),
        *_room_rules(backends),
        "  use_backend %[var(txn.backend)]",
        *limits.counting_rules(),
        *_response_rules(),
    ]


def _bind_options(settings: EdgeSettings) -> str:
    # A peer that reads nothing, or is gone without a word, ends with its connection.
    options = [f"tcp-ut {settings.edge_call_timeout_s}s"]
    if settings.edge_proxy_protocol:
        options.append("accept-proxy")
    if settings.edge_tls_certificate:
        options.append(f"ssl crt {settings.edge_tls_certificate} alpn h2")
        if settings.edge_tls_client_certificates != "off":
            wanted = settings.edge_tls_client_certificates
            options.append(f"ca-file {settings.edge_tls_client_ca} verify {wanted}")
    else:
        options.append("proto h2")
    return " ".join(options)


def _form_rules(directory: Path) -> list[str]:
    methods = directory / METHODS_FILE
    return [
        f"  http-request return status 200 {refusals.MALFORMED.headers()} "
        "unless { method POST } { req.hdr(content-type) -m beg application/grpc }",
        # HAProxy reads the first, the services the last: limits would be another caller's.
        f"  http-request return status 200 {refusals.MALFORMED.headers()} "
        f"if {{ req.fhdr_cnt({AUTHORIZATION_KEY}) gt 1 }}",
        f"  http-request set-var(txn.method) path,map_str({methods})",
        f"  http-request return status 200 {refusals.UNKNOWN_METHOD.headers()} "
        "unless { var(txn.method) -m found }",
        "  http-request set-var(txn.backend) var(txn.method),field(1,:)",
        "  http-request set-var(txn.service) var(txn.method),field(2,:)",
        "  http-request set-var(txn.class) var(txn.method),field(3,:)",
        "  http-request set-var(txn.room) var(txn.method),field(4,:)",
        "  http-request set-var(txn.number) var(txn.method),field(5,:)",
        "  http-request set-var(txn.access) var(txn.method),field(6,:)",
        "  http-request set-priority-class var(txn.class)",
        # Demand is what callers want, and not how often they ask for it.
        "  http-request set-var(txn.attempt) str(refused)",
        *(
            f"  http-request set-var(txn.attempt) str(again) if {{ req.hdr({header}) -m found }}"
            for header in (RETRY_KEY, OUR_RETRY_KEY)
        ),
    ]


def _body_rules(settings: EdgeSettings) -> list[str]:
    """Have a call's message arrive before the call takes a slot: slow senders hold none.

    A message begins with a byte, compressed or not, and four bytes of its length. One that is too
    large to be waited for takes one of the few places for such, which are for callers with a token.
    """
    call = f"!{{ var(txn.backend) -m end _{Kind.LONG} }}"
    length = "req.body,bytes(1,4),be2dec(,4)"
    return [
        f"  http-request wait-for-body time {settings.edge_request_timeout_s}s if {call}",
        f"  http-request return status 200 {refusals.MALFORMED.headers()} "
        f"if {call} !{{ req.body,bytes(0,1),hex -m str 00 01 }} "
        f"or {call} {{ req.body_len lt {_PREFIX_BYTES} }}",
        f"  http-request return status 200 {refusals.TOO_LARGE.headers()} "
        f"if {call} {{ {length} -m int gt {settings.edge_max_message_bytes} }}",
        f"  http-request set-var(txn.arrived) req.body_len,sub({_PREFIX_BYTES}) if {call}",
        f"  http-request set-var-fmt(txn.backend) %[var(txn.service)]_{Kind.LARGE} "
        f"if {call} {{ {length},sub(txn.arrived) gt 0 }}",
        f"  http-request return status 200 {refusals.LARGE_WITHOUT_TOKEN.headers()} "
        f"if {{ var(txn.backend) -m end _{Kind.LARGE} }} !{{ http_auth_bearer -m found }}",
    ]


def _room_rules(backends: Sequence[Backend]) -> list[str]:
    """Refuse what finds no room in the queue, or no replica, in a backend that counts it.

    A worker that a reload has replaced says of every backend that it has no servers, and serves
    what comes on its old connections all the same.
    """
    lines = []
    for backend in backends:
        name = backend.name
        meant = f"{{ var(txn.backend) -m str {name} }}"
        lines.append(
            "  use_backend %[var(txn.attempt)]_%[var(txn.service)]_%[var(txn.class)] "
            f"if {meant} {{ nbsrv({name}) eq 0 }} !{{ stopping }} "
            f"or {meant} {{ avg_queue({name}),sub(txn.room) ge 0 }}"
        )
    return lines


def _response_rules() -> list[str]:
    return [
        # What HAProxy answers by itself is no HTTP error to gRPC, and has gRPC's content type.
        "  http-after-response set-status 200 if { res.hdr(grpc-status) -m found }",
        "  http-after-response set-header content-type application/grpc "
        "unless { res.hdr(content-type) -m found }",
    ]


def _map_text(methods: Sequence[EdgeMethod], backends: Sequence[Backend]) -> str:
    """Return a line for each method: its path, and what ``_form_rules`` read of it."""
    by_kind = {(backend.service, backend.kind): backend for backend in backends}
    lines = []
    for number, method in enumerate(methods):
        backend = by_kind.get((method.service, Kind.LONG if method.is_stream else Kind.CALLS))
        if backend is not None:
            room = backend.rooms[method.business_class]
            access = limits.ANONYMOUS if method.is_anonymous else limits.SIGNED_IN
            entry = (backend.name, method.service, method.business_class, room, number, access)
            lines.append(f"{method.path} {':'.join(map(str, entry))}")
    return "\n".join(lines) + "\n"
