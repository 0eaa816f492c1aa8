"""Configuration: environment variables ``TIELINE_<FIELD>``, read once when a role starts.

Every service has one subclass of :class:`ServiceSettings`. A value is handed down from the
composition root; no other module reads the environment.
"""

import os
from typing import Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tieline.chassis.addresses import read_networks
from tieline.chassis.broker_tls import BrokerTls

PREFIX = "TIELINE_"

# Read by the command line, not by a role, and so no unknown settings.
COMMAND_LINE_VARIABLES = frozenset(
    {
        "TIELINE_ADMINISTRATOR_PASSWORD",
        "TIELINE_BASE_PORT",
        "TIELINE_DATA",
        "TIELINE_DATABASE_ADMIN_DSN",
        "TIELINE_NATS_ADMIN_URL",
        "TIELINE_NATS_REPLICAS",
    }
)


class SettingsError(Exception):
    """The environment does not make valid settings; the text names each variable."""


class BrokerSettings(BaseSettings):
    """How a connection to NATS is secured; whoever connects has these settings."""

    nats_tls_ca_file: str = ""
    """PEM file with the authority of NATS's certificate. Empty trusts whom the system trusts, and
    requires TLS only of a ``tls://`` URL. Like the next two it is read at each connection."""

    nats_tls_cert_file: str = ""
    """PEM file with the certificate that NATS is shown, where it asks for one; empty shows none."""

    nats_tls_key_file: str = ""
    """PEM file with its key."""

    @property
    def nats_tls(self) -> BrokerTls:
        """The three together."""
        return BrokerTls(self.nats_tls_ca_file, self.nats_tls_cert_file, self.nats_tls_key_file)

    @model_validator(mode="after")
    def _check_nats_certificate(self) -> Self:
        if bool(self.nats_tls_cert_file) != bool(self.nats_tls_key_file):
            raise ValueError(
                "TIELINE_NATS_TLS_CERT_FILE and TIELINE_NATS_TLS_KEY_FILE need each other"
            )
        return self


