"""What specs of custom resources are read as, and which are refused."""

from typing import Any

import pytest

from tieline.operator.policy import (
    MAX_OVERRIDE_S,
    Mode,
    OverrideAction,
    Upstream,
    find_override,
    override_from_spec,
    policy_from_spec,
)
from tieline.operator.spec_fields import InvalidSpecError

SMALLEST: dict[str, Any] = {
    "targetRef": {"name": "messaging"},
    "maxReplicas": 50,
    "capacity": {"requestsPerSecondPerPod": 900},
}
OVERRIDE: dict[str, Any] = {
    "policyRef": {"name": "messaging"},
    "action": "Pin",
    "replicas": 12,
    "expiresAt": "2027-01-15T12:00:00Z",
    "reason": "INC-7",
}


def test_smallest_policy_has_the_defaults_of_the_schema() -> None:
    policy = policy_from_spec(SMALLEST)

    assert (policy.service, policy.min_replicas, policy.mode) == ("messaging", 2, Mode.ACTIVE)
    assert policy.capacity.target_utilization_percent == 80
    assert policy.surge.hold_seconds == 60
    assert policy.scale_down.max_window_seconds == 300
    assert policy.stale_after_seconds == 5


def test_every_field_of_a_policy_is_read() -> None:
    policy = policy_from_spec(
        SMALLEST
        | {
            "service": "messages",
            "mode": "Advisory",
            "priority": 7,
            "surge": {"reservePercent": 30, "maxReserveReplicas": 5},
            "scaleDown": {"windowSeconds": 400},
            "prediction": {"mode": "Floor", "quantilePercent": 90},
            "signals": {"staleAfterSeconds": 9, "minCoveragePercent": 50},
            "fallback": {"behavior": "RaiseToReplicas", "replicas": 11},
            "upstreams": [{"name": "gateway", "fanoutMilli": 1500}, {"name": "messaging"}],
        }
    )

    assert (policy.service, policy.mode, policy.priority) == ("messages", Mode.ADVISORY, 7)
    assert (policy.surge.reserve_percent, policy.surge.max_reserve_replicas) == (30, 5)
    assert policy.scale_down.max_window_seconds == 400
    assert (policy.prediction_quantile_percent, policy.stale_after_seconds) == (90, 9)
    assert policy.fallback_replicas == 11
    assert policy.upstreams == (Upstream("gateway", 1500), Upstream("messaging", None))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        pytest.param({"minReplicas": 51}, "spec.minReplicas", id="min over max"),
        pytest.param({"minReplicas": 0}, "spec.minReplicas", id="no replica"),
        pytest.param({"maxReplicas": 10_001}, "spec.maxReplicas", id="one over the bound"),
        pytest.param({"maxReplicas": 2.5}, "spec.maxReplicas", id="a float"),
        pytest.param({"maxReplicas": True}, "spec.maxReplicas", id="a bool"),
        pytest.param({"mode": "Off"}, "spec.mode", id="an unknown mode"),
        pytest.param({"capacity": {}}, "spec.capacity.requestsPerSecondPerPod", id="no capacity"),
        pytest.param({"capacity": 5}, "spec.capacity", id="a number for an object"),
        pytest.param(
            {"targetRef": {"kind": "DaemonSet", "name": "a"}},
            "spec.targetRef.kind",
            id="another kind",
        ),
        pytest.param({"surge": {"holdSecs": 60}}, "spec.surge.holdSecs", id="a misspelled field"),
        pytest.param(
            {"fallback": {"behavior": "RaiseToReplicas"}},
            "spec.fallback.replicas",
            id="a fallback without replicas",
        ),
        pytest.param(
            {"upstreams": [{"name": "a"}, {"name": "a"}]},
            "spec.upstreams[1].name",
            id="an upstream twice",
        ),
        pytest.param(
            {"upstreams": [{"name": f"s{n}"} for n in range(10_000)]},
            "spec.upstreams",
            id="10,000 upstreams",
        ),
        pytest.param(
            {"scaleDown": {"windowSeconds": 301, "maxWindowSeconds": 300}},
            "spec.scaleDown.windowSeconds",
            id="a window over its maximum",
        ),
    ],
)
def test_policy_that_cannot_be_used_names_the_field(change: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        policy_from_spec(SMALLEST | change)

    assert caught.value.violations[0].path == path


def test_all_bad_fields_are_named_at_once() -> None:
    with pytest.raises(InvalidSpecError) as caught:
        policy_from_spec({"targetRef": {}, "maxReplicas": "many"})

    assert {violation.path for violation in caught.value.violations} >= {
        "spec.targetRef.name",
        "spec.maxReplicas",
        "spec.capacity.requestsPerSecondPerPod",
    }


def test_override_ends_when_it_says_but_no_later_than_a_day_after_it_was_made() -> None:
    created = 1_800_000_000.0
    override = override_from_spec("a", OVERRIDE | {"expiresAt": "2030-01-01T00:00:00Z"}, created)

    assert override.expire_time == created + MAX_OVERRIDE_S
    assert override.is_active(override.expire_time - 1)
    assert not override.is_active(override.expire_time)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        pytest.param({"expiresAt": None}, "spec.expiresAt", id="without an end"),
        pytest.param({"expiresAt": "2027-01-15T12:00:00"}, "spec.expiresAt", id="no offset"),
        pytest.param({"expiresAt": "soon"}, "spec.expiresAt", id="not a time"),
        pytest.param({"reason": ""}, "spec.reason", id="without a reason"),
        pytest.param({"replicas": None}, "spec.replicas", id="a pin without replicas"),
        pytest.param({"action": "Freeze"}, "spec.replicas", id="a freeze with replicas"),
    ],
)
def test_override_that_cannot_be_used_names_the_field(change: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        override_from_spec("a", OVERRIDE | change, 0.0)

    assert caught.value.violations[0].path == path


def test_of_two_overrides_of_an_action_the_one_made_last_holds() -> None:
    first = override_from_spec("first", OVERRIDE, 1_800_000_000.0)
    second = override_from_spec("a-second", OVERRIDE | {"replicas": 9}, 1_800_000_001.0)

    found = find_override([second, first], OverrideAction.PIN, 1_800_000_002.0)

    assert found == second
