"""End to end without a cluster: the operator's process, messaging's processes, real calls."""

import asyncio
import random
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import grpc
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from e2e.platform_process import environment, tieline_command
from engines import Database, connected
from fakes.eventually import eventually
from fakes.kubelet import Kubelet
from fakes.kubernetes_api.deployments import DeploymentController, build_deployment
from fakes.kubernetes_api.server import KubernetesApi
from fakes.tokens import TestTokens
from integration.operator.test_operator import condition, policy, replicas_of
from tieline.api.common.v1 import load_report_pb2
from tieline.api.messaging.v1 import messaging_service_pb2, messaging_service_pb2_grpc
from tieline.chassis.streams import surge_subject
from tieline.embedded.nats import EmbeddedNats
from tieline.surge.profiles import draw_arrivals

CAPACITY_PER_S = 40
USUAL_PER_S, SURGE_PER_S = 10.0, 90.0


class Callers:
    """Calls whatever replicas there are, at the times of a surge's arrivals."""

    def __init__(self, kubelet: Kubelet, token: str) -> None:
        self.rate = USUAL_PER_S
        self._kubelet = kubelet
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._chance = random.Random(1)
        self._channels: dict[int, grpc.aio.Channel] = {}
        self._calls: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._call_forever())
        try:
            yield
        finally:
            tasks = [task, *self._calls]
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for channel in self._channels.values():
                await channel.close()

    async def _call_forever(self) -> None:
        while True:
            begin = asyncio.get_running_loop().time()
            for due in draw_arrivals([self.rate], self._chance):
                await asyncio.sleep(begin + due - asyncio.get_running_loop().time())
                call = asyncio.create_task(self._call())
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)
            await asyncio.sleep(begin + 1 - asyncio.get_running_loop().time())

    async def _call(self) -> None:
        if not self._kubelet.ports:
            return
        port = self._chance.choice(list(self._kubelet.ports.values()))
        if port not in self._channels:
            self._channels[port] = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        stub = messaging_service_pb2_grpc.MessagingServiceStub(self._channels[port])
        try:
            await stub.ListConversations(
                messaging_service_pb2.ListConversationsRequest(),
                metadata=self._metadata,
                timeout=5,
            )
        except grpc.aio.AioRpcError:
            # Of a replica that goes; callers take another one.
            return


@contextmanager
def operator_process(nats: EmbeddedNats, output: Path) -> Iterator[None]:
    """Run ``tieline operator run``; KUBECONFIG is set."""
    with output.open("ab") as file:
        process = subprocess.Popen(
            tieline_command("operator", "run"),
            env=environment(TIELINE_NATS_URL=nats.url("operator")),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        yield
    finally:
        process.terminate()
        assert process.wait() == 0, output.read_text()


# Four processes start one after the other.
@pytest.mark.timeout(240)
async def test_replicas_follow_real_calls_and_the_services_hear_of_the_surge(
    api: KubernetesApi,
    database: Database,
    operator_nats: EmbeddedNats,
    replicas_broker: Client,
    tokens: TestTokens,
    tmp_path: Path,
) -> None:
    settings = {
        "TIELINE_DATABASE_DSN": database.dsn("messaging"),
        "TIELINE_NATS_URL": operator_nats.url("messaging"),
        "TIELINE_SECRET_KEY": "only-for-tests".ljust(32, "-"),
        "TIELINE_SHUTDOWN_GRACE_S": "2",
    }
    kubelet = Kubelet("messaging", settings, tmp_path / "replicas")
    pods = DeploymentController(api.store, start_pod=kubelet.start, stop_pod=kubelet.stop)
    limits = {"requestsPerSecondPerPod": CAPACITY_PER_S, "warmupSeconds": 0}
    heard: list[load_report_pb2.SurgeState] = []

    async def hear(message: Msg) -> None:
        heard.append(load_report_pb2.SurgeState.FromString(message.data))

    await api.store.create("deployments", build_deployment("messaging", replicas=2))
    await api.apply(policy(maxReplicas=3, capacity=limits))
    subscription = await replicas_broker.subscribe(surge_subject("messaging"), cb=hear)
    async with (
        connected(operator_nats, "identity") as identity,
        tokens.published(identity),
        pods.running(),
    ):
        await eventually(lambda: len(kubelet.ports) == 2, timeout_s=45)
        callers = Callers(kubelet, tokens.member(f"ww{uuid.uuid4().hex[:24]}", "zhang.wei"))
        with operator_process(operator_nats, tmp_path / "operator"):
            async with callers.calling():
                await eventually(lambda: is_healthy(api), timeout_s=45)
                assert replicas_of(api) == 2
                callers.rate = SURGE_PER_S
                await eventually(lambda: replicas_of(api) == 3, timeout_s=30)
                await eventually(lambda: heard and heard[-1].desired_replicas == 3)
                await eventually(lambda: len(kubelet.ports) == 3, timeout_s=45)
                # What a person takes away, the stand-in for the kubelet stops.
                await api.apply(policy(maxReplicas=2, capacity=limits))
                await eventually(lambda: len(kubelet.ports) == 2, timeout_s=45)
    await subscription.unsubscribe()


def is_healthy(api: KubernetesApi) -> bool:
    healthy = condition(api, "surgepolicies", "messaging", "SignalsHealthy")
    return bool(healthy) and healthy["status"] == "True"
