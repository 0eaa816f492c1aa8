"""What the running operator tells machines: its probes, and every metric."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
from nats.aio.client import Client
from prometheus_client.parser import text_string_to_metric_families

from fakes.eventually import eventually
from fakes.kubernetes_api.deployments import DeploymentController, build_deployment
from fakes.kubernetes_api.server import KubernetesApi
from fakes.reporting import ReportingReplicas
from integration.operator.conftest import RunOperator
from integration.operator.test_operator import SCALE, pod_names, policy, replicas_of, scrape
from tieline.embedded.ports import find_free_port
from tieline.operator import scaler, vitals
from tieline.operator.replica_report import CLASSES
from tieline.operator.resources import Kind
from tieline.operator.scaler import Scaler

# Decision latency, age and coverage of reports, replicas, recommendations, surge and what is shed,
# what was learned, writes, who writes, and whether the operator itself keeps up.
OF_MESSAGING = {"policy": "messaging"}
METRICS: tuple[tuple[str, dict[str, str]], ...] = (
    ("decision_latency_seconds_count", OF_MESSAGING),
    ("reports_age_seconds", {"service": "messaging"}),
    ("reports_coverage", OF_MESSAGING),
    ("reports_refused_total", {}),
    ("replicas_desired", OF_MESSAGING),
    ("replicas_current", OF_MESSAGING),
    ("replicas_ready", OF_MESSAGING),
    *(
        ("replicas_recommended", {**OF_MESSAGING, "source": source})
        for source in ("demand", "minReplicas")
    ),
    ("demand_per_second", OF_MESSAGING),
    ("surge", OF_MESSAGING),
    ("overloaded", OF_MESSAGING),
    ("target_conflict", OF_MESSAGING),
    ("target_conflict", {"policy": "second"}),
    *(("shed_per_second", {**OF_MESSAGING, "class": each}) for each in CLASSES),
    ("capacity_per_second", OF_MESSAGING),
    ("start_lead_seconds", OF_MESSAGING),
    *(("writes_failed_total", {"write": each}) for each in ("scale", "status", "event")),
    *(("writes_conflicts_total", {"write": each}) for each in ("scale", "status", "event")),
    ("lease_held", {}),
    ("lease_lost_total", {}),
    ("loop_lag_seconds", {}),
    ("tick_age_seconds", {}),
    ("tick_duration_seconds", {}),
    *(("watch_age_seconds", {"kind": kind.value[2]}) for kind in Kind),
)
# What a histogram has beside its count, and a counter beside its total.
PARTS = ("_bucket", "_sum", "_created")


def status_of(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def answers(port: int, path: str, status: int) -> Callable[[], object]:
    async def is_answered() -> bool:
        return await asyncio.to_thread(status_of, port, path) == status

    return is_answered


async def test_every_metric_is_served_and_conflicts_of_scales_are_counted_apart(
    api: KubernetesApi,
    pods: DeploymentController,
    run_operator: RunOperator,
    replicas_broker: Client,
) -> None:
    await api.store.create("deployments", build_deployment("messaging", replicas=2))
    await api.apply(policy())
    await api.apply(policy("second"))
    port = find_free_port()
    conflicts = iter([409])
    api.faults.status_of = lambda _, path: next(conflicts, 0) if path == SCALE else 0
    reporting = ReportingReplicas(replicas_broker, "messaging")

    async with (
        run_operator(metrics_port=port),
        reporting.reporting(lambda: pod_names(api), lambda: 1000.0),
    ):
        await eventually(lambda: replicas_of(api) >= 12)
        page = await asyncio.to_thread(scrape, port)

    served = {
        (sample.name.removeprefix("operator_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name.startswith("operator_") and not sample.name.endswith(PARTS)
    }
    found = [
        [key for key in served if key[0] == name and labels.items() <= key[1]]
        for name, labels in METRICS
    ]
    assert [each for each, keys in zip(METRICS, found, strict=True) if not keys] == []
    assert {name for name, _ in served} == {name for name, _ in METRICS}
    for name in ("writes_failed_total", "writes_conflicts_total"):
        (key,) = found[METRICS.index((name, {"write": "scale"}))]
        assert served[key] == 1


async def test_tick_that_stalls_fails_the_probes(
    api: KubernetesApi, run_operator: RunOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vitals, "MAX_TICK_AGE_S", 2.5)
    port, stall, go_on = find_free_port(), asyncio.Event(), asyncio.Event()
    tick = Scaler.tick

    async def stalling(self: Scaler) -> None:
        if stall.is_set():
            await go_on.wait()
        await tick(self)

    monkeypatch.setattr(Scaler, "tick", stalling)
    async with run_operator(probe_port=port):
        await eventually(answers(port, "/healthz", 200))
        await eventually(answers(port, "/readyz", 200))
        stall.set()
        await eventually(answers(port, "/healthz", 503))
        await eventually(answers(port, "/readyz", 503))
        stall.clear()
        go_on.set()
        await eventually(answers(port, "/healthz", 200))


async def test_api_that_is_away_makes_the_operator_not_ready_and_restarts_nothing(
    api: KubernetesApi, run_operator: RunOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vitals, "MAX_WATCH_AGE_S", 3.0)
    monkeypatch.setattr(scaler, "RELIST_S", 0.5)
    port = find_free_port()

    async with run_operator(probe_port=port):
        await eventually(answers(port, "/readyz", 200))
        api.faults.status_of = lambda method, path: 503
        await eventually(answers(port, "/readyz", 503))
        assert await asyncio.to_thread(status_of, port, "/healthz") == 200
        api.faults.status_of = lambda method, path: 0
        await eventually(answers(port, "/readyz", 200))
