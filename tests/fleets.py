"""Small fleets for tests of the scaling decision: policies, pods and reports with defaults."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tieline.operator.decision_state import FleetState, ServiceDecision, ServiceInput
from tieline.operator.policy import SurgePolicy, policy_from_spec
from tieline.operator.recording import Recorder
from tieline.operator.replica_report import PodObservation, ReplicaReport
from tieline.operator.scaling_decision import decide

NOW = 1_800_000_000.0


def policy(**changes: Any) -> SurgePolicy:
    """Return a policy for replicas of 100 calls a second, 2 to 50 of them."""
    spec: dict[str, Any] = {
        "targetRef": {"name": "messaging"},
        "minReplicas": 2,
        "maxReplicas": 50,
        "capacity": {"requestsPerSecondPerPod": 100},
    }
    return policy_from_spec(spec | changes)


def pods(ready: int, starting: int = 0, *, now: float = NOW) -> tuple[PodObservation, ...]:
    """Return warm pods, and some that were just made."""
    return (
        *(PodObservation(f"pod-{index}", NOW - 100_000, NOW - 99_990) for index in range(ready)),
        *(PodObservation(f"new-{index}", now - 1, None) for index in range(starting)),
    )


def reports(
    demand_per_s: float, replicas: int, *, now: float = NOW, service: str = "messaging", **more: Any
) -> tuple[ReplicaReport, ...]:
    """Share a demand out evenly; a tenth of it is critical."""
    each = demand_per_s / replicas if replicas else 0.0
    values: dict[str, Any] = {
        "offered_per_s": (0.1 * each, 0.0, 0.9 * each, 0.0),
        "shed_per_s": (0.0, 0.0, 0.0, 0.0),
        "served_per_s": each,
    }
    return tuple(
        ReplicaReport(service, f"pod-{index}", now, **(values | more)) for index in range(replicas)
    )


def service(
    demand_per_s: float = 0.0,
    ready: int = 4,
    *,
    now: float = NOW,
    name: str = "messaging",
    starting: int = 0,
    reporting: int | None = None,
    **changes: Any,
) -> ServiceInput:
    """Return one service in one second."""
    known = {field.name for field in dataclasses.fields(ServiceInput)}
    given = {key: value for key, value in changes.items() if key in known}
    report = {key: value for key, value in changes.items() if key not in known}
    count = ready if reporting is None else reporting
    values: dict[str, Any] = {
        "policy": policy(),
        "current_replicas": ready + starting,
        "pods": pods(ready, starting, now=now),
        "reports": reports(demand_per_s, count, now=now, service=name, **report),
    }
    return ServiceInput(name=name, **(values | given))


def run(
    demands: Sequence[float],
    state: FleetState | None = None,
    *,
    start: float = NOW,
    **changes: Any,
) -> tuple[FleetState, ServiceDecision, float]:
    """Decide once a second without carrying anything out; return the last decision and its time."""
    state = state or FleetState()
    now = start
    decision: ServiceDecision | None = None
    for second, demand in enumerate(demands):
        now = start + second
        state, (decision,) = decide(state, [service(demand, now=now, **changes)], now)
    assert decision is not None, "there is at least one second"
    return state, decision, now


def record(
    folder: Path, loads: Sequence[float], *, start: float = NOW, hours: int = 72
) -> FleetState:
    """Decide once a second, and write down what an operator with a recording writes down."""
    recorder, state = Recorder(folder, hours), FleetState()
    for second, load in enumerate(loads):
        now = start + second
        given = [service(load, now=now)]
        before = state
        state, decisions = decide(before, given, now, 40)
        recorder.note(before, given, now, 40, decisions)
    recorder.close()
    return state
