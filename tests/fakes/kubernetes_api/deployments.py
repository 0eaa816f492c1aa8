"""The controllers behind Deployments: pods are made, start for a while, and go."""

import asyncio
import copy
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fakes.kubernetes_api.errors import ApiRefusal
from fakes.kubernetes_api.store import Object, Store, matches

PodHook = Callable[[Object], Awaitable[None]]


async def _nothing(_: Object) -> None:
    return None


class DeploymentController:
    """Brings pods to what Deployments ask for.

    ``start_pod`` runs until a pod is ready, ``stop_pod`` when it goes: by default pods are ready at
    once and are nothing but objects.
    """

    def __init__(
        self, store: Store, *, start_pod: PodHook = _nothing, stop_pod: PodHook = _nothing
    ) -> None:
        self._store = store
        self._start_pod = start_pod
        self._stop_pod = stop_pod
        self._starting: dict[str, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._run(), name="deployment-controller")
        try:
            yield
        finally:
            tasks = [task, *self._starting.values()]
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for pod in self._store.list("pods", {}):
                await self._stop_pod(pod)

    async def _run(self) -> None:
        seen = -1
        while True:
            seen = await self._store.wait_beyond(seen)
            deployments = self._store.list("deployments", {})
            for deployment in deployments:
                await self._bring(copy.deepcopy(deployment))
            for pod in self._store.list("pods", {}):
                if not any(
                    matches(pod, one["spec"]["selector"]["matchLabels"]) for one in deployments
                ):
                    await self._remove(pod)

    async def _bring(self, deployment: Object) -> None:
        name, spec = deployment["metadata"]["name"], deployment["spec"]
        labels = spec["selector"]["matchLabels"]
        pods = self._store.list("pods", labels)
        for _ in range(spec.get("replicas", 1) - len(pods)):
            pod = await self._store.create("pods", _build_pod(name, labels))
            self._starting[pod["metadata"]["name"]] = asyncio.create_task(self._start(pod))
        # Those that are not ready go first, as in a cluster.
        surplus = sorted(pods, key=_is_ready)[: max(0, len(pods) - spec.get("replicas", 1))]
        for pod in surplus:
            await self._remove(pod)
        pods = self._store.list("pods", labels)
        current = copy.deepcopy(self._store.objects.get(("deployments", name)))
        if current is not None:
            current["status"] = {
                "replicas": len(pods),
                "readyReplicas": sum(map(_is_ready, pods)),
            }
            await self._store.replace("deployments", current, touches_spec=False)

    async def _remove(self, pod: Object) -> None:
        starting = self._starting.pop(pod["metadata"]["name"], None)
        if starting is not None:
            starting.cancel()
        await self._store.delete("pods", pod["metadata"]["name"])
        await self._stop_pod(pod)

    async def _start(self, pod: Object) -> None:
        await self._start_pod(pod)
        ready = copy.deepcopy(pod)
        ready["metadata"].pop("resourceVersion", None)
        ready["status"] = {
            "phase": "Running",
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "lastTransitionTime": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                }
            ],
        }
        try:
            await self._store.replace("pods", ready, touches_spec=False)
        except ApiRefusal:
            # It was taken away while it started.
            return


def build_deployment(name: str, *, replicas: int) -> Object:
    """Return the manifest of a Deployment."""
    labels = {"app.kubernetes.io/component": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            # What a real cluster makes pods of: they are ready at once and gone at once.
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [
                        {
                            "name": "idle",
                            "image": "busybox:stable",
                            "command": ["sleep", "infinity"],
                        }
                    ],
                },
            },
        },
    }


def _build_pod(deployment: str, labels: dict[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": f"{deployment}-", "labels": dict(labels)},
        "spec": {},
        "status": {"phase": "Pending"},
    }


def _is_ready(pod: Object) -> bool:
    return bool(pod.get("status", {}).get("conditions"))
