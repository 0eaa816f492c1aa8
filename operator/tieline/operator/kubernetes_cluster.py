"""``Cluster`` over the Kubernetes API, by lightkube.

In a pod it is the service account that speaks, elsewhere whom ``KUBECONFIG`` names.
"""

import asyncio
import base64
import datetime as dt
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import httpx2
from lightkube import ApiError, AsyncClient, KubeConfig
from lightkube.config import client_adapter
from lightkube.core.exceptions import ConfigError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.core_v1 import EventSource, ObjectReference
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import DeploymentScale
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import ConfigMap
from lightkube.resources.core_v1 import Event as CoreEvent
from lightkube.types import PatchType

from tieline.chassis.process import StartError
from tieline.operator.cluster import (
    WRITE_TIMEOUT_S,
    ClusterError,
    ConflictError,
    LeaseRecord,
    NoMemoryError,
)
from tieline.operator.decision_words import Event
from tieline.operator.resources import GROUP, VERSION, Body, Kind, Meta

FIELD_MANAGER = "tieline-operator"

# Lists of thousands of pods take longer than a write may.
_LIST_TIMEOUT_S = 20.0

# Of up to a megabyte; nobody waits for it.
_MEMORY_TIMEOUT_S = 5.0

# A page of 500 pods is about 4 MB.
_PAGE_OBJECTS = 500

_MAX_EVENT_MESSAGE_BYTES = 1024

_FORBIDDEN, _NOT_FOUND, _CONFLICT = 403, 404, 409

_POLICY = create_namespaced_resource(GROUP, VERSION, "SurgePolicy", "surgepolicies")
_WINDOW = create_namespaced_resource(GROUP, VERSION, "SurgeWindow", "surgewindows")
_OVERRIDE = create_namespaced_resource(GROUP, VERSION, "SurgeOverride", "surgeoverrides")

RESOURCES: Mapping[Kind, type[Any]] = {
    Kind.POLICY: _POLICY,
    Kind.WINDOW: _WINDOW,
    Kind.OVERRIDE: _OVERRIDE,
    # As they come: the typed ones refuse what lacks a field that is not looked at here.
    Kind.DEPLOYMENT: create_namespaced_resource("apps", "v1", "Deployment", "deployments"),
    Kind.POD: create_namespaced_resource("", "v1", "Pod", "pods"),
    Kind.AUTOSCALER: create_namespaced_resource(
        "autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"
    ),
}
_STATUSES = {
    Kind.POLICY: _POLICY.Status,
    Kind.WINDOW: _WINDOW.Status,
    Kind.OVERRIDE: _OVERRIDE.Status,
}
_NAMES = {
    Kind.POLICY: "SurgePolicy",
    Kind.WINDOW: "SurgeWindow",
    Kind.OVERRIDE: "SurgeOverride",
}


@asynccontextmanager
async def kubernetes_cluster(namespace: str) -> AsyncIterator["KubernetesCluster"]:
    """Connect within the block; StartError where nothing says how."""
    try:
        config = KubeConfig.from_env()
    except ConfigError as error:
        raise StartError(
            f"no way to a cluster: {error}; run in a pod, or set KUBECONFIG to a file"
        ) from None
    client = AsyncClient(config, namespace=namespace, field_manager=FIELD_MANAGER)
    try:
        yield KubernetesCluster(client, namespace)
    finally:
        await client.aclose()


