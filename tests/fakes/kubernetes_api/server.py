"""The API over HTTP: discovery, objects, subresources, watches."""

import asyncio
import copy
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonpatch
import yaml
from aiohttp import web

from fakes.kubernetes_api.definitions import Definition, publish
from fakes.kubernetes_api.errors import ApiRefusal, invalid, not_found
from fakes.kubernetes_api.store import Object, Store, matches

NAMESPACE = "default"
_BOOKMARK_S = 1.0
_TYPES = {
    "surgepolicies": ("scaling.tieline.dev", "v1alpha1", "SurgePolicy"),
    "surgewindows": ("scaling.tieline.dev", "v1alpha1", "SurgeWindow"),
    "surgeoverrides": ("scaling.tieline.dev", "v1alpha1", "SurgeOverride"),
    "deployments": ("apps", "v1", "Deployment"),
    "pods": ("", "v1", "Pod"),
    "events": ("", "v1", "Event"),
    "configmaps": ("", "v1", "ConfigMap"),
    "leases": ("coordination.k8s.io", "v1", "Lease"),
    "horizontalpodautoscalers": ("autoscaling", "v2", "HorizontalPodAutoscaler"),
    # Nothing here has any, but kopf waits without a word for an API that does not know them.
    "namespaces": ("", "v1", "Namespace"),
    "customresourcedefinitions": ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
}
_TOKEN = "Bearer only-for-"
_WITH_SCALE = ("deployments",)


@dataclass
class Faults:
    """What goes wrong; each is asked for every request."""

    status_of: Callable[[str, str], int] = lambda method, path: 0
    """A status to answer with instead, by method and path; 0 for none."""

    delay_of: Callable[[str, str], float] = lambda method, path: 0.0
    """Seconds before a request is looked at."""

    cut_off: set[str] = field(default_factory=set)
    """Users whose requests hang for ever."""

    watch_error: int = 0
    """The code of an error that new watches get in their stream, and end with; 0 for none."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came, whatever became of it."""

    time: float
    """By ``time.monotonic()``."""

    user: str
    method: str
    path: str


