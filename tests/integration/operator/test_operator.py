"""The whole operator in this process, where a test does what no cluster lets it do."""

import asyncio
import base64
import copy
import datetime as dt
import urllib.request
from collections.abc import Sequence
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from fakes.eventually import eventually
from fakes.kubernetes_api.deployments import DeploymentController, build_deployment
from fakes.kubernetes_api.server import KubernetesApi
from fakes.kubernetes_api.store import Object
from fakes.reporting import ReportingReplicas
from integration.operator.conftest import RunOperator
from tieline.api.common.v1 import load_report_pb2
from tieline.chassis.streams import load_subject, surge_subject
from tieline.embedded.ports import find_free_port
from tieline.operator import foreign_writes, memory_keeper
from tieline.operator.capacity import Learned
from tieline.operator.decision_state import ServiceState
from tieline.operator.memory import pack, remember, unpack
from tieline.operator.season import SLOTS, Season

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


def is_healthy(api: KubernetesApi) -> bool:
    return bool(
        condition(api, "surgepolicies", "messaging", "SignalsHealthy").get("status") == "True"
    )


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        page: bytes = response.read()
        return page.decode()


def pod_names(api: KubernetesApi) -> Sequence[str]:
    return [pod["metadata"]["name"] for pod in api.store.list("pods", {}) if pod.get("status")]


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


