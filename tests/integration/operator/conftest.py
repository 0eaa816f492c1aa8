"""An API server of the test's own, and operators on it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from nats.aio.client import Client
from pydantic import SecretStr

from engines import build_nats, connected
from fakes.kubernetes_api.definitions import Definition, load_definitions
from fakes.kubernetes_api.deployments import DeploymentController
from fakes.kubernetes_api.server import KubernetesApi
from tieline.chassis import streams
from tieline.embedded.nats import EmbeddedNats
from tieline.operator.app import role
from tieline.operator.settings import OperatorSettings

CRDS = Path(__file__).parents[3] / "helm" / "tieline-crds" / "templates"

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
    def run(name: str = "operator-a") -> AbstractAsyncContextManager[None]:
        return role(
            OperatorSettings(nats_url=SecretStr(operator_nats.url("operator")), replica_name=name)
        )

    return run