class ServiceSettings(BrokerSettings):
    """What every role needs. Each field's docstring gives its unit and what depends on it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        # A validation error would otherwise print every value it was given, secrets included.
        hide_input_in_errors=True,
    )

    database_dsn: SecretStr
    """PostgreSQL of the service, as its own role: ``postgresql://tieline_identity:…@host/tieline``."""

    database_pool_max_size: int = Field(default=8, ge=1, le=1000)
    """Connections per process, beside one for the outbox; the directory has six more, for searches
    and exports, messaging two, for apps' jobs and for removing what is due. Replicas times workers
    times all of them must stay under the server's ``max_connections``."""

    nats_url: SecretStr
    """NATS, as the service's own user: ``nats://identity:…@host:4222``."""

    secret_key: SecretStr = Field(min_length=32)
    """At least 32 characters, the same for all replicas of the service and for no other service.
    Keys for page tokens and for secrets at rest are derived from it."""

    grpc_host: str = "127.0.0.1"
    """Address to listen on. A pod listens on ``0.0.0.0``."""

    grpc_port: int = Field(default=7100, ge=1, le=65535)
    """TCP port of the gRPC server."""

    grpc_port_shared: bool = False
    """Whether other processes serve on the same port on purpose. `tieline serve --workers` sets it
    for its workers; without it a port that somebody listens on stops the start."""

    grpc_tls_cert_file: str = ""
    """PEM file with the server's certificate and its chain; empty serves without TLS. A replaced
    file is shown from the next connection on, and no connection ends for it."""

    grpc_tls_key_file: str = ""
    """PEM file with its key, not encrypted."""

    grpc_tls_client_ca_file: str = ""
    """PEM file of the authorities one of which must have signed a client's certificate. Empty asks
    clients for none."""

    probe_port: int = Field(default=0, ge=0, le=65535)
    """TCP port, on ``grpc_host``, of a second gRPC server that answers health checks alone and has
    no TLS, which Kubernetes' probes don't speak; 0 leaves it off."""

    agent_port: int = Field(default=0, ge=0, le=65535)
    """TCP port on which the replica tells the edge how much it can take (HAProxy's agent-check), on
    ``grpc_host``; 0 leaves it off, and the edge goes by its own settings. The workers of several
    share it, and then tell only whether they are ready."""

    trusted_proxies: str = ""
    """Networks of the proxies in front, such as ``10.0.0.0/8,fd00::/8``: a call from there comes
    from the last other address in its ``x-forwarded-for``, in the audit log, in the list of
    sessions and in the limits for failed sign-ins. Empty trusts none; behind proxies all callers
    then share the proxies' addresses, and one limit."""

    metrics_host: str = "127.0.0.1"
    """Address of the Prometheus endpoint. A pod listens on ``0.0.0.0``."""

    metrics_port: int = Field(default=0, ge=0, le=65535)
    """TCP port of the Prometheus endpoint ``/metrics``; 0 leaves it off. Worker ``i`` of several
    uses this plus ``i``."""

    otlp_endpoint: str = ""
    """Base URL of an OpenTelemetry collector (OTLP over HTTP), such as ``http://collector:4318``;
    empty sends nothing."""

    trace_sample_ratio: float = Field(default=0.01, ge=0, le=1)
    """Share of calls without an incoming trace that are traced and written to the access log."""

    log_format: Literal["auto", "json", "console"] = "auto"
    """``json`` for a cluster, ``console`` for people; ``auto`` takes console on a terminal."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""

    drain_s: float = Field(default=0.0, ge=0, le=300)
    """Seconds after SIGTERM in which calls are served as before, while probes and the edge are told
    that none should come any more: as long as it takes until that has arrived. 0 stops at once."""

    shutdown_grace_s: float = Field(default=20.0, ge=0, le=600)
    """Seconds that calls in flight may take after that. A pod's terminationGracePeriodSeconds
    must be both together plus 10."""

    default_deadline_s: float = Field(default=20.0, gt=0, le=600)
    """Seconds that a unary call may take whose caller gave no deadline."""

    admission: bool = True
    """Whether calls are refused by priority when they wait too long. Off only to measure what that
    is worth, and in `tieline up`, whose machine has other work."""

    capacity_per_s: int = Field(default=0, ge=0, le=1_000_000)
    """Calls per second that one replica does at its best; 0 where that is not known. How many may
    wait and be in flight is derived from it; load reports show what was measured
    (docs/overload.md)."""

    replica_name: str = Field(default="", max_length=253)
    """What this replica is called in its load reports; empty for the host's name. Where the surge
    operator runs it must be the pod's name, which a host's is unless the pod shares its node's
    network or process numbers: reports of others are not taken."""

    connection_age_s: float = Field(default=300.0, ge=0, le=86_400)
    """Seconds after which a client is asked to connect anew, so that it finds new replicas; 0 for
    never. Open calls and streams are not cut off."""

    slow_call_s: float = Field(default=1.0, gt=0)
    """Seconds from which on a unary call is written to the access log as slow."""

    @model_validator(mode="after")
    def _check_certificate(self) -> Self:
        if bool(self.grpc_tls_cert_file) != bool(self.grpc_tls_key_file):
            raise ValueError(
                "TIELINE_GRPC_TLS_CERT_FILE and TIELINE_GRPC_TLS_KEY_FILE need each other"
            )
        if self.grpc_tls_client_ca_file and not self.grpc_tls_cert_file:
            raise ValueError("TIELINE_GRPC_TLS_CLIENT_CA_FILE needs TIELINE_GRPC_TLS_CERT_FILE")
        return self

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, value: str) -> str:
        read_networks(value)
        return value


S = TypeVar("S", bound=BaseSettings)


def load_settings(settings_type: type[S]) -> S:
    """Read the environment, or raise one error that names every wrong variable.

    A variable with the prefix that no setting has is refused too: it is a misspelling, and ignoring
    it would run the service with a default that somebody meant to change.
    """
    # A job that migrates may share its environment with a service.
    names = settings_type.model_fields.keys() | ServiceSettings.model_fields.keys()
    fields = {f"{PREFIX}{name.upper()}" for name in names}
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith(PREFIX) and name not in fields | COMMAND_LINE_VARIABLES
    )
    if unknown:
        raise SettingsError(
            f"unknown setting {', '.join(unknown)}: remove it, or correct its name "
            "(docs/settings.md lists all of them)"
        )
    try:
        return settings_type()
    except ValidationError as error:
        raise SettingsError("; ".join(_describe(problem) for problem in error.errors())) from None


def _describe(problem: object) -> str:
    assert isinstance(problem, dict), "pydantic describes each problem as a dict"
    if not problem["loc"]:
        # Of several settings together; the text names them.
        return str(problem["msg"]).removeprefix("Value error, ")
    field = str(problem["loc"][0]).upper()
    if problem["type"] == "missing":
        return f"setting {PREFIX}{field} is missing: set the environment variable"
    message = str(problem["msg"])
    return f"setting {PREFIX}{field} is wrong: {message[0].lower()}{message[1:]}"
