"""What every simulated autoscaler sees and answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tieline.operator.simulator.cluster_model import Deployment
from tieline.operator.simulator.requests import ServiceModel, ServiceSecond


@dataclass(frozen=True, slots=True)
class Observed:
    """One service after one second."""

    service: ServiceModel
    deployment: Deployment
    second: ServiceSecond


@dataclass(frozen=True, slots=True)
class Floor:
    """A peak that is known before: KEDA's cron trigger, and our window."""

    start: float
    end: float
    replicas: int
    lead_s: int


class Scaler(Protocol):
    """Sets the replicas of all services, once a second at most."""

    def scale(self, services: Sequence[Observed], now: float) -> dict[str, int]:
        """Return the replicas to set, by service; services that stay are left out."""
        ...
