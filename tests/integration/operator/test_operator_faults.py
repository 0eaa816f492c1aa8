"""The operator while the API misbehaves: what is missed is made up for, and nothing is undone."""

import copy
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from engines import Engine, build_nats, connected
from fakes.eventually import eventually
from fakes.kubernetes_api.definitions import Definition
from fakes.kubernetes_api.deployments import DeploymentController, build_deployment
from fakes.kubernetes_api.server import KubernetesApi
from fakes.reporting import ReportingReplicas
from integration.operator.conftest import RunOperator
from integration.operator.test_operator import SCALE, condition, pod_names, policy, replicas_of
from tieline.chassis import streams
from tieline.chassis.process import StartError
from tieline.embedded.nats import EmbeddedNats
from tieline.operator import handlers
from tieline.operator.app import role
from tieline.operator.settings import OperatorSettings

STATUS = "/status"
OUTAGE_S = 60.0
POLICIES = "/apis/scaling.tieline.dev/v1alpha1/namespaces/default/surgepolicies"


async def _raise_minimum(api: KubernetesApi, replicas: int) -> None:
    await api.apply(policy(minReplicas=replicas))
    await eventually(lambda: replicas_of(api) == replicas)


async def test_watches_that_break_and_history_that_is_gone_lose_nothing(
    api: KubernetesApi, pods: DeploymentController, run_operator: RunOperator
) -> None:
    await api.store.create("deployments", build_deployment("messaging", replicas=1))
    await api.apply(policy())

    async with run_operator():
        await eventually(lambda: replicas_of(api) == 2)
        api.drop_watches()
        await _raise_minimum(api, 3)
        await api.store.compact()
        api.drop_watches()
        await _raise_minimum(api, 4)


async def test_api_that_is_away_is_waited_for_and_the_newest_decision_is_written(
    api: KubernetesApi, pods: DeploymentController, run_operator: RunOperator
) -> None:
    await api.store.create("deployments", build_deployment("messaging", replicas=1))
    await api.apply(policy())

    async with run_operator():
        await eventually(lambda: replicas_of(api) == 2)
        await api.stop()
        await api.scale("messaging", 1)
        await api.start()
        await eventually(lambda: replicas_of(api) == 2, timeout_s=25)


async def test_api_that_answers_nothing_but_errors_for_long_is_followed_again(
    api: KubernetesApi,
    pods: DeploymentController,
    run_operator: RunOperator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handlers, "_RETRY_DELAYS_S", (0.05,))
    await api.store.create("deployments", build_deployment("messaging", replicas=1))
    await api.apply(policy())

    async with run_operator():
        await eventually(lambda: replicas_of(api) == 2)
        tried = api.requests["GET", POLICIES]
        api.faults.status_of = lambda method, path: 503 if path == POLICIES else 0
        api.drop_watches()
        # More than kopf tries by itself.
        await eventually(lambda: api.requests["GET", POLICIES] > tried + 20)
        api.faults.status_of = lambda method, path: 0
        await api.apply(policy(minReplicas=3))
        # By the watch: the next list is a minute away.
        await eventually(lambda: replicas_of(api) == 3, timeout_s=15)


async def test_watches_that_end_with_an_error_are_opened_again(
    api: KubernetesApi,
    pods: DeploymentController,
    run_operator: RunOperator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handlers, "_RESTART_DELAY_S", 0.05)
    await api.store.create("deployments", build_deployment("messaging", replicas=1))
    await api.apply(policy())

    async with run_operator():
        await eventually(lambda: replicas_of(api) == 2)
        tried = api.requests["GET", POLICIES]
        api.faults.watch_error = 500
        api.drop_watches()
        await eventually(lambda: api.requests["GET", POLICIES] > tried + 1)
        api.faults.watch_error = 0
        await api.apply(policy(minReplicas=3))
        await eventually(lambda: replicas_of(api) == 3, timeout_s=15)


