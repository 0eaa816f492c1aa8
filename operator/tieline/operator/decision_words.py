"""What a decision says to people: conditions, events, and its reason in one line. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from tieline.operator.policy import Mode

_MIN_SLOPE_OF_LEVEL = 0.002
"""A slope below this part of the level a second is not worth a word."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of the status, without its bookkeeping."""

    type: str
    status: str
    """True, False or Unknown."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes event to be posted."""

    reason: str
    is_warning: bool
    message: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the conditions are made of."""

    mode: Mode
    problem: str
    is_capped_by_reporters: bool
    conflict: str
    limited_by: str
    surge_cause: str
    """Empty outside of surge."""

    utilization: float
    missing_upstreams: tuple[str, ...]
    overrides: tuple[str, ...]
    """The overrides in force, in words."""

    current: int
    replicas: int
    reason: str


def load_words(level: float, slope: float) -> str:
    """Say what is offered: ``offered 9,400/s rising 1,200/s²``."""
    words = f"offered {level:,.0f}/s"
    if slope > _MIN_SLOPE_OF_LEVEL * max(level, 1.0):
        words += f" rising {slope:,.0f}/s²" if slope >= 1 else f" rising {slope:.1f}/s²"
    return words


def limit_words(limited_by: str, limit: int) -> str:
    """Say what keeps the replicas from what is needed."""
    return f"limited by {limited_by} {limit:,}" if limited_by else ""


def join_words(parts: Sequence[str]) -> str:
    """Put the parts of a reason together."""
    return "; ".join(part for part in parts if part)


def build_conditions(facts: Facts) -> tuple[Condition, ...]:
    """Return every condition that a SurgePolicy has, always in the same order."""
    return (
        _ready(facts),
        _signals_healthy(facts),
        _scaling_active(facts),
        _flag(
            "ScalingLimited",
            "Limited" if facts.limited_by else "WithinLimits",
            f"limited by {facts.limited_by}" if facts.limited_by else "",
        ),
        _flag("SurgeActive", "Surge" if facts.surge_cause else "Calm", facts.surge_cause),
        _flag(
            "Overloaded",
            "Full" if facts.utilization >= 1 else "HasRoom",
            f"offered {facts.utilization:.0%} of what the replicas do"
            if facts.utilization >= 1
            else "",
        ),
        _flag("TargetConflict", "OtherScaler" if facts.conflict else "None", facts.conflict),
        _flag(
            "Overridden",
            "Override" if facts.overrides else "NoOverride",
            ", ".join(facts.overrides),
        ),
        _upstreams_known(facts),
    )


def build_events(
    conditions: Sequence[Condition], before: Sequence[tuple[str, str]]
) -> tuple[Event, ...]:
    """Return the events of conditions that changed; ``before`` are their types and statuses."""
    known = dict(before)
    events = []
    for condition in conditions:
        kind = _EVENTS.get((condition.type, condition.status))
        was = known.get(condition.type, _CALM.get(condition.type, condition.status))
        if kind is None or was == condition.status:
            continue
        reason, is_warning = kind
        events.append(Event(reason, is_warning, condition.message))
    return tuple(events)


_EVENTS = {
    ("SurgeActive", "True"): ("SurgeEntered", True),
    ("SurgeActive", "False"): ("SurgeLeft", False),
    ("ScalingLimited", "True"): ("ScalingLimited", True),
    ("TargetConflict", "True"): ("TargetConflict", True),
    ("TargetConflict", "False"): ("TargetConflictResolved", False),
    ("SignalsHealthy", "False"): ("SignalsUntrusted", True),
    ("SignalsHealthy", "True"): ("SignalsRecovered", False),
    ("UpstreamsKnown", "False"): ("UpstreamNotFound", True),
    ("Overridden", "True"): ("Overridden", False),
    ("Overridden", "False"): ("OverrideEnded", False),
}

_CALM = {
    "SurgeActive": "False",
    "ScalingLimited": "False",
    "TargetConflict": "False",
    "SignalsHealthy": "True",
    "Overridden": "False",
    "UpstreamsKnown": "True",
}
"""What a policy is taken for before its first decision."""


def _ready(facts: Facts) -> Condition:
    if facts.conflict:
        return Condition("Ready", "False", "TargetConflict", facts.conflict)
    if facts.problem:
        return Condition("Ready", "False", "SignalsUntrusted", facts.problem)
    return Condition("Ready", "True", "Deciding", facts.reason)


def _signals_healthy(facts: Facts) -> Condition:
    if facts.problem:
        text = f"{facts.problem}: replicas are raised but not lowered"
        return Condition("SignalsHealthy", "False", "Untrusted", text)
    if facts.is_capped_by_reporters:
        return Condition("SignalsHealthy", "True", "OneReplica", "one replica alone reports")
    return Condition("SignalsHealthy", "True", "Fresh", "the replicas report")


def _scaling_active(facts: Facts) -> Condition:
    if facts.conflict:
        return Condition("ScalingActive", "False", "TargetConflict", facts.conflict)
    if facts.mode is Mode.ADVISORY:
        text = f"would set {facts.replicas:,} replicas: {facts.reason}"
        return Condition("ScalingActive", "False", "Advisory", text)
    if facts.mode is Mode.FROZEN:
        return Condition("ScalingActive", "False", "Frozen", f"keeps {facts.current:,} replicas")
    return Condition("ScalingActive", "True", "Active", facts.reason)


def _upstreams_known(facts: Facts) -> Condition:
    if facts.missing_upstreams:
        names = ", ".join(facts.missing_upstreams)
        text = f"no SurgePolicy of {names} is carried out: what it causes is seen when it is here"
        return Condition("UpstreamsKnown", "False", "UpstreamNotFound", text)
    return Condition("UpstreamsKnown", "True", "Known", "every upstream has a policy")


def _flag(kind: str, reason: str, message: str) -> Condition:
    texts = {
        "ScalingLimited": "nothing limits the replicas",
        "SurgeActive": "no surge",
        "Overloaded": "the replicas have room",
        "TargetConflict": "no other scaler was seen",
        "Overridden": "no override is in force",
    }
    return Condition(kind, "True" if message else "False", reason, message or texts[kind])