async def test_flood_of_garbage_and_of_invented_replicas_changes_nothing(
    api: KubernetesApi,
    pods: DeploymentController,
    run_operator: RunOperator,
    replicas_broker: Client,
) -> None:
    await api.store.create("deployments", build_deployment("messaging", replicas=2))
    await api.apply(policy())
    port, load = find_free_port(), 100.0
    invented = [f"messaging-{n}" for n in range(6000)]
    reporting = ReportingReplicas(replicas_broker, "messaging")
    liar = ReportingReplicas(replicas_broker, "messaging")

    async def refused() -> float:
        page = await asyncio.to_thread(scrape, port)
        values = (line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
        return sum(float(v) for name, v in values if name.startswith("operator_reports_refused"))

    async with (
        run_operator(metrics_port=port),
        reporting.reporting(lambda: pod_names(api), lambda: load),
    ):
        await eventually(lambda: is_healthy(api))
        # Two of each, so that they would have rates.
        for _ in range(2):
            await liar.report(invented, 1_000_000.0)
        for name in (*pod_names(api), "x"):
            for garbage in (b"", b"\xff" * 1000, b"{}"):
                await replicas_broker.publish(load_subject("messaging", name), garbage)
        await replicas_broker.flush()

        async def is_over() -> bool:
            return await refused() >= 2 * len(invented)

        await eventually(is_over)
        assert replicas_of(api) == 2
        assert is_healthy(api)
        load = 1000.0
        await eventually(lambda: replicas_of(api) >= 12)
        assert replicas_of(api) < 20


async def test_hand_that_keeps_setting_the_replicas_is_left_to_it_until_it_rests(
    api: KubernetesApi, run_operator: RunOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.store.create("deployments", build_deployment("messaging", replicas=1))
    await api.apply(policy(minReplicas=4))

    def is_in_conflict() -> bool:
        found = condition(api, "surgepolicies", "messaging", "TargetConflict")
        return bool(found.get("status") == "True")

    def told() -> set[str]:
        return {event["reason"] for event in api.store.list("events", {})}

    async with run_operator():
        for _ in range(foreign_writes.MAX_FOREIGN_WRITES):
            await eventually(lambda: replicas_of(api) == 4)
            await api.scale("messaging", 1)
        await eventually(is_in_conflict)
        await eventually(lambda: "TargetConflict" in told())
        assert replicas_of(api) == 1
        # It rests for as long as it takes.
        monkeypatch.setattr(foreign_writes, "WINDOW_S", 0.0)
        await eventually(lambda: replicas_of(api) == 4)
        await eventually(lambda: not is_in_conflict())
        await eventually(lambda: "TargetConflictResolved" in told())


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


async def test_what_was_learned_outlives_the_operator(
    api: KubernetesApi, run_operator: RunOperator
) -> None:
    state = ServiceState(learned=Learned(80.0, (42.0,)), season=Season(1, 2.0, ((5.0,),) * SLOTS))
    stored = {"messaging": pack({"m": remember(state, "messaging")}, ())["m"], "contacts": b"?"}
    await api.store.create("deployments", build_deployment("messaging", replicas=2))
    await api.store.create("deployments", build_deployment("contacts", replicas=2))
    await api.apply(policy())
    await api.apply(policy("contacts", target="contacts"))
    await api.store.create(
        "configmaps",
        {
            "metadata": {"name": "tieline-operator-memory", "labels": {"of": "the chart"}},
            "binaryData": {key: base64.b64encode(data).decode() for key, data in stored.items()},
        },
    )

    def start_ms(name: str) -> int:
        status = api.store.find("surgepolicies", name).get("status", {})
        return int(status.get("learned", {}).get("startP90Milliseconds", 0))

    # The second one reads what the first one wrote when it was told to stop.
    for name in ("operator-a", "operator-b"):
        async with run_operator(name):
            await eventually(
                lambda: (start_ms("messaging"), start_ms("contacts")) == (42_000, 10_000)
            )
        await api.store.delete("surgepolicies", "messaging")
        await api.apply(policy())

    kept = api.store.find("configmaps", "tieline-operator-memory")
    assert kept["metadata"]["labels"] == {"of": "the chart"}
    read = {key: unpack(base64.b64decode(text)) for key, text in kept["binaryData"].items()}
    assert read["messaging"].season.weeks == state.season.weeks
    assert read["contacts"].starts_s == ()


async def test_without_a_place_for_it_one_is_made(
    api: KubernetesApi, run_operator: RunOperator
) -> None:
    await api.store.create("deployments", build_deployment("messaging", replicas=2))
    await api.apply(policy())

    async with run_operator():
        await eventually(lambda: condition(api, "surgepolicies", "messaging", "Ready"))

    assert api.store.find("configmaps", "tieline-operator-memory")["binaryData"].keys() == {
        "messaging"
    }


async def test_place_that_may_not_be_made_is_asked_for_by_an_event_until_it_is_there(
    api: KubernetesApi,
    run_operator: RunOperator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(memory_keeper, "FIRST_SAVE_S", 3.0)
    await api.store.create("deployments", build_deployment("messaging", replicas=2))
    await api.apply(policy())
    maps = "/api/v1/namespaces/default/configmaps"
    api.faults.status_of = lambda method, path: 403 if (method, path) == ("POST", maps) else 0

    def told() -> list[str]:
        events = api.store.list("events", {})
        return [each["message"] for each in events if each["reason"] == "MemoryNotKept"]

    async with run_operator():
        await eventually(told)
        await api.store.create("configmaps", {"metadata": {"name": "tieline-operator-memory"}})

    way_out = "kubectl -n default create configmap tieline-operator-memory"
    assert way_out in told()[0]
    assert way_out in caplog.text
    assert api.store.find("configmaps", "tieline-operator-memory")["binaryData"].keys() == {
        "messaging"
    }


async def test_window_made_after_its_lead_began_says_that_it_multiplies_nothing(
    api: KubernetesApi, run_operator: RunOperator
) -> None:
    now = dt.datetime.now(dt.UTC)
    times = {
        "start": (now - dt.timedelta(minutes=5)).isoformat(timespec="seconds"),
        "end": (now + dt.timedelta(minutes=5)).isoformat(timespec="seconds"),
    }
    await api.store.create("deployments", build_deployment("messaging", replicas=2))
    await api.apply(policy())
    await api.apply(window("late", multiplierPercent=1000, **times))

    def reason() -> str:
        return str(condition(api, "surgewindows", "late", "Ready").get("reason"))

    async with run_operator():
        await eventually(lambda: reason() == "NoBaseline")
        assert "what messaging wanted" in condition(api, "surgewindows", "late", "Ready")["message"]
        assert replicas_of(api) == 2
        # In its place one with a number, at once.
        await api.store.delete("surgewindows", "late")
        await api.apply(window("late", minReplicas=7, **times))
        await eventually(lambda: replicas_of(api) == 7)
        await eventually(lambda: reason() == "Read")