async def test_refused_and_hanging_writes_are_written_anew(
    api: KubernetesApi, pods: DeploymentController, run_operator: RunOperator
) -> None:
    await api.store.create("deployments", build_deployment("messaging", replicas=1))
    await api.apply(policy())
    scales = iter([429, 500, 503])

    def fail_scales(method: str, path: str) -> int:
        return next(scales, 0) if path == SCALE else 0

    hangs = iter([30.0])

    def hang_once(method: str, path: str) -> float:
        is_last = path == SCALE and api.requests[method, path] == 4
        return next(hangs, 0.0) if is_last else 0.0

    api.faults.status_of, api.faults.delay_of = fail_scales, hang_once
    async with run_operator():
        await eventually(lambda: replicas_of(api) == 2, timeout_s=25)

    assert api.requests["PATCH", SCALE] == 5


async def test_statuses_that_nobody_answers_hold_up_no_scale(
    api: KubernetesApi, pods: DeploymentController, run_operator: RunOperator
) -> None:
    await api.store.create("deployments", build_deployment("messaging", replicas=1))
    await api.apply(policy())
    api.faults.delay_of = lambda method, path: 30.0 if path.endswith(STATUS) else 0.0

    async with run_operator():
        await eventually(lambda: replicas_of(api) == 2)
        await _raise_minimum(api, 3)


async def test_policy_and_deployment_that_go_are_let_go(
    api: KubernetesApi, pods: DeploymentController, run_operator: RunOperator
) -> None:
    await api.store.create("deployments", build_deployment("messaging", replicas=1))
    await api.store.create("deployments", build_deployment("contacts", replicas=1))
    await api.apply(policy())
    await api.apply(policy("contacts", target="contacts"))

    async with run_operator():
        await eventually(lambda: replicas_of(api) == replicas_of(api, "contacts") == 2)
        await api.store.delete("surgepolicies", "messaging")
        await api.store.delete("deployments", "contacts")
        await api.store.create("deployments", build_deployment("contacts", replicas=1))
        # Seen by the operator, the new Deployment is scaled and the freed one is left alone.
        await eventually(lambda: replicas_of(api, "contacts") == 2)
        await api.scale("messaging", 1)
        await api.apply(policy("contacts", target="contacts", minReplicas=3))
        await eventually(lambda: replicas_of(api, "contacts") == 3)

    assert replicas_of(api) == 1


async def test_word_of_a_deleted_policy_that_comes_late_does_not_become_its_successors(
    api: KubernetesApi, pods: DeploymentController, run_operator: RunOperator
) -> None:
    for name in ("messaging", "contacts"):
        await api.store.create("deployments", build_deployment(name, replicas=1))
    first = await api.apply(policy(minReplicas=7))
    await api.store.delete("surgepolicies", "messaging")
    await api.apply(policy(minReplicas=3))

    async with run_operator():
        await eventually(lambda: replicas_of(api) == 3)
        await api.store.tell_late("MODIFIED", "surgepolicies", first)
        await api.store.tell_late("DELETED", "surgepolicies", first)
        # Told behind it, and scaled in the same second.
        await api.apply(policy("contacts", target="contacts"))
        await eventually(lambda: replicas_of(api, "contacts") == 2)

    assert replicas_of(api) == 3


async def test_status_is_not_written_every_second(
    api: KubernetesApi, pods: DeploymentController, run_operator: RunOperator
) -> None:
    await api.store.create("deployments", build_deployment("messaging", replicas=2))
    await api.apply(policy())
    path = f"{POLICIES}/messaging/status"
    lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/tieline-operator"

    async with run_operator():
        await eventually(lambda: api.requests["PATCH", path] > 0)
        written = api.requests["PATCH", path]
        # Three renewals of the lease are four seconds and more.
        renewed = api.requests["PUT", lease]
        await eventually(lambda: api.requests["PUT", lease] >= renewed + 3)

    assert api.requests["PATCH", path] <= written + 1


