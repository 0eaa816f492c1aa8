"""The cluster that the suite runs against, as anybody sees it: through the Kubernetes API alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightkube import ApiError, AsyncClient
from lightkube.resources.apps_v1 import DeploymentScale
from lightkube.resources.coordination_v1 import Lease
from lightkube.types import PatchType

from fakes.kubernetes_api.store import Object
from tieline.operator.kubernetes_cluster import RESOURCES as OPERATED
from tieline.operator.resources import Kind

_CONFLICT, _NOT_FOUND = 409, 404

# The operator's own classes: of each kind there may be one in a process.
_RESOURCES: Mapping[str, type[Any]] = {
    "SurgePolicy": OPERATED[Kind.POLICY],
    "SurgeWindow": OPERATED[Kind.WINDOW],
    "SurgeOverride": OPERATED[Kind.OVERRIDE],
    "Deployment": OPERATED[Kind.DEPLOYMENT],
    "HorizontalPodAutoscaler": OPERATED[Kind.AUTOSCALER],
}


class Cluster:
    """One namespace; what a test makes in it goes with the test."""

    def __init__(self, client: AsyncClient, namespace: str) -> None:
        self.namespace = namespace
        self._client = client
        self._made: list[tuple[str, str]] = []

    async def find_leftovers(self) -> Sequence[str]:
        """Return what would be scaled beside what a test makes."""
        found = [
            f"{kind} {one.metadata.name}"
            for kind in ("SurgePolicy", "SurgeWindow", "SurgeOverride", "Deployment")
            async for one in self._client.list(_RESOURCES[kind], namespace=self.namespace)
        ]
        return sorted(found)

    async def apply(self, manifest: Mapping[str, Any]) -> None:
        """Create an object, or change its spec."""
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        resource = _RESOURCES[kind]
        try:
            await self._client.create(resource(manifest))
        except ApiError as error:
            if error.status.code != _CONFLICT:
                raise
            await self._client.patch(
                resource,
                name,
                {"spec": manifest["spec"]},
                namespace=self.namespace,
                patch_type=PatchType.MERGE,
            )
        self._made.append((kind, name))

    async def delete(self, kind: str, name: str) -> None:
        """Delete an object; one that is not there is as good."""
        try:
            await self._client.delete(_RESOURCES[kind], name, namespace=self.namespace)
        except ApiError as error:
            if error.status.code != _NOT_FOUND:
                raise

    async def clear(self) -> None:
        """Delete what was made, the newest first."""
        for kind, name in reversed(self._made):
            await self.delete(kind, name)
        self._made.clear()

    async def scale(self, deployment: str, replicas: int) -> None:
        """Set replicas by somebody else's hand."""
        await self._client.patch(
            DeploymentScale,
            deployment,
            {"spec": {"replicas": replicas}},
            namespace=self.namespace,
            patch_type=PatchType.MERGE,
        )

    async def find(self, kind: str, name: str) -> Object:
        """Return an object; empty where there is none."""
        try:
            found = await self._client.get(_RESOURCES[kind], name, namespace=self.namespace)
        except ApiError as error:
            if error.status.code != _NOT_FOUND:
                raise
            return {}
        body: Object = found.to_dict()
        return body

    async def replicas(self, deployment: str = "messaging") -> int:
        """Return the replicas that a Deployment asks for."""
        replicas: int = (await self.find("Deployment", deployment))["spec"]["replicas"]
        return replicas

    async def condition(self, kind: str, name: str, type_: str) -> Object:
        """Return a condition of an object; empty where it has none."""
        body = await self.find(kind, name)
        conditions = (body.get("status") or {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == type_), {})

    async def holds(self, kind: str, name: str, type_: str) -> bool:
        """Tell whether a condition of an object is true."""
        return (await self.condition(kind, name, type_)).get("status") == "True"

    async def ready_pods(self) -> Sequence[str]:
        """Return the names of the pods that are ready."""
        pods = [
            one.to_dict()
            async for one in self._client.list(OPERATED[Kind.POD], namespace=self.namespace)
        ]
        return sorted(
            pod["metadata"]["name"]
            for pod in pods
            if any(
                (each["type"], each["status"]) == ("Ready", "True")
                for each in (pod.get("status") or {}).get("conditions", [])
            )
        )

    async def lease_holder(self) -> str:
        """Return who holds the operator's lease; empty for nobody."""
        try:
            lease = await self._client.get(Lease, "tieline-operator", namespace=self.namespace)
        except ApiError as error:
            if error.status.code != _NOT_FOUND:
                raise
            return ""
        return (lease.spec and lease.spec.holderIdentity) or ""
