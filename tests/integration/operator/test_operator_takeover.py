"""Two operators' processes on one cluster: killed, started at once, cut off."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client

from e2e.platform_process import environment, tieline_command
from fakes.eventually import eventually
from fakes.kubernetes_api.deployments import build_deployment
from fakes.kubernetes_api.server import KubernetesApi, Request
from fakes.kubernetes_api.store import Object
from fakes.reporting import ReportingReplicas
from integration.operator.test_operator import SCALE, condition, policy, ready_pod, replicas_of
from tieline.embedded.nats import EmbeddedNats

LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
TAKEOVER_S = 10.0
PODS = ("messaging-0", "messaging-1")

RunProcess = Callable[[str], subprocess.Popen[bytes]]


@contextmanager
def process_of(
    name: str, api: KubernetesApi, nats: EmbeddedNats, folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    settings = {
        "KUBECONFIG": str(api.write_kubeconfig(folder, name)),
        "TIELINE_NATS_URL": nats.url("operator"),
        "TIELINE_REPLICA_NAME": name,
    }
    with (folder / name).open("ab") as output:
        process = subprocess.Popen(
            tieline_command("operator", "run"),
            env=environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def run_process(
    api: KubernetesApi, operator_nats: EmbeddedNats, tmp_path: Path
) -> Iterator[RunProcess]:
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(process_of(name, api, operator_nats, tmp_path))


async def make_fleet(api: KubernetesApi) -> None:
    """Two pods that stay two: what is asked for never comes, and a surge lasts."""
    deployment = build_deployment("messaging", replicas=2)
    await api.store.create("deployments", deployment)
    for name in PODS:
        await api.store.create("pods", ready_pod(deployment, name))
    await api.apply(policy(maxReplicas=50))


def lease(api: KubernetesApi) -> Object:
    found: Object = api.store.objects.get(("leases", "tieline-operator"), {}).get("spec", {})
    return found


def is_followed(api: KubernetesApi, user: str) -> bool:
    """Tell whether a user watches and has looked at the lease."""
    paths = {each.path for each in api.log if each.user == user}
    return any(path.startswith(LEASES) for path in paths) and any("pods" in path for path in paths)


def writes_of(api: KubernetesApi, user: str, path: str) -> list[Request]:
    return [
        each
        for each in api.log
        if each.user == user and each.method != "GET" and each.path.startswith(path)
    ]


async def test_holder_that_is_killed_in_surge_is_followed_by_a_standby_that_knows_the_surge(
    api: KubernetesApi, run_process: RunProcess, replicas_broker: Client
) -> None:
    await make_fleet(api)
    load = 150.0
    reporting = ReportingReplicas(replicas_broker, "messaging")
    async with reporting.reporting(lambda: PODS, lambda: load):
        holder = run_process("operator-a")
        await eventually(lambda: lease(api).get("holderIdentity") == "operator-a")
        run_process("operator-b")
        await eventually(lambda: is_followed(api, "operator-b"))
        await eventually(lambda: _holds(api, "SignalsHealthy"))
        load = 1000.0
        await eventually(lambda: _holds(api, "SurgeActive"))
        await eventually(lambda: replicas_of(api) >= 12)
        holder.kill()
        killed_at = time.monotonic()
        load = 2000.0
        await eventually(lambda: replicas_of(api) >= 25)

    taken = writes_of(api, "operator-b", LEASES)[0]
    first_scale = writes_of(api, "operator-b", SCALE)[0]
    assert first_scale.time - killed_at < TAKEOVER_S
    # It need not find out anew what comes in.
    assert 0 <= first_scale.time - taken.time < 2.0
    told = [event["reason"] for event in api.store.list("events", {})]
    assert told.count("SurgeEntered") == 1
    assert "SurgeLeft" not in told


async def test_of_two_that_start_at_the_same_moment_one_writes(
    api: KubernetesApi, run_process: RunProcess
) -> None:
    await make_fleet(api)
    await api.apply(policy(minReplicas=5))
    names = ("operator-a", "operator-b")
    for name in names:
        run_process(name)

    await eventually(lambda: all(is_followed(api, name) for name in names))
    await eventually(lambda: replicas_of(api) == 5)
    await api.apply(policy(minReplicas=6))
    await eventually(lambda: replicas_of(api) == 6)

    writers = {each.user for each in api.log if each.method == "PATCH"}
    assert writers == {lease(api)["holderIdentity"]}


async def test_holder_that_is_cut_off_stops_before_the_other_one_writes(
    api: KubernetesApi, run_process: RunProcess, replicas_broker: Client
) -> None:
    await make_fleet(api)
    load = 150.0
    reporting = ReportingReplicas(replicas_broker, "messaging")
    async with reporting.reporting(lambda: PODS, lambda: load):
        run_process("operator-a")
        await eventually(lambda: lease(api).get("holderIdentity") == "operator-a")
        run_process("operator-b")
        await eventually(lambda: is_followed(api, "operator-b"))
        await eventually(lambda: _holds(api, "SignalsHealthy"))
        api.faults.cut_off.add("operator-a")
        load = 1000.0
        await eventually(lambda: lease(api)["holderIdentity"] == "operator-b")
        await eventually(lambda: replicas_of(api) >= 12)

    tried = writes_of(api, "operator-a", SCALE)
    assert tried, "the one that was cut off had something to write"
    assert tried[-1].time < writes_of(api, "operator-b", LEASES)[0].time


def _holds(api: KubernetesApi, kind: str) -> bool:
    return bool(condition(api, "surgepolicies", "messaging", kind).get("status") == "True")
