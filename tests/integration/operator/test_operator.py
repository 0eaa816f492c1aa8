"""The whole operator in this process, on a real NATS and an API server over HTTP."""

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from fakes.eventually import eventually
from fakes.kubernetes_api.deployments import DeploymentController, build_deployment
from fakes.kubernetes_api.server import KubernetesApi
from fakes.kubernetes_api.store import Object
from fakes.reporting import ReportingReplicas
from integration.operator.conftest import RunOperator
from tieline.api.common.v1 import load_report_pb2
from tieline.chassis.streams import surge_subject

SCALE = "/apis/apps/v1/namespaces/default/deployments/messaging/scale"


def policy(name: str = "messaging", target: str = "messaging", **spec: Any) -> Object:
    return {
        "apiVersion": "scaling.tieline.dev/v1alpha1",
        "kind": "SurgePolicy",
        "metadata": {"name": name},
        "spec": {
            "targetRef": {"name": target},
            "maxReplicas": 20,
            "capacity": {"requestsPerSecondPerPod": 100, "warmupSeconds": 0},
            **spec,
        },
    }


def window(name: str, **spec: Any) -> Object:
    return {
        "apiVersion": "scaling.tieline.dev/v1alpha1",
        "kind": "SurgeWindow",
        "metadata": {"name": name},
        "spec": {"policies": ["messaging"], **spec},
    }


def replicas_of(api: KubernetesApi, name: str = "messaging") -> int:
    replicas: int = api.store.find("deployments", name)["spec"]["replicas"]
    return replicas


def condition(api: KubernetesApi, kind: str, name: str, type_: str) -> Object:
    body = api.store.find(kind, name)
    conditions = body.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == type_), {})


def pod_names(api: KubernetesApi) -> Sequence[str]:
    return [pod["metadata"]["name"] for pod in api.store.list("pods", {}) if pod.get("status")]


async def test_replicas_follow_the_reported_load_within_seconds_and_the_status_says_why(
    api: KubernetesApi,
    pods: DeploymentController,
    run_operator: RunOperator,
    replicas_broker: Client,
) -> None:
    await api.store.create("deployments", build_deployment("messaging", replicas=2))
    await api.apply(policy())
    load = 100.0
    reporting = ReportingReplicas(replicas_broker, "messaging")

    async with run_operator(), reporting.reporting(lambda: pod_names(api), lambda: load):
        await eventually(
            lambda: (
                condition(api, "surgepolicies", "messaging", "SignalsHealthy").get("status")
                == "True"
            )
        )
        load = 1000.0
        await eventually(lambda: replicas_of(api) >= 12)

        ready = condition(api, "surgepolicies", "messaging", "Ready")
        assert "offered" in ready["message"]
        assert "hold 80 %" in ready["message"]


async def test_surge_and_the_time_to_capacity_reach_the_services(
    api: KubernetesApi, run_operator: RunOperator, replicas_broker: Client
) -> None:
    # No controller: the pods never become more, so that the surge lasts.
    deployment = build_deployment("messaging", replicas=2)
    await api.store.create("deployments", deployment)
    for number in range(2):
        await api.store.create("pods", ready_pod(deployment, f"messaging-{number}"))
    await api.apply(policy())
    heard: list[load_report_pb2.SurgeState] = []

    async def hear(message: Msg) -> None:
        heard.append(load_report_pb2.SurgeState.FromString(message.data))

    subscription = await replicas_broker.subscribe(surge_subject("messaging"), cb=hear)
    reporting = ReportingReplicas(replicas_broker, "messaging")
    async with (
        run_operator(),
        reporting.reporting(lambda: ["messaging-0", "messaging-1"], lambda: 1000.0),
    ):
        await eventually(lambda: heard and heard[-1].HasField("capacity_delay"))
        await eventually(
            lambda: "SurgeEntered" in [event["reason"] for event in api.store.list("events", {})]
        )
    await subscription.unsubscribe()

    assert heard[-1].service == "messaging"
    assert heard[-1].desired_replicas > heard[-1].ready_replicas == 2


async def test_advisory_reports_and_writes_nothing(
    api: KubernetesApi,
    pods: DeploymentController,
    run_operator: RunOperator,
    replicas_broker: Client,
) -> None:
    await api.store.create("deployments", build_deployment("messaging", replicas=2))
    await api.apply(policy(mode="Advisory"))
    reporting = ReportingReplicas(replicas_broker, "messaging")

    async with run_operator(), reporting.reporting(lambda: pod_names(api), lambda: 1000.0):
        await eventually(
            lambda: (
                api.store.find("surgepolicies", "messaging")
                .get("status", {})
                .get("desiredReplicas", 0)
                >= 12
            ),
        )

    assert replicas_of(api) == 2
    assert api.requests["PATCH", SCALE] == 0


