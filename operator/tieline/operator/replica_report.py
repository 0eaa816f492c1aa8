"""What the decision knows of one replica's last second, and of the pods of a Deployment. Pure."""

from dataclasses import dataclass

CLASSES = ("critical", "high", "normal", "low")
"""Business classes, the most important first; rates by class have this order."""

CRITICAL = 0


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """One replica's newest report, as rates."""

    service: str
    replica: str
    time: float
    """When it arrived, in seconds since the epoch by the operator's clock."""

    offered_per_s: tuple[float, ...]
    """First attempts by class: the demand."""

    shed_per_s: tuple[float, ...]
    """Calls refused or expired, by class, retries included."""

    retries_per_s: float = 0.0
    served_per_s: float = 0.0
    queue_wait_s: float = 0.0
    """Mean over the last second."""

    queued: float = 0.0
    """Calls that wait for their turn."""

    cpu_ratio: float = 0.0
    """CPU seconds a second, of one core."""

    capacity_per_s: float = 0.0
    """What the replica measured itself when saturated; 0 while it has not."""

    from_edge: bool = False
    """The edge reports only what it refused for the service, and is no replica of it."""


@dataclass(frozen=True, slots=True)
class PodObservation:
    """One pod of the Deployment that is not being deleted."""

    name: str
    """As it reports."""

    create_time: float
    ready_time: float | None
    """None while the pod does not take calls."""
