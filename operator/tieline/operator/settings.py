"""Settings of the surge operator."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from tieline.chassis.settings import PREFIX, BrokerSettings


class OperatorSettings(BrokerSettings):
    """What the operator needs. It has no database and serves no calls."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        hide_input_in_errors=True,
    )

    nats_url: SecretStr
    """NATS, as the user ``operator``: ``nats://operator:…@host:4222``."""

    namespace: str = Field(default="default", min_length=1, max_length=63)
    """The one namespace whose custom resources are followed and whose Deployments are scaled."""

    lease_name: str = Field(default="tieline-operator", min_length=1, max_length=253)
    """Lease of the namespace; of several operators with the same name one writes."""

    replica_name: str = Field(default="", max_length=253)
    """Names this operator in the lease; empty for the host name, which in a pod is the pod's."""

    cluster_room_pods: int = Field(default=0, ge=0, le=100_000)
    """How many pods of all policies the cluster holds together; what is above is shared by
    priority. 0 for no bound. Given, and not worked out: what nodes hold and what a node autoscaler
    may add is told to cluster-wide rights only, and the operator has those of one namespace."""

    recording_directory: Path | None = None
    """Folder in which each second's input is recorded, for `tieline operator simulate --recording`;
    unset, nothing is recorded. Some kilobytes a second for fifty replicas."""

    recording_hours: int = Field(default=72, ge=1, le=24 * 31)
    """How long recorded seconds are kept."""

    probe_port: int = Field(default=0, ge=0, le=65535)
    """TCP port of the probes, on every address; 0 leaves them off. ``/healthz`` is 503 while ticks
    stay away for 15 s or the event loop is 10 s late, ``/readyz`` also while nothing was seen of a
    kind of objects for 150 s; the body tells all ages."""

    metrics_host: str = "127.0.0.1"
    """Address of the Prometheus endpoint. A pod listens on ``0.0.0.0``."""

    metrics_port: int = Field(default=0, ge=0, le=65535)
    """TCP port of the Prometheus endpoint ``/metrics``; 0 leaves it off."""

    otlp_endpoint: str = ""
    """Base URL of an OpenTelemetry collector (OTLP over HTTP); empty sends nothing."""

    log_format: Literal["auto", "json", "console"] = "auto"
    """``json`` for a cluster, ``console`` for people; ``auto`` takes console on a terminal."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""
