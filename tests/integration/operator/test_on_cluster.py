"""The whole operator in this process, on a real NATS and a cluster: a fake one, or a real one.

They speak only the Kubernetes API; `make test-cluster` runs them against the cluster of KUBECONFIG.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from nats.aio.client import Client

from fakes.eventually import eventually
from fakes.kubernetes_api.deployments import build_deployment
from fakes.reporting import ReportingReplicas
from integration.operator.cluster import Cluster
from integration.operator.conftest import RunOperator
from integration.operator.test_operator import policy, window
from tieline.operator.scaler import RELIST_S

# An object that goes before its watch began is missed until the operator lists all anew.
_MISSED_S = RELIST_S + 20


async def _wait_for_replicas(cluster: Cluster, replicas: int, *, timeout_s: float = 40) -> None:
    async def is_there() -> bool:
        return await cluster.replicas() == replicas

    await eventually(is_there, timeout_s=timeout_s)


async def test_replicas_follow_the_reported_load_within_seconds_and_the_status_says_why(
    cluster: Cluster, run_on_cluster: RunOperator, replicas_broker: Client
) -> None:
    await cluster.apply(build_deployment("messaging", replicas=2))
    await cluster.apply(policy())
    load = 100.0
    reporting = ReportingReplicas(replicas_broker, "messaging")

    async def are_enough() -> bool:
        return await cluster.replicas() >= 12

    async with run_on_cluster(), reporting.reporting(cluster.ready_pods, lambda: load):
        await eventually(lambda: cluster.holds("SurgePolicy", "messaging", "SignalsHealthy"))
        load = 1000.0
        await eventually(are_enough)

        ready = await cluster.condition("SurgePolicy", "messaging", "Ready")
        assert "offered" in ready["message"]
        assert "hold 80 %" in ready["message"]


async def test_advisory_reports_and_writes_nothing(
    cluster: Cluster, run_on_cluster: RunOperator, replicas_broker: Client
) -> None:
    await cluster.apply(build_deployment("messaging", replicas=2))
    await cluster.apply(policy(mode="Advisory"))
    reporting = ReportingReplicas(replicas_broker, "messaging")

    async def are_wanted() -> bool:
        status = (await cluster.find("SurgePolicy", "messaging")).get("status") or {}
        return int(status.get("desiredReplicas", 0)) >= 12

    async with run_on_cluster(), reporting.reporting(cluster.ready_pods, lambda: 1000.0):
        await eventually(are_wanted)

    deployment = await cluster.find("Deployment", "messaging")
    assert deployment["spec"]["replicas"] == 2
    # The generation counts what was written to the spec.
    assert deployment["metadata"]["generation"] == 1


async def test_of_two_operators_one_writes_and_the_other_takes_over(
    cluster: Cluster, run_on_cluster: RunOperator
) -> None:
    await cluster.apply(build_deployment("messaging", replicas=1))
    await cluster.apply(policy())

    async def is_held_by_b() -> bool:
        return await cluster.lease_holder() == "operator-b"

    async with run_on_cluster("operator-b"):
        await eventually(is_held_by_b)
        async with run_on_cluster("operator-a"):
            await _wait_for_replicas(cluster, 2)
            assert await cluster.lease_holder() == "operator-b"
    # The block's end gave the lease up; whoever comes next need not wait for it to run out.
    assert await cluster.lease_holder() == ""
    await cluster.scale("messaging", 1)
    async with run_on_cluster("operator-a"):
        await _wait_for_replicas(cluster, 2)
        assert await cluster.lease_holder() == "operator-a"


async def test_what_can_not_be_carried_out_is_told_and_disturbs_nobody(
    cluster: Cluster, run_on_cluster: RunOperator
) -> None:
    await cluster.apply(build_deployment("messaging", replicas=1))
    await cluster.apply(policy())
    await cluster.apply(policy("second"))
    await cluster.apply(policy("nowhere", target="nothing"))
    await cluster.apply(window("never", schedule="0 0 30 2 *", durationSeconds=60, minReplicas=9))
    await cluster.apply(
        window(
            "for-nobody",
            policies=["identity"],
            schedule="30 8 * * 1",
            durationSeconds=60,
            minReplicas=9,
        )
    )

    async with run_on_cluster():
        await _wait_for_replicas(cluster, 2)
        for kind, name, reason, words in (
            ("SurgePolicy", "second", "TargetTaken", "the older policy messaging"),
            ("SurgePolicy", "nowhere", "TargetNotFound", "no Deployment nothing"),
            ("SurgeWindow", "never", "InvalidSpec", "that fires"),
            ("SurgeWindow", "for-nobody", "PolicyNotFound", "no SurgePolicy identity"),
        ):
            await eventually(lambda: cluster.condition(kind, name, "Ready"))  # noqa: B023 -- waited for
            ready = await cluster.condition(kind, name, "Ready")
            assert (ready["status"], ready["reason"]) == ("False", reason)
            assert words in ready["message"]
        assert await cluster.holds("SurgePolicy", "second", "TargetConflict")


async def test_another_autoscaler_on_the_target_is_left_alone(
    cluster: Cluster, run_on_cluster: RunOperator
) -> None:
    await cluster.apply(build_deployment("messaging", replicas=1))
    await cluster.apply(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "hpa"},
            "spec": {
                "scaleTargetRef": {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": "messaging",
                },
                "maxReplicas": 3,
            },
        }
    )
    await cluster.apply(policy())

    async with run_on_cluster():
        await eventually(lambda: cluster.holds("SurgePolicy", "messaging", "TargetConflict"))
        assert await cluster.replicas() == 1
        await cluster.delete("HorizontalPodAutoscaler", "hpa")
        await _wait_for_replicas(cluster, 2, timeout_s=_MISSED_S)


async def test_a_window_and_an_override_raise_the_floor_while_they_last(
    cluster: Cluster, run_on_cluster: RunOperator
) -> None:
    await cluster.apply(build_deployment("messaging", replicas=2))
    await cluster.apply(policy())
    await cluster.apply(
        window("now", start="2026-01-01T00:00:00Z", end="2096-01-01T00:00:00Z", minReplicas=5)
    )

    async def is_explained() -> bool:
        overridden = await cluster.condition("SurgePolicy", "messaging", "Overridden")
        return "INC-1" in overridden["message"]

    async with run_on_cluster():
        await _wait_for_replicas(cluster, 5)
        await eventually(lambda: cluster.holds("SurgeWindow", "now", "Active"))
        await cluster.apply(
            {
                "apiVersion": "scaling.tieline.dev/v1alpha1",
                "kind": "SurgeOverride",
                "metadata": {"name": "incident"},
                "spec": {
                    "policyRef": {"name": "messaging"},
                    "action": "Pin",
                    "replicas": 7,
                    "expiresAt": "2096-01-01T00:00:00Z",
                    "reason": "INC-1",
                },
            }
        )
        await _wait_for_replicas(cluster, 7)
        await eventually(is_explained)
        await eventually(lambda: cluster.holds("SurgeOverride", "incident", "Active"))


def _override(action: str, replicas: int | None = None) -> Mapping[str, Any]:
    expires = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    spec: dict[str, Any] = {
        "policyRef": {"name": "messaging"},
        "action": action,
        "expiresAt": expires.isoformat(timespec="seconds"),
        "reason": "INC-7",
    }
    return {
        "apiVersion": "scaling.tieline.dev/v1alpha1",
        "kind": "SurgeOverride",
        "metadata": {"name": action.lower()},
        "spec": spec if replicas is None else {**spec, "replicas": replicas},
    }


async def test_overrides_hold_while_they_are_there_and_let_go(
    cluster: Cluster, run_on_cluster: RunOperator, replicas_broker: Client
) -> None:
    await cluster.apply(build_deployment("messaging", replicas=6))
    quick = {"windowSeconds": 5, "maxWindowSeconds": 5, "minIntervalSeconds": 1}
    await cluster.apply(policy(scaleDown=quick, surge={"holdSeconds": 5}))
    await cluster.apply(_override("BlockScaleDown"))
    reporting = ReportingReplicas(replicas_broker, "messaging")

    async def says(words: str) -> bool:
        ready = await cluster.condition("SurgePolicy", "messaging", "Ready")
        return words in ready.get("message", "")

    async def is_seen() -> bool:
        found = await cluster.find("SurgePolicy", "messaging")
        return bool(found["status"]["observedGeneration"] == found["metadata"]["generation"])

    async with run_on_cluster(), reporting.reporting(cluster.ready_pods, lambda: 100.0):
        await eventually(lambda: says("not lowered by the override blockscaledown"))
        await cluster.apply(_override("ForceSurge"))
        await eventually(lambda: cluster.holds("SurgePolicy", "messaging", "SurgeActive"))
        await cluster.delete("SurgeOverride", "blockscaledown")
        await eventually(lambda: says("not lowered in surge: an override"))
        assert await cluster.replicas() == 6
        await cluster.apply(_override("Ceiling", 4))
        await _wait_for_replicas(cluster, 4)
        await cluster.apply(_override("Freeze"))
        await eventually(lambda: says("frozen by the override freeze: INC-7"))
        for name in ("ceiling", "forcesurge"):
            await cluster.delete("SurgeOverride", name)
        await cluster.apply(policy(minReplicas=7, scaleDown=quick, surge={"holdSeconds": 5}))
        await eventually(is_seen)
        assert await cluster.replicas() == 4
        await cluster.delete("SurgeOverride", "freeze")
        await _wait_for_replicas(cluster, 7)