@dataclass
class KubernetesApi:
    """The server; ``running`` gives it a port."""

    definitions: Sequence[Definition]
    store: Store = field(default_factory=Store)
    faults: Faults = field(default_factory=Faults)
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many there were of each method and path."""

    log: list[Request] = field(default_factory=list)
    """Every request that came, in order."""

    port: int = 0
    _watches: set[asyncio.Task[None]] = field(default_factory=set)
    _runner: web.AppRunner | None = None

    @asynccontextmanager
    async def running(self, folder: Path) -> AsyncIterator[Path]:
        """Serve within the block; yield the path of a kubeconfig."""
        await self.start()
        try:
            yield self.write_kubeconfig(folder, "tests")
        finally:
            await self.stop()

    def write_kubeconfig(self, folder: Path, user: str) -> Path:
        """Write how a user gets here."""
        path = folder / f"kubeconfig-{user}"
        path.write_text(yaml.safe_dump(_build_kubeconfig(self.port, user)), encoding="utf-8")
        return path

    async def start(self) -> None:
        """Begin to serve, on the same port as before."""
        application = web.Application(middlewares=[self._guard])
        application.router.add_get("/api", self._core_versions)
        application.router.add_get("/apis", self._groups)
        application.router.add_get("/version", self._version)
        application.router.add_get("/api/v1", self._resources)
        application.router.add_get("/apis/{group}/{version}", self._resources)
        application.router.add_get("/openapi/v3/apis/{group}/{version}", self._openapi)
        for prefix in ("/api/v1", "/apis/{group}/{version}"):
            base = f"{prefix}/namespaces/{NAMESPACE}/{{resource}}"
            application.router.add_get(base, self._list)
            application.router.add_post(base, self._create)
            for route in (f"{base}/{{name}}", f"{base}/{{name}}/{{subresource}}"):
                application.router.add_get(route, self._get)
                application.router.add_put(route, self._put)
                application.router.add_patch(route, self._patch)
            application.router.add_delete(f"{base}/{{name}}", self._delete)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        assert site._server is not None, "it was started"
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]

    async def stop(self) -> None:
        """Vanish: every connection breaks."""
        for task in self._watches:
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def drop_watches(self) -> None:
        """Break every open watch, as a load balancer does."""
        for task in list(self._watches):
            task.cancel()

    # What a test does in place of people and of kubectl.

    async def apply(self, manifest: Mapping[str, Any]) -> Object:
        """Create an object, or replace its spec, as strictly as over HTTP."""
        resource = next(name for name, (_, _, kind) in _TYPES.items() if kind == manifest["kind"])
        body = copy.deepcopy(dict(manifest))
        name = body["metadata"]["name"]
        before = self.store.objects.get((resource, name))
        self._check(resource, body, before)
        if before is None:
            return await self.store.create(resource, self._complete(resource, body))
        merged = {**copy.deepcopy(before), "spec": self._complete(resource, body)["spec"]}
        return await self.store.replace(resource, merged)

    async def scale(self, deployment: str, replicas: int) -> None:
        """Set replicas by somebody else's hand."""
        body = copy.deepcopy(self.store.find("deployments", deployment))
        body["spec"]["replicas"] = replicas
        await self.store.replace("deployments", body)

    # HTTP

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests[request.method, request.path] += 1
        user = request.headers.get("Authorization", "").removeprefix(_TOKEN)
        self.log.append(Request(time.monotonic(), user, request.method, request.path))
        if user in self.faults.cut_off:
            await asyncio.Event().wait()
        await asyncio.sleep(self.faults.delay_of(request.method, request.path))
        status = self.faults.status_of(request.method, request.path)
        try:
            if status:
                raise ApiRefusal(status, "Fault", "a fault of the test's")
            response: web.StreamResponse = await handler(request)
        except ApiRefusal as refusal:
            headers = {"Retry-After": "1"} if refusal.code == 429 else {}
            return _respond(refusal.to_status(), status=refusal.code, headers=headers)
        return response

    async def _version(self, request: web.Request) -> web.Response:
        return _respond({"major": "1", "minor": "36", "gitVersion": "v1.36.0"})

    async def _core_versions(self, request: web.Request) -> web.Response:
        return _respond({"kind": "APIVersions", "versions": ["v1"]})

    async def _groups(self, request: web.Request) -> web.Response:
        groups = {(group, version) for group, version, _ in _TYPES.values() if group}
        return _respond(
            {
                "kind": "APIGroupList",
                "groups": [
                    {
                        "name": group,
                        "versions": [{"groupVersion": f"{group}/{version}", "version": version}],
                        "preferredVersion": {
                            "groupVersion": f"{group}/{version}",
                            "version": version,
                        },
                    }
                    for group, version in sorted(groups)
                ],
            }
        )

    async def _resources(self, request: web.Request) -> web.Response:
        group = request.match_info.get("group", "")
        version = request.match_info.get("version", "v1")
        resources = []
        for plural, (own_group, own_version, kind) in _TYPES.items():
            if (own_group, own_version) != (group, version):
                continue
            names = [plural, f"{plural}/status"]
            names += [f"{plural}/scale"] if plural in _WITH_SCALE else []
            resources += [
                {
                    "name": name,
                    "singularName": kind.lower(),
                    "namespaced": True,
                    "kind": kind,
                    "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
                }
                for name in names
            ]
        group_version = f"{group}/{version}" if group else version
        return _respond(
            {"kind": "APIResourceList", "groupVersion": group_version, "resources": resources}
        )

    async def _openapi(self, request: web.Request) -> web.Response:
        group, version = request.match_info["group"], request.match_info["version"]
        published = publish(self.definitions, group, version)
        if not published["components"]["schemas"]:
            raise not_found(request.path)
        return _respond(published)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        resource = _resource_of(request)
        selector = _parse_selector(request.query.get("labelSelector", ""))
        if request.query.get("watch") == "true":
            return await self._watch(request, resource, selector)
        group, version, kind = _TYPES[resource]
        return _respond(
            {
                "kind": f"{kind}List",
                "apiVersion": f"{group}/{version}" if group else version,
                "metadata": {"resourceVersion": str(self.store.version)},
                "items": self.store.list(resource, selector),
            }
        )

    async def _watch(
        self, request: web.Request, resource: str, selector: Mapping[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        task = asyncio.create_task(self._stream(request, response, resource, selector))
        self._watches.add(task)
        try:
            await task
        except (asyncio.CancelledError, ConnectionError):
            # Broken in the middle, without the last chunk.
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._watches.discard(task)
        return response

    async def _stream(
        self,
        request: web.Request,
        response: web.StreamResponse,
        resource: str,
        selector: Mapping[str, str],
    ) -> None:
        if self.faults.watch_error:
            error = ApiRefusal(self.faults.watch_error, "InternalError", "a fault of the test's")
            await _send(response, {"type": "ERROR", "object": error.to_status()})
            return
        seen = int(request.query.get("resourceVersion") or self.store.version)
        if seen < self.store.oldest:
            gone = ApiRefusal(410, "Expired", "too old resource version")
            await _send(response, {"type": "ERROR", "object": gone.to_status()})
            return
        while True:
            for change in self.store.history:
                if change.version <= seen or change.resource != resource:
                    continue
                if matches(change.body, selector):
                    await _send(response, {"type": change.type, "object": change.body})
            seen = self.store.version
            try:
                async with asyncio.timeout(_BOOKMARK_S):
                    await self.store.wait_beyond(seen)
            except TimeoutError:
                await _send(response, _bookmark(resource, seen))

    async def _create(self, request: web.Request) -> web.Response:
        resource = _resource_of(request)
        body = await request.json()
        self._check(resource, body, None)
        created = await self.store.create(resource, self._complete(resource, body))
        return _respond(created, status=201)

    async def _get(self, request: web.Request) -> web.Response:
        resource, name = _resource_of(request), request.match_info["name"]
        body = self.store.find(resource, name)
        if request.match_info.get("subresource") == "scale":
            return _respond(_scale_of(body))
        return _respond(body)

    async def _put(self, request: web.Request) -> web.Response:
        return await self._change(request, lambda current, given: given)

    async def _patch(self, request: web.Request) -> web.Response:
        if request.content_type == "application/json-patch+json":
            return await self._change(request, _apply_json_patch)
        return await self._change(request, _merge)

    async def _change(
        self, request: web.Request, change: Callable[[Object, Any], Object]
    ) -> web.Response:
        resource, name = _resource_of(request), request.match_info["name"]
        subresource = request.match_info.get("subresource", "")
        before = self.store.find(resource, name)
        given = json.loads(await request.read())
        if subresource == "scale":
            replicas = change(_scale_of(before), given)["spec"]["replicas"]
            after = copy.deepcopy(before)
            after["spec"]["replicas"] = replicas
            return _respond(_scale_of(await self.store.replace(resource, after)))
        wanted = change(copy.deepcopy(before), given)
        after = copy.deepcopy(before)
        if subresource == "status":
            after["status"] = wanted.get("status", {})
        else:
            after = {**wanted, "status": before.get("status", {})}
            if not before.get("status"):
                after.pop("status")
        self._check(resource, after, before)
        after = self._complete(resource, after)
        stored = await self.store.replace(resource, after, touches_spec=subresource != "status")
        return _respond(stored)

    async def _delete(self, request: web.Request) -> web.Response:
        return _respond(await self.store.delete(_resource_of(request), request.match_info["name"]))

    def _definition(self, resource: str) -> Definition | None:
        return next((each for each in self.definitions if each.plural == resource), None)

    def _complete(self, resource: str, body: Object) -> Object:
        definition = self._definition(resource)
        return body if definition is None else definition.complete(body)

    def _check(self, resource: str, body: Object, before: Object | None) -> None:
        definition = self._definition(resource)
        if definition is None:
            return
        problems = definition.find_problems(definition.complete(body), before)
        if problems:
            raise invalid(f"{definition.kind} {body['metadata'].get('name')!r}", problems)


def _respond(
    body: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    # Without a charset, as the API does it.
    return web.Response(
        body=json.dumps(body).encode(),
        status=status,
        headers=headers,
        content_type="application/json",
    )


async def _send(response: web.StreamResponse, event: Mapping[str, Any]) -> None:
    await response.write(json.dumps(event).encode() + b"\n")


def _bookmark(resource: str, version: int) -> dict[str, Any]:
    group, api_version, kind = _TYPES[resource]
    return {
        "type": "BOOKMARK",
        "object": {
            "kind": kind,
            "apiVersion": f"{group}/{api_version}" if group else api_version,
            "metadata": {"resourceVersion": str(version)},
        },
    }


def _resource_of(request: web.Request) -> str:
    resource = request.match_info["resource"]
    group = request.match_info.get("group", "")
    if resource not in _TYPES or _TYPES[resource][0] != group:
        raise ApiRefusal(404, "NotFound", "the server could not find the requested resource")
    return resource


def _parse_selector(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(",") if part)


def _scale_of(body: Object) -> Object:
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": copy.deepcopy(body["metadata"]),
        "spec": {"replicas": body["spec"].get("replicas", 1)},
        "status": {"replicas": body.get("status", {}).get("replicas", 0)},
    }


def _merge(current: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(current) if isinstance(current, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def _apply_json_patch(current: Object, patch: Any) -> Object:
    try:
        patched: Object = jsonpatch.apply_patch(current, patch)
    except jsonpatch.JsonPatchTestFailed as error:
        raise ApiRefusal(422, "Invalid", f"a test of the patch failed: {error}") from error
    return patched


def _build_kubeconfig(port: int, user: str) -> dict[str, Any]:
    context = {"cluster": "tests", "user": "tests", "namespace": NAMESPACE}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tests",
        "clusters": [{"name": "tests", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "tests", "user": {"token": f"only-for-{user}"}}],
        "contexts": [{"name": "tests", "context": context}],
    }