async def test_nats_that_is_away_holds_and_raises_and_is_found_again(
    api: KubernetesApi, pods: DeploymentController, tmp_path: Path
) -> None:
    nats = build_nats(tmp_path / "nats")
    engine = Engine(nats)
    engine.start()
    await streams.declare(nats.url("admin"))
    await api.store.create("deployments", build_deployment("messaging", replicas=2))
    await api.apply(policy())
    try:
        async with role(OperatorSettings(nats_url=SecretStr(nats.url("operator")))):
            await _report_until_signals_are(api, nats, "True")
            engine.kill()
            await eventually(lambda: _signals(api) == "False", timeout_s=30)
            assert replicas_of(api) == 2
            await _raise_minimum(api, 3)
            engine.start()
            await _report_until_signals_are(api, nats, "True")
    finally:
        engine.stop()


# One of these minutes is the outage.
@pytest.mark.timeout(240)
async def test_api_and_nats_that_are_away_for_a_minute_are_found_again_and_nothing_is_lowered(
    api: KubernetesApi, pods: DeploymentController, tmp_path: Path
) -> None:
    nats = build_nats(tmp_path / "nats")
    engine = Engine(nats)
    engine.start()
    await streams.declare(nats.url("admin"))
    await api.store.create("deployments", build_deployment("messaging", replicas=5))
    await api.apply(policy())
    try:
        async with role(OperatorSettings(nats_url=SecretStr(nats.url("operator")))):
            await _report_until_signals_are(api, nats, "True")
            engine.kill()
            # What stands before an API that is away says so.
            api.faults.status_of = lambda method, path: 503
            api.drop_watches()
            end = time.monotonic() + OUTAGE_S
            await eventually(lambda: time.monotonic() > end, timeout_s=OUTAGE_S + 5)
            api.faults.status_of = lambda method, path: 0
            # What is seen after it is seen by watches that are new, and written by a lease that is.
            await eventually(lambda: _signals(api) == "False", timeout_s=20)
            assert replicas_of(api) == 5
            await api.apply(policy(minReplicas=7))
            await eventually(lambda: replicas_of(api) == 7, timeout_s=15)
            engine.start()
            async with (
                connected(nats, "messaging") as broker,
                ReportingReplicas(broker, "messaging").reporting(
                    lambda: pod_names(api), lambda: 1000.0
                ),
            ):
                await eventually(lambda: _signals(api) == "True", timeout_s=30)
                await eventually(lambda: replicas_of(api) >= 12, timeout_s=15)
    finally:
        engine.stop()


async def _report_until_signals_are(api: KubernetesApi, nats: EmbeddedNats, status: str) -> None:
    async with (
        connected(nats, "messaging") as broker,
        ReportingReplicas(broker, "messaging").reporting(lambda: pod_names(api), lambda: 100.0),
    ):
        await eventually(lambda: _signals(api) == status, timeout_s=30)


def _signals(api: KubernetesApi) -> str:
    status: str = condition(api, "surgepolicies", "messaging", "SignalsHealthy").get("status", "")
    return status


async def test_definitions_that_would_drop_a_field_stop_the_start(
    definitions: list[Definition],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_operator: RunOperator,
) -> None:
    older = copy.deepcopy(definitions)
    schema = next(one.schema for one in older if one.kind == "SurgePolicy")
    del schema["properties"]["spec"]["properties"]["priority"]

    async with KubernetesApi(older).running(tmp_path) as kubeconfig:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        with pytest.raises(StartError, match=r"SurgePolicy without spec\.priority\).*tieline-crds"):
            async with run_operator():
                pass


async def test_cluster_without_the_definitions_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_operator: RunOperator
) -> None:
    async with KubernetesApi([]).running(tmp_path) as kubeconfig:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        with pytest.raises(StartError, match=r"no definitions of scaling\.tieline\.dev/v1alpha1"):
            async with run_operator():
                pass


@pytest.mark.parametrize("status", [403, 503])
async def test_cluster_that_does_not_show_its_definitions_is_scaled_all_the_same(
    api: KubernetesApi,
    pods: DeploymentController,
    run_operator: RunOperator,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    api.faults.status_of = lambda method, path: status if path.startswith("/openapi") else 0
    await api.store.create("deployments", build_deployment("messaging", replicas=1))
    await api.apply(policy())

    async with run_operator():
        await eventually(lambda: replicas_of(api) == 2)

    assert "whether they are those of this version is not known" in caplog.text
