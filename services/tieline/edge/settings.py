"""Settings of the edge."""

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from tieline.chassis.settings import PREFIX, BrokerSettings
from tieline.chassis.streams import SERVICES


class EdgeSettings(BrokerSettings):
    """What the edge is told. Each field's docstring gives its unit and what depends on it."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, hide_input_in_errors=True)

    edge_identity: str = ""
    """Replicas of identity: addresses with commas between them, ``10.0.0.7:7101,10.0.0.8:7101``, or
    ``dns:NAME:PORT``, a name that has an address for each replica, such as a headless service.
    ``@PORT`` behind an address is the port of the replica's agent. Empty: its methods are refused
    with UNIMPLEMENTED. The same holds for the other four."""

    edge_directory: str = ""
    """Replicas of directory."""

    edge_messaging: str = ""
    """Replicas of messaging."""

    edge_contacts: str = ""
    """Replicas of contacts."""

    edge_payments: str = ""
    """Replicas of payments."""

    edge_max_replicas: int = Field(default=64, ge=1, le=1000)
    """Replicas of one service that a ``dns:`` name may have; further ones get no calls. A DNS
    answer has room for about 500; an address that has left it keeps its place for ``drain_s`` and
    ``shutdown_grace_s`` together."""

    edge_name_servers: str = ""
    """DNS servers that are asked about ``dns:`` names, ``10.96.0.10:53`` with commas between them;
    empty takes those of ``/etc/resolv.conf``. Names are asked about as they are written: the search
    domains of that file are not tried."""

    edge_host: str = "127.0.0.1"
    """Address to listen on. A pod listens on ``0.0.0.0``."""

    edge_port: int = Field(default=7100, ge=1, le=65535)
    """TCP port that clients call."""

    edge_metrics_port: int = Field(default=0, ge=0, le=65535)
    """TCP port of HAProxy's Prometheus endpoint ``/metrics`` and of ``/healthz`` for probes, on the
    same address; 0 leaves both off."""

    edge_threads: int = Field(default=0, ge=0, le=64)
    """HAProxy's threads; 0 takes one for each core that it may use."""

    edge_run_directory: str = ""
    """Folder for the configuration and the sockets, at most 60 characters long since a socket's
    path has a bound; empty takes a temporary one. Readable by the edge's account only."""

    edge_tls_certificate: str = ""
    """PEM file with the certificate, its chain and its key; empty serves without TLS. A changed
    file is taken over within ten seconds, and no connection ends for it."""

    edge_tls_client_ca: str = ""
    """PEM file of the authorities whose client certificates are accepted."""

    edge_tls_client_certificates: Literal["off", "optional", "required"] = "off"
    """Whether clients are asked for a certificate; needs ``edge_tls_client_ca``."""

    edge_replica_tls_ca: str = ""
    """PEM file with the authority of the replicas' certificates, which must be issued for the host
    or name that the replicas are given by; empty calls them without TLS."""

    edge_replica_tls_certificate: str = ""
    """PEM file with the certificate, chain and key that replicas are shown, where they ask for one;
    needs ``edge_replica_tls_ca``."""

    edge_proxy_protocol: bool = False
    """Whether every connection begins with a PROXY protocol header, which a load balancer in front
    writes. Without such a balancer anybody could write one and choose an address."""

    edge_slots: int = Field(default=24, ge=1, le=10_000)
    """Calls at a time in one replica's hands, until its agent has answered."""

    edge_streams: int = Field(default=2000, ge=1, le=100_000)
    """Streams at a time in one replica's hands. They don't fill the slots of calls."""

    edge_large_calls: int = Field(default=50, ge=1, le=10_000)
    """Large calls at a time in one replica's hands: those whose message does not fit into the
    edge's buffer of 32 KiB. They are for callers with a token, and fill neither slots nor places of
    streams."""

    edge_large_call_timeout_s: int = Field(default=60, ge=1, le=600)
    """Seconds that a large call may take, the arrival of its message at the replica included."""

    edge_queue_length: int = Field(default=192, ge=4, le=10_000)
    """Calls that may wait for each replica: as many CRITICAL ones; of the others fewer, HIGH seven
    eighths, NORMAL a half, LOW a quarter."""

    edge_queue_time_ms: int = Field(default=100, ge=1, le=10_000)
    """Milliseconds that a call waits for a slot at most."""

    edge_call_timeout_s: int = Field(default=30, ge=1, le=600)
    """Seconds that a replica may take for a call; more than ``default_deadline_s``."""

    edge_stream_idle_s: int = Field(default=300, ge=30, le=86_400)
    """Seconds without a byte after which a stream is ended. Subscriptions beat every 15 s."""

    edge_max_message_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    """The largest request of a call; the services take no larger one."""

    edge_max_connections: int = Field(default=8000, ge=10, le=1_000_000)
    """Client connections at a time. HAProxy needs about two file descriptors for each."""

    edge_connections_per_address: int = Field(default=1000, ge=1, le=1_000_000)
    """Connections of one address at a time, and begun by it in 10 s."""

    edge_requests_per_address: int = Field(default=4000, ge=0)
    """Requests that one address may begin in ``edge_request_timeout_s``, whatever becomes of them:
    each may hold a buffer of 32 KiB for as long. Further ones are refused; 0 for no limit."""

    edge_memory_mib: int = Field(default=512, ge=64, le=1_048_576)
    """The edge's memory in MiB. Half of it is for buffers of 32 KiB: while none is left, requests
    wait for one, and connections that need one are closed. The chart takes it from the pod's
    limit."""

    edge_request_timeout_s: int = Field(default=5, ge=1, le=60)
    """Seconds that a client may take for the head of a request, and for a call's body."""

    edge_corp_calls_per_minute: int = Field(default=10_000, ge=0)
    """Calls of one method by one corp in 60 s; 0 for no limit. The open API's figure."""

    edge_corp_calls_per_hour: int = Field(default=150_000, ge=0)
    """Calls of one method by one corp in an hour; 0 for no limit. The open API's figure."""

    edge_user_calls_per_minute: int = Field(default=1000, ge=0)
    """Calls of one method by one member, customer or app in 60 s; 0 for no limit. The open API
    has figures for messages only; this stops one user from using up the corp's."""

    edge_address_calls_per_minute: int = Field(default=20_000, ge=0)
    """Calls of one method that carry or need no token, by one address in 60 s; 0 for no limit. The
    open API's figure."""

    edge_address_calls_per_hour: int = Field(default=600_000, ge=0)
    """Calls of one method that carry or need no token, by one address in an hour; 0 for no limit.
    The open API's figure."""

    edge_address_all_calls_per_minute: int = Field(default=40_000, ge=0)
    """Calls of all methods by one address in 60 s; 0 for no limit. What the open API grants to
    service providers: a whole building may have one address."""

    edge_address_failures_per_hour: int = Field(default=2000, ge=0)
    """Calls of one address in an hour that a service answered with UNAUTHENTICATED, after which
    it gets nothing until there are fewer; 0 for no limit. The open API's figure."""

    edge_limited_keys: int = Field(default=100_000, ge=100, le=10_000_000)
    """Corps and users times methods that are counted at a time; about 200 bytes each."""

    nats_url: SecretStr | None = None
    """NATS, as the edge's own user, for load reports of what was refused; none sends none."""

    log_format: Literal["auto", "json", "console"] = "auto"
    """As for the services."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """As for the services."""

    drain_s: float = Field(default=0.0, ge=0, le=300)
    """Seconds after SIGTERM in which connections and calls are taken as before, while ``/healthz``
    says that none should come any more: as long as a load balancer needs to hear. 0 stops at
    once."""

    shutdown_grace_s: float = Field(default=20.0, ge=0, le=600)
    """Seconds that calls and streams may take after that, and streams of an old configuration
    after a reload times 60. A pod's terminationGracePeriodSeconds must be both together plus
    10."""

    @model_validator(mode="after")
    def _check_client_certificates(self) -> Self:
        if self.edge_tls_client_certificates != "off" and not (
            self.edge_tls_client_ca and self.edge_tls_certificate
        ):
            raise ValueError(
                "TIELINE_EDGE_TLS_CLIENT_CERTIFICATES needs TIELINE_EDGE_TLS_CLIENT_CA and "
                "TIELINE_EDGE_TLS_CERTIFICATE"
            )
        if self.edge_replica_tls_certificate and not self.edge_replica_tls_ca:
            raise ValueError(
                "TIELINE_EDGE_REPLICA_TLS_CERTIFICATE needs TIELINE_EDGE_REPLICA_TLS_CA"
            )
        if not any(self.replicas(service) for service in SERVICES):
            raise ValueError("no service has replicas: set TIELINE_EDGE_IDENTITY and the others")
        return self

    def replicas(self, service: str) -> str:
        """Return where the service's replicas are, as the setting says it."""
        text: str = getattr(self, f"edge_{service}")
        return text
