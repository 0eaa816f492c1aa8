"""What the status of a custom resource says, and when it is worth a write. Pure."""

from collections.abc import Mapping, Sequence

from tieline.operator.decision_state import ServiceDecision
from tieline.operator.decision_words import Condition
from tieline.operator.fleet import PolicyView, Trouble
from tieline.operator.read_objects import Read
from tieline.operator.resources import Body, list_in, write_time
from tieline.operator.windows import Occurrence, WindowPhase

WRITE_INTERVAL_S = 10.0
"""Figures alone are written at most this often; a condition that changes is written at once."""

MAX_MESSAGE_CHARACTERS = 1024

_UNDECIDED = ("ScalingLimited", "SurgeActive", "Overloaded", "Overridden", "UpstreamsKnown")


def build_policy_status(
    view: PolicyView, decision: ServiceDecision, last_scale_time: float | None, now: float
) -> dict[str, object]:
    """Return the status of a policy that is carried out."""
    status: dict[str, object] = {
        "observedGeneration": view.meta.generation,
        "desiredReplicas": decision.replicas,
        "currentReplicas": decision.current_replicas,
        "readyReplicas": decision.ready_replicas,
        "limitedBy": decision.limited_by,
        "recommendations": [
            {"source": each.source, "replicas": each.replicas} for each in decision.recommendations
        ],
        "learned": {
            "capacityMilli": round(decision.learned_capacity_per_s * 1000),
            "startP90Milliseconds": round(decision.start_lead_s * 1000),
        },
        "conditions": build_conditions(view.meta.generation, view.status, decision.conditions, now),
    }
    if last_scale_time is not None:
        status["lastScaleTime"] = write_time(last_scale_time)
    return status


def build_trouble_status(view: PolicyView, trouble: Trouble, now: float) -> dict[str, object]:
    """Return the status of a policy that can't be carried out: why, and nothing else is known."""
    conflict = (
        Condition("TargetConflict", "True", trouble.reason, trouble.message)
        if trouble.is_conflict
        else Condition("TargetConflict", "False", "None", "")
    )
    conditions = [
        Condition("Ready", "False", trouble.reason, trouble.message),
        Condition("SignalsHealthy", "Unknown", trouble.reason, ""),
        Condition("ScalingActive", "False", trouble.reason, trouble.message),
        *(Condition(kind, "Unknown", trouble.reason, "") for kind in _UNDECIDED),
        conflict,
    ]
    return {
        "observedGeneration": view.meta.generation,
        # A merge keeps what is not named.
        "desiredReplicas": None,
        "currentReplicas": None,
        "readyReplicas": None,
        "limitedBy": None,
        "recommendations": None,
        "learned": None,
        "conditions": build_conditions(view.meta.generation, view.status, conditions, now),
    }


def build_window_status(
    read: Read, occurrence: Occurrence | None, trouble: Trouble | None, now: float
) -> dict[str, object]:
    """Return the status of a window; ``occurrence`` is None for one that could not be read.

    ``trouble`` is why it does not do all that it asks for.
    """
    ready = _readable(read)
    if trouble is not None:
        ready = Condition("Ready", "False", trouble.reason, trouble.message)
    if occurrence is None:
        phases = [Condition(phase, "Unknown", ready.reason, "") for phase in WindowPhase]
        times: dict[str, object] = {"nextStartTime": None, "nextEndTime": None}
    else:
        phases = [
            Condition(phase, "True" if phase is occurrence.phase else "False", str(phase), "")
            for phase in WindowPhase
        ]
        times = {
            "nextStartTime": write_time(occurrence.start_time),
            "nextEndTime": write_time(occurrence.end_time),
        }
    conditions = build_conditions(read.meta.generation, read.status, [ready, *phases], now)
    return {"observedGeneration": read.meta.generation, **times, "conditions": conditions}


def build_override_status(read: Read, *, has_policy: bool, now: float) -> dict[str, object]:
    """Return the status of an override."""
    override = read.override
    ready = _readable(read)
    if override is None:
        phases = [Condition(kind, "Unknown", ready.reason, "") for kind in ("Active", "Expired")]
        times: dict[str, object] = {"expireTime": None}
    else:
        if not has_policy:
            text = f"there is no SurgePolicy {override.policy} in the namespace"
            ready = Condition("Ready", "False", "PolicyNotFound", text)
        is_active = override.is_active(now)
        phases = [
            _flag("Active", is_active and has_policy, override.reason),
            _flag("Expired", not is_active, ""),
        ]
        times = {"expireTime": write_time(override.expire_time)}
    conditions = build_conditions(read.meta.generation, read.status, [ready, *phases], now)
    return {"observedGeneration": read.meta.generation, **times, "conditions": conditions}


def build_conditions(
    generation: int, before: Body, conditions: Sequence[Condition], now: float
) -> list[dict[str, object]]:
    """Return conditions as the API keeps them: their time is that of the last change of status."""
    known = {each.get("type"): each for each in list_in(before, "conditions")}
    built = []
    for condition in conditions:
        old = known.get(condition.type, {})
        time = old.get("lastTransitionTime") if old.get("status") == condition.status else None
        built.append(
            {
                "type": str(condition.type),
                "status": condition.status,
                "observedGeneration": generation,
                "reason": condition.reason,
                "message": condition.message[:MAX_MESSAGE_CHARACTERS],
                "lastTransitionTime": time or write_time(now),
            }
        )
    return built


def is_worth_writing(
    before: Body, after: Mapping[str, object], last_write_time: float, now: float
) -> bool:
    """Tell whether a status is to be written: conditions at once, figures now and then."""
    if _gist(before) != _gist(after):
        return True
    # A write after now is one of before the clock was set back.
    if 0 <= now - last_write_time < WRITE_INTERVAL_S:
        return False
    return any(before.get(name) != value for name, value in after.items())


def _gist(status: Body) -> object:
    """What is written at once: which conditions hold, and why, of which spec."""
    return (
        status.get("observedGeneration"),
        [
            (each.get("type"), each.get("status"), each.get("reason"))
            for each in list_in(status, "conditions")
        ],
    )


def _readable(read: Read) -> Condition:
    if read.problem:
        return Condition("Ready", "False", "InvalidSpec", read.problem)
    return Condition("Ready", "True", "Read", "")


def _flag(kind: str, holds: bool, message: str) -> Condition:
    return Condition(kind, "True" if holds else "False", kind if holds else f"Not{kind}", message)
