"""What a SurgePolicy and a SurgeOverride ask for, read from the custom resources. Pure.

The names of the fields are those of the custom resources; defaults and bounds are the schema's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tieline.operator.spec_fields import SpecFields

MAX_REPLICAS = 10_000
"""Beyond what one Deployment is known to be scaled to."""

MAX_UPSTREAMS = 32
"""A service with more callers than this is better served by a floor."""

MAX_OVERRIDE_S = 24 * 3600
"""An override is for an incident; whoever needs it for longer changes the policy."""

_NAME_LENGTH = 253
_MAX_SECONDS = 3600


class Mode(StrEnum):
    """What the operator does with its decisions."""

    ACTIVE = "Active"
    ADVISORY = "Advisory"
    """Computes and reports, writes nothing."""

    FROZEN = "Frozen"
    """Keeps the replicas as they are."""


class FallbackBehavior(StrEnum):
    """What happens while the signals are missing."""

    HOLD = "Hold"
    RAISE = "RaiseToReplicas"


class PredictionMode(StrEnum):
    """Whether the same time of earlier weeks sets a floor."""

    OFF = "Off"
    FLOOR = "Floor"


class OverrideAction(StrEnum):
    """What an override does while it lasts."""

    PIN = "Pin"
    FLOOR = "Floor"
    CEILING = "Ceiling"
    FREEZE = "Freeze"
    BLOCK_SCALE_DOWN = "BlockScaleDown"
    FORCE_SURGE = "ForceSurge"


_WITH_REPLICAS = (OverrideAction.PIN, OverrideAction.FLOOR, OverrideAction.CEILING)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one replica does."""

    requests_per_second_per_pod: int
    """First guess; what is learned stays within half and double of it."""

    target_utilization_percent: int = 80
    warmup_seconds: int = 10


@dataclass(frozen=True, slots=True)
class Surge:
    """When a service is in surge, and what it keeps ready before."""

    entry_utilization_percent: int = 90
    queue_wait_milliseconds: int = 20
    hold_seconds: int = 60
    reserve_percent: int = 0
    """Room for growth above the load of now that is kept without any forecast. A person's choice:
    to work it out of the growth seen before (a quantile by the costs of a violation and of a pod)
    paid on none of the loads that it was tried with, steps, ramps, spikes and days."""

    max_reserve_replicas: int = 20


@dataclass(frozen=True, slots=True)
class ScaleDown:
    """How slowly replicas are taken away."""

    window_seconds: int = 60
    max_window_seconds: int = 300
    max_step_percent: int = 25
    min_interval_seconds: int = 20
    deadband_percent: int = 8


@dataclass(frozen=True, slots=True)
class Upstream:
    """A service whose calls cause calls of this one."""

    name: str
    fanout_milli: int | None
    """Calls here for each thousand there; None means learned."""


@dataclass(frozen=True, slots=True)
class SurgePolicy:
    """The spec of a SurgePolicy."""

    target: str
    """Name of the Deployment."""

    service: str
    """The service's name in load reports."""

    min_replicas: int
    max_replicas: int
    capacity: Capacity
    mode: Mode = Mode.ACTIVE
    priority: int = 100
    """When the cluster is full, a larger number is served first."""

    surge: Surge = Surge()
    scale_down: ScaleDown = ScaleDown()
    prediction_mode: PredictionMode = PredictionMode.OFF
    prediction_quantile_percent: int = 80
    stale_after_seconds: int = 5
    min_coverage_percent: int = 60
    fallback_behavior: FallbackBehavior = FallbackBehavior.HOLD
    fallback_replicas: int = 0
    upstreams: tuple[Upstream, ...] = ()


@dataclass(frozen=True, slots=True)
class SurgeOverride:
    """The spec of a SurgeOverride, with its name and the time when it was made."""

    name: str
    policy: str
    action: OverrideAction
    replicas: int
    """0 for the actions that take none."""

    create_time: float
    expire_time: float
    """As asked for, at most 24 hours after it was made."""

    reason: str

    def is_active(self, now: float) -> bool:
        """Tell whether the override is in force."""
        return now < self.expire_time


