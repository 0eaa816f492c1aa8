"""An API server of the test's own, or the cluster that is given, and operators on it."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lightkube import AsyncClient, KubeConfig
from nats.aio.client import Client
from pydantic import SecretStr

from engines import build_nats, connected
from fakes.kubernetes_api.definitions import Definition, load_definitions
from fakes.kubernetes_api.deployments import DeploymentController
from fakes.kubernetes_api.server import KubernetesApi
from integration.operator.cluster import Cluster
from tieline.chassis import streams
from tieline.embedded.nats import EmbeddedNats
from tieline.operator.app import role
from tieline.operator.settings import OperatorSettings

CRDS = Path(__file__).parents[3] / "helm" / "tieline-crds" / "templates"

# Not KUBECONFIG: whoever has that set for another purpose wants no tests in there.
GIVEN_KUBECONFIG = os.environ.get("TIELINE_TEST_KUBECONFIG", "")

RunOperator = Callable[..., AbstractAsyncContextManager[None]]


@pytest.fixture(scope="session")
def definitions() -> list[Definition]:
    return load_definitions(CRDS)


@pytest.fixture
async def api(
    definitions: list[Definition], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[KubernetesApi]:
    """A server with the custom resources and nothing in it; KUBECONFIG leads to it."""
    server = KubernetesApi(definitions)
    async with server.running(tmp_path) as kubeconfig:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        yield server


@pytest.fixture
async def pods(api: KubernetesApi) -> AsyncIterator[DeploymentController]:
    controller = DeploymentController(api.store)
    async with controller.running():
        yield controller


@pytest.fixture(scope="session")
async def operator_nats(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedNats]:
    server = build_nats(tmp_path_factory.mktemp("operator-nats") / "data")
    with server.running():
        await streams.declare(server.url("admin"))
        yield server


@pytest.fixture(scope="session")
async def replicas_broker(operator_nats: EmbeddedNats) -> AsyncIterator[Client]:
    """Messaging's user, for its replicas' reports."""
    async with connected(operator_nats, "messaging") as broker:
        yield broker


@pytest.fixture
def run_operator(operator_nats: EmbeddedNats) -> RunOperator:
    def run(
        name: str = "operator-a", namespace: str = "default", **settings: Any
    ) -> AbstractAsyncContextManager[None]:
        return role(
            OperatorSettings(
                nats_url=SecretStr(operator_nats.url("operator")),
                replica_name=name,
                namespace=namespace,
                **settings,
            )
        )

    return run


@pytest.fixture
async def cluster(
    definitions: list[Definition], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Cluster]:
    """The cluster of TIELINE_TEST_KUBECONFIG, else a server of the test's own with controllers.

    Its namespace is that of the kubeconfig's context.
    """
    async with AsyncExitStack() as stack:
        kubeconfig = GIVEN_KUBECONFIG
        if not kubeconfig:
            server = KubernetesApi(definitions)
            kubeconfig = str(await stack.enter_async_context(server.running(tmp_path)))
            await stack.enter_async_context(DeploymentController(server.store).running())
        monkeypatch.setenv("KUBECONFIG", kubeconfig)
        client = AsyncClient(KubeConfig.from_file(kubeconfig), trust_env=False)
        stack.push_async_callback(client.aclose)
        cluster = Cluster(client, client.namespace)
        leftovers = await cluster.find_leftovers()
        assert not leftovers, f"the namespace {client.namespace} is in use: {leftovers}"
        stack.push_async_callback(cluster.clear)
        yield cluster


@pytest.fixture
def run_on_cluster(run_operator: RunOperator, cluster: Cluster) -> RunOperator:
    return partial(run_operator, namespace=cluster.namespace)