class KubernetesCluster:
    """One namespace, through one client."""

    def __init__(self, client: AsyncClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def list_objects(self, kind: Kind) -> Sequence[Body]:
        """Return all objects of a kind, page by page."""
        async with _reporting(f"listing {kind.value[2]}", _LIST_TIMEOUT_S):
            return [
                each.to_dict()
                async for each in self._client.list(
                    RESOURCES[kind], namespace=self._namespace, chunk_size=_PAGE_OBJECTS
                )
            ]

    async def read_definitions(self) -> Body:
        """Return the OpenAPI document of the custom resources; empty where they have none."""
        # The client's own verbs are for objects.
        async with (
            _reporting("reading the definitions", _LIST_TIMEOUT_S),
            client_adapter.AsyncClient(
                self._client.config, client_adapter.ConnectionParams()
            ) as plain,
        ):
            response = await plain.get(f"/openapi/v3/apis/{GROUP}/{VERSION}")
            if response.status_code == _NOT_FOUND:
                return {}
            response.raise_for_status()
            document: object = response.json()
        return document if isinstance(document, Mapping) else {}

    async def set_replicas(self, deployment: str, replicas: int) -> None:
        """Write a Deployment's scale, through its subresource."""
        async with _reporting(f"scaling {deployment} to {replicas}"):
            await self._client.patch(
                DeploymentScale,
                deployment,
                {"spec": {"replicas": replicas}},
                namespace=self._namespace,
                patch_type=PatchType.MERGE,
            )

    async def patch_status(self, kind: Kind, name: str, status: Mapping[str, object]) -> None:
        """Merge into the status of a custom resource; lists are replaced as a whole."""
        async with _reporting(f"writing the status of {_NAMES[kind]} {name}", ignored=_NOT_FOUND):
            await self._client.patch(
                _STATUSES[kind],
                name,
                {"status": dict(status)},
                namespace=self._namespace,
                patch_type=PatchType.MERGE,
            )

    async def post_event(self, kind: Kind, about: Meta, event: Event, now: float) -> None:
        """Post a Kubernetes event about a custom resource."""
        time = dt.datetime.fromtimestamp(now, dt.UTC)
        core_event = CoreEvent(
            metadata=ObjectMeta(generateName=f"{about.name[:200]}.", namespace=self._namespace),
            involvedObject=ObjectReference(
                apiVersion=f"{GROUP}/{VERSION}",
                kind=_NAMES[kind],
                name=about.name,
                namespace=self._namespace,
                uid=about.uid,
            ),
            type="Warning" if event.is_warning else "Normal",
            reason=event.reason,
            message=event.message[:_MAX_EVENT_MESSAGE_BYTES],
            firstTimestamp=time,
            lastTimestamp=time,
            count=1,
            source=EventSource(component=FIELD_MANAGER),
            reportingComponent=FIELD_MANAGER,
        )
        async with _reporting(f"posting an event about {about.name}"):
            await self._client.create(core_event)

    async def find_memory(self, name: str) -> Mapping[str, bytes] | None:
        """Return the binary entries of a ConfigMap; None where there is no ConfigMap."""
        async with _reporting(f"reading the ConfigMap {name}", _MEMORY_TIMEOUT_S):
            try:
                found = await self._client.get(ConfigMap, name, namespace=self._namespace)
            except ApiError as error:
                if error.status.code == _NOT_FOUND:
                    return None
                raise
        entries: dict[str, bytes] = {}
        for key, text in (found.binaryData or {}).items():
            with suppress(ValueError):
                entries[key] = base64.b64decode(text, validate=True)
        return entries

    async def put_memory(self, name: str, entries: Mapping[str, bytes]) -> None:
        """Replace the binary entries of a ConfigMap; its labels, and whatever else it has, stay.

        One that is missing is made where the Role allows it. The chart's does not, and makes the
        ConfigMap itself: a rule that allows ``create`` can't be held to one name.
        """
        data = {key: base64.b64encode(value).decode() for key, value in entries.items()}
        async with _reporting(f"writing the ConfigMap {name}", _MEMORY_TIMEOUT_S):
            try:
                await self._client.patch(
                    ConfigMap,
                    name,
                    [{"op": "add", "path": "/binaryData", "value": data}],
                    namespace=self._namespace,
                    patch_type=PatchType.JSON,
                )
            except ApiError as error:
                if error.status.code != _NOT_FOUND:
                    raise
                await self._create_memory(name, data)

    async def _create_memory(self, name: str, data: dict[str, str]) -> None:
        metadata = ObjectMeta(name=name, namespace=self._namespace)
        try:
            await self._client.create(ConfigMap(metadata=metadata, binaryData=data))
        except ApiError as error:
            if error.status.code != _FORBIDDEN:
                raise
            raise NoMemoryError(
                f"there is no ConfigMap {name}, and the Role allows none to be made: make it by "
                f"`helm upgrade` or `kubectl -n {self._namespace} create configmap {name}`"
            ) from error

    async def find_lease(self, name: str) -> LeaseRecord | None:
        """Return the lease; None where there is none."""
        async with _reporting(f"reading the lease {name}"):
            try:
                lease = await self._client.get(Lease, name, namespace=self._namespace)
            except ApiError as error:
                if error.status.code == _NOT_FOUND:
                    return None
                raise
        spec, metadata = lease.spec or LeaseSpec(), lease.metadata or ObjectMeta()
        return LeaseRecord(
            spec.holderIdentity or "",
            spec.leaseDurationSeconds or 0,
            metadata.resourceVersion or "",
        )

    async def put_lease(
        self, name: str, holder: str, duration_s: int, before: LeaseRecord | None
    ) -> None:
        """Create the lease, or change it if it is still as ``before``."""
        lease = Lease(
            metadata=ObjectMeta(
                name=name,
                namespace=self._namespace,
                resourceVersion=None if before is None else before.version,
            ),
            spec=LeaseSpec(
                holderIdentity=holder,
                leaseDurationSeconds=duration_s,
                renewTime=dt.datetime.now(dt.UTC),
            ),
        )
        async with _reporting(f"writing the lease {name}"):
            if before is None:
                await self._client.create(lease)
            else:
                await self._client.replace(lease)


@asynccontextmanager
async def _reporting(
    what: str, timeout_s: float = WRITE_TIMEOUT_S, *, ignored: int = 0
) -> AsyncIterator[None]:
    """Turn what the client raises into ClusterError that says what was tried."""
    with _translating(what, ignored):
        async with asyncio.timeout(timeout_s):
            yield


@contextmanager
def _translating(what: str, ignored: int) -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        if error.status.code == ignored:
            return
        text = f"{what}: {error.status.code} {error.status.message}"
        if error.status.code == _CONFLICT:
            raise ConflictError(text) from error
        raise ClusterError(text) from error
    except TimeoutError as error:
        raise ClusterError(f"{what}: no answer in time") from error
    except (httpx2.HTTPError, json.JSONDecodeError) as error:
        # Of a refusal without a status, and of everything below HTTP.
        raise ClusterError(f"{what}: {str(error) or type(error).__name__}") from error
