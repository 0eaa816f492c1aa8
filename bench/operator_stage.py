"""A cluster for the operator's benchmarks, as a process of its own, and replicas that report.

The API server is the tests' own, and so the process is started with ``tests`` on its search path.
Pods are objects that are ready from the beginning; each reports once a second, at a time of its
own. Called as ``python -m bench.operator_stage KUBECONFIG_FOLDER NATS_URL POLICIES PODS RATE``, it
prints ``ready`` and then, for each line on its input that says how many policies to step, one line
of JSON: the seconds from each step to the scale write.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nats
from nats.aio.client import Client

from fakes.kubernetes_api.definitions import load_definitions
from fakes.kubernetes_api.deployments import build_deployment
from fakes.kubernetes_api.server import KubernetesApi
from tieline.api.common.v1 import load_report_pb2, priority_pb2
from tieline.chassis.streams import load_subject

_CRDS = Path("helm/tieline-crds/templates")
_SLOTS = 20
_STEP = 10.0
_CAPACITY = 100
_STEP_TIMEOUT_S = 20.0


@dataclass(slots=True)
class _Load:
    """The calls that one service has got so far."""

    rate: float
    total: float = 0.0
    since: float = field(default_factory=time.monotonic)

    def set_rate(self, rate: float) -> None:
        self.total, self.since, self.rate = self.count(), time.monotonic(), rate

    def count(self) -> float:
        return self.total + self.rate * (time.monotonic() - self.since)


class _Reporters:
    """All replicas of all services."""

    def __init__(self, broker: Client, pods: Mapping[str, Sequence[str]], rate: float) -> None:
        self._broker = broker
        self._started = int(time.time()) - 100
        self._pods = pods
        self.loads = {service: _Load(rate) for service in pods}
        everyone = [(service, pod) for service, names in pods.items() for pod in names]
        random.Random(1).shuffle(everyone)
        self._slots = [everyone[slot::_SLOTS] for slot in range(_SLOTS)]

    async def report_forever(self) -> None:
        """Report once a second each, a twentieth of all at a time."""
        begin = time.monotonic()
        slot = 0
        while True:
            await asyncio.sleep(begin + slot / _SLOTS - time.monotonic())
            for service, pod in self._slots[slot % _SLOTS]:
                await self._report(service, pod, slot // _SLOTS + 1)
            slot += 1

    async def _report(self, service: str, pod: str, sequence: int) -> None:
        offered = int(self.loads[service].count() / len(self._pods[service]))
        report = load_report_pb2.LoadReport(service=service, replica=pod, sequence=sequence)
        report.start_time.seconds = self._started
        report.classes.add(
            business_class=priority_pb2.BUSINESS_CLASS_NORMAL,
            first_attempts=offered,
            admitted=offered,
        )
        await self._broker.publish(load_subject(service, pod), report.SerializeToString())


async def _fill(api: KubernetesApi, policies: int, pods: int) -> dict[str, list[str]]:
    made: dict[str, list[str]] = {}
    for number in range(policies):
        service = f"service-{number}"
        await api.store.create("deployments", build_deployment(service, replicas=pods))
        made[service] = [f"{service}-{index}" for index in range(pods)]
        for name in made[service]:
            await api.store.create("pods", _ready_pod(service, name))
        await api.apply(_policy(service, pods))
    # Nobody watches yet, and whoever begins lists first.
    await api.store.compact()
    return made


def _ready_pod(service: str, name: str) -> dict[str, object]:
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    return {
        "metadata": {"name": name, "labels": {"app.kubernetes.io/component": service}},
        "status": {"phase": "Running", "conditions": [ready]},
    }


def _policy(service: str, pods: int) -> dict[str, object]:
    return {
        "apiVersion": "scaling.tieline.dev/v1alpha1",
        "kind": "SurgePolicy",
        "metadata": {"name": service},
        "spec": {
            "targetRef": {"name": service},
            "minReplicas": pods,
            "maxReplicas": 100 * pods,
            "capacity": {"requestsPerSecondPerPod": _CAPACITY, "warmupSeconds": 0},
        },
    }


async def _step(api: KubernetesApi, service: str, load: _Load, delay_s: float) -> float:
    await asyncio.sleep(delay_s)
    before = api.store.find("deployments", service)["spec"]["replicas"]
    load.set_rate(load.rate * _STEP)
    begin = time.monotonic()
    async with asyncio.timeout(_STEP_TIMEOUT_S):
        version = -1
        while api.store.find("deployments", service)["spec"]["replicas"] <= before:
            version = await api.store.wait_beyond(version)
    return time.monotonic() - begin


async def _step_some(api: KubernetesApi, reporters: _Reporters, count: int) -> list[float]:
    # One after the other, at times that have nothing to do with reports and ticks.
    chance = random.Random(2)
    steps = [
        _step(api, service, reporters.loads[service], number + chance.random())
        for number, service in enumerate(list(reporters.loads)[:count])
    ]
    return list(await asyncio.gather(*steps))


async def run(folder: Path, nats_url: str, policies: int, pods: int, rate: float) -> None:
    """Serve until the input ends."""
    api = KubernetesApi(load_definitions(_CRDS))
    broker = await nats.connect(nats_url)
    async with api.running(folder):
        reporters = _Reporters(broker, await _fill(api, policies, pods), rate)
        reporting = asyncio.create_task(reporters.report_forever())
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await _step_some(api, reporters, int(line))), flush=True)
        reporting.cancel()
        await asyncio.gather(reporting, return_exceptions=True)
    await broker.close()


if __name__ == "__main__":
    asyncio.run(
        run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
    )
