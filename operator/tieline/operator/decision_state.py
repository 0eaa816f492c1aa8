"""What goes into the decision of one second, what it remembers, and what comes out. Pure."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from tieline.operator.capacity import Learned
from tieline.operator.decision_words import Condition, Event
from tieline.operator.estimator import Estimate
from tieline.operator.floors import Baseline, Recommendation
from tieline.operator.policy import SurgeOverride, SurgePolicy
from tieline.operator.replica_report import PodObservation, ReplicaReport
from tieline.operator.replica_steps import StepState
from tieline.operator.season import Season
from tieline.operator.surge_state import SurgeState
from tieline.operator.windows import SurgeWindow


@dataclass(frozen=True, slots=True)
class ServiceInput:
    """What is observed of one policy and its Deployment."""

    name: str
    """Of the SurgePolicy."""

    policy: SurgePolicy
    current_replicas: int
    """As the Deployment's spec says, or what was written and is not shown yet."""

    pods: tuple[PodObservation, ...] = ()
    reports: tuple[ReplicaReport, ...] = ()
    windows: tuple[SurgeWindow, ...] = ()
    """Those that are meant for this policy."""

    overrides: tuple[SurgeOverride, ...] = ()
    conflict: str = ""
    """Who else scales the Deployment, in words; empty if nobody."""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What is remembered of one policy from second to second."""

    time: float = 0.0
    estimate: Estimate = dataclasses.field(default_factory=Estimate)
    learned: Learned = dataclasses.field(default_factory=Learned)
    surge: SurgeState = dataclasses.field(default_factory=SurgeState)
    steps: StepState = dataclasses.field(default_factory=StepState)
    season: Season = dataclasses.field(default_factory=Season)
    fanouts: tuple[tuple[str, float], ...] = ()
    baselines: tuple[Baseline, ...] = ()
    statuses: tuple[tuple[str, str], ...] = ()
    """Types and statuses of the last conditions."""


@dataclass(frozen=True, slots=True)
class FleetState:
    """What is remembered of all policies; `state_json` writes and reads it."""

    services: Mapping[str, ServiceState] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServiceDecision:
    """What is decided for one policy."""

    name: str
    replicas: int
    is_write: bool
    """Whether the Deployment's scale is to be set."""

    current_replicas: int
    ready_replicas: int
    recommendations: tuple[Recommendation, ...]
    won: str
    """The source of the recommendation that decided."""

    limited_by: str
    reason: str
    in_surge: bool
    capacity_delay_s: float
    """Until all wanted replicas are expected to take calls; 0 when they do."""

    demand_per_s: float
    shed_per_s: tuple[float, ...]
    """Calls refused or expired, by class."""

    coverage: float
    """Replicas that report, as a part of those that are ready."""

    learned_capacity_per_s: float
    start_lead_s: float
    windows_without_baseline: tuple[str, ...]
    """Windows in force that multiply nothing: what was wanted before them is not known."""

    conditions: tuple[Condition, ...]
    events: tuple[Event, ...]

    def holds(self, kind: str) -> bool:
        """Tell whether a condition is true."""
        return any(one.type == kind and one.status == "True" for one in self.conditions)