def policy_from_spec(spec: Mapping[str, object]) -> SurgePolicy:
    """Read a SurgePolicy's spec; raise InvalidSpecError with every bad field."""
    fields = SpecFields(spec)
    target = _read_target(fields.nested("targetRef"))
    low = fields.integer("minReplicas", 1, MAX_REPLICAS, default=2)
    high = fields.integer("maxReplicas", 1, MAX_REPLICAS)
    if low > high and not (fields.is_refused("minReplicas") or fields.is_refused("maxReplicas")):
        fields.refuse("minReplicas", f"must not be above maxReplicas, which is {high}")
    prediction = fields.nested("prediction")
    signals = fields.nested("signals")
    fallback = fields.nested("fallback")
    behavior = fallback.choice("behavior", FallbackBehavior, FallbackBehavior.HOLD)
    policy = SurgePolicy(
        target=target,
        service=fields.text("service", 63, default=target[:63] or "-"),
        min_replicas=low,
        max_replicas=high,
        capacity=_read_capacity(fields.nested("capacity")),
        mode=fields.choice("mode", Mode, Mode.ACTIVE),
        priority=fields.integer("priority", 0, 1000, default=100),
        surge=_read_surge(fields.nested("surge")),
        scale_down=_read_scale_down(fields.nested("scaleDown")),
        prediction_mode=prediction.choice("mode", PredictionMode, PredictionMode.OFF),
        prediction_quantile_percent=prediction.integer("quantilePercent", 50, 99, default=80),
        stale_after_seconds=signals.integer("staleAfterSeconds", 3, 60, default=5),
        min_coverage_percent=signals.integer("minCoveragePercent", 10, 100, default=60),
        fallback_behavior=behavior,
        fallback_replicas=fallback.integer(
            "replicas", 1, MAX_REPLICAS, default=None if behavior is FallbackBehavior.RAISE else 1
        ),
        upstreams=_read_upstreams(fields),
    )
    for part in (prediction, signals, fallback):
        part.check()
    fields.finish()
    return policy


def override_from_spec(name: str, spec: Mapping[str, object], create_time: float) -> SurgeOverride:
    """Read a SurgeOverride's spec; raise InvalidSpecError with every bad field."""
    fields = SpecFields(spec)
    policy_ref = fields.nested("policyRef")
    action = fields.choice("action", OverrideAction)
    needs_replicas = action in _WITH_REPLICAS
    if not needs_replicas and fields.has("replicas"):
        fields.refuse("replicas", f"is not for the action {action}")
    expire_time = fields.moment("expiresAt")
    override = SurgeOverride(
        name=name,
        policy=policy_ref.text("name", _NAME_LENGTH),
        action=action,
        replicas=fields.integer("replicas", 1, MAX_REPLICAS) if needs_replicas else 0,
        create_time=create_time,
        expire_time=min(expire_time, create_time + MAX_OVERRIDE_S),
        reason=fields.text("reason", 256),
    )
    policy_ref.check()
    fields.finish()
    return override


def find_override(
    overrides: Sequence[SurgeOverride], action: OverrideAction, now: float
) -> SurgeOverride | None:
    """Return the override of an action that is in force; of several, the one made last."""
    active = [one for one in overrides if one.action is action and one.is_active(now)]
    return max(active, key=lambda one: (one.create_time, one.name), default=None)


def _read_target(fields: SpecFields) -> str:
    if fields.text("apiVersion", 63, default="apps/v1") != "apps/v1":
        fields.refuse("apiVersion", "must be apps/v1")
    if fields.text("kind", 63, default="Deployment") != "Deployment":
        fields.refuse("kind", "must be Deployment")
    name = fields.text("name", _NAME_LENGTH)
    fields.check()
    return name


def _read_capacity(fields: SpecFields) -> Capacity:
    capacity = Capacity(
        requests_per_second_per_pod=fields.integer("requestsPerSecondPerPod", 1, 100_000),
        target_utilization_percent=fields.integer("targetUtilizationPercent", 10, 95, default=80),
        warmup_seconds=fields.integer("warmupSeconds", 0, 600, default=10),
    )
    fields.check()
    return capacity


def _read_surge(fields: SpecFields) -> Surge:
    surge = Surge(
        entry_utilization_percent=fields.integer("entryUtilizationPercent", 20, 100, default=90),
        queue_wait_milliseconds=fields.integer("queueWaitMilliseconds", 1, 10_000, default=20),
        hold_seconds=fields.integer("holdSeconds", 5, _MAX_SECONDS, default=60),
        reserve_percent=fields.integer("reservePercent", 0, 900, default=0),
        max_reserve_replicas=fields.integer("maxReserveReplicas", 0, MAX_REPLICAS, default=20),
    )
    fields.check()
    return surge


def _read_scale_down(fields: SpecFields) -> ScaleDown:
    window = fields.integer("windowSeconds", 5, _MAX_SECONDS, default=60)
    max_window = fields.integer("maxWindowSeconds", 5, _MAX_SECONDS, default=max(300, window))
    if window > max_window:
        fields.refuse("windowSeconds", f"must not be above maxWindowSeconds, which is {max_window}")
    scale_down = ScaleDown(
        window_seconds=window,
        max_window_seconds=max_window,
        max_step_percent=fields.integer("maxStepPercent", 1, 100, default=25),
        min_interval_seconds=fields.integer("minIntervalSeconds", 1, _MAX_SECONDS, default=20),
        deadband_percent=fields.integer("deadbandPercent", 0, 50, default=8),
    )
    fields.check()
    return scale_down


def _read_upstreams(fields: SpecFields) -> tuple[Upstream, ...]:
    upstreams: list[Upstream] = []
    for item in fields.items("upstreams", MAX_UPSTREAMS):
        name = item.text("name", _NAME_LENGTH)
        if any(name == other.name for other in upstreams):
            item.refuse("name", "is named twice")
        upstreams.append(Upstream(name, item.optional_integer("fanoutMilli", 1, 1_000_000)))
        item.check()
    return tuple(upstreams)