async def test_of_two_operators_one_writes_and_the_other_takes_over(
    api: KubernetesApi, pods: DeploymentController, run_operator: RunOperator
) -> None:
    await api.store.create("deployments", build_deployment("messaging", replicas=1))
    await api.apply(policy())

    def holder() -> str:
        lease = api.store.objects.get(("leases", "tieline-operator"), {})
        held_by: str = lease.get("spec", {}).get("holderIdentity", "")
        return held_by

    async with run_operator("operator-b"):
        await eventually(lambda: holder() == "operator-b")
        async with run_operator("operator-a"):
            await eventually(lambda: replicas_of(api) == 2)
            assert holder() == "operator-b"
    # The block's end gave the lease up; whoever comes next need not wait for it to run out.
    assert holder() == ""
    await api.scale("messaging", 1)
    async with run_operator("operator-a"):
        await eventually(lambda: replicas_of(api) == 2)
        assert holder() == "operator-a"


async def test_what_can_not_be_carried_out_is_told_and_disturbs_nobody(
    api: KubernetesApi, pods: DeploymentController, run_operator: RunOperator
) -> None:
    await api.store.create("deployments", build_deployment("messaging", replicas=1))
    await api.apply(policy())
    await api.apply(policy("second"))
    await api.apply(policy("nowhere", target="nothing"))
    await api.apply(window("never", schedule="0 0 30 2 *", durationSeconds=60, minReplicas=9))

    async with run_operator():
        await eventually(lambda: replicas_of(api) == 2)
        for kind, name, reason, words in (
            ("surgepolicies", "second", "TargetTaken", "the older policy messaging"),
            ("surgepolicies", "nowhere", "TargetNotFound", "no Deployment nothing"),
            ("surgewindows", "never", "InvalidSpec", "that fires"),
        ):
            await eventually(partial(condition, api, kind, name, "Ready"))
            ready = condition(api, kind, name, "Ready")
            assert (ready["status"], ready["reason"]) == ("False", reason)
            assert words in ready["message"]
        taken = condition(api, "surgepolicies", "second", "TargetConflict")
        assert taken["status"] == "True"


async def test_another_autoscaler_on_the_target_is_left_alone(
    api: KubernetesApi, pods: DeploymentController, run_operator: RunOperator
) -> None:
    await api.store.create("deployments", build_deployment("messaging", replicas=1))
    await api.store.create(
        "horizontalpodautoscalers",
        {
            "metadata": {"name": "hpa"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "messaging"}},
        },
    )
    await api.apply(policy())

    async with run_operator():
        await eventually(
            lambda: (
                condition(api, "surgepolicies", "messaging", "TargetConflict").get("status")
                == "True"
            )
        )
        assert replicas_of(api) == 1
        await api.store.delete("horizontalpodautoscalers", "hpa")
        await eventually(lambda: replicas_of(api) == 2)


async def test_a_window_and_an_override_raise_the_floor_while_they_last(
    api: KubernetesApi, pods: DeploymentController, run_operator: RunOperator
) -> None:
    await api.store.create("deployments", build_deployment("messaging", replicas=2))
    await api.apply(policy())
    await api.apply(
        window("now", start="2026-01-01T00:00:00Z", end="2096-01-01T00:00:00Z", minReplicas=5)
    )

    async with run_operator():
        await eventually(lambda: replicas_of(api) == 5)
        await eventually(
            lambda: condition(api, "surgewindows", "now", "Active").get("status") == "True"
        )
        await api.apply(
            {
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
        await eventually(lambda: replicas_of(api) == 7)
        await eventually(
            lambda: "INC-1" in condition(api, "surgepolicies", "messaging", "Overridden")["message"]
        )
        await eventually(
            lambda: condition(api, "surgeoverrides", "incident", "Active").get("status") == "True"
        )


def ready_pod(deployment: Object, name: str) -> Object:
    return copy.deepcopy(
        {
            "metadata": {"name": name, "labels": deployment["spec"]["selector"]["matchLabels"]},
            "status": {
                "phase": "Running",
                "conditions": [
                    {
                        "type": "Ready",
                        "status": "True",
                        "lastTransitionTime": "2026-01-01T00:00:00Z",
                    }
                ],
            },
        }
    )
