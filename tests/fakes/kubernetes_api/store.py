"""Objects with their versions, and the history that watches read."""

import asyncio
import copy
import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fakes.kubernetes_api.errors import ApiRefusal, conflict, not_found

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    version: int
    type: str
    resource: str
    body: Object


@dataclass
class Store:
    """All objects of one namespace, by resource (``surgepolicies``) and name."""

    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    version: int = 0
    history: list[Change] = field(default_factory=list)
    oldest: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def find(self, resource: str, name: str) -> Object:
        if (resource, name) not in self.objects:
            raise not_found(f"{resource} {name!r}")
        return self.objects[resource, name]

    def list(self, resource: str, selector: Mapping[str, str]) -> list[Object]:
        return [
            body
            for (kind, _), body in sorted(self.objects.items())
            if kind == resource and matches(body, selector)
        ]

    async def create(self, resource: str, body: Object) -> Object:
        metadata = body.setdefault("metadata", {})
        if "name" not in metadata:
            metadata["name"] = metadata.get("generateName", "") + uuid.uuid4().hex[:8]
        if (resource, metadata["name"]) in self.objects:
            raise ApiRefusal(409, "AlreadyExists", f"{resource} {metadata['name']!r} exists")
        metadata |= {
            "uid": str(uuid.uuid4()),
            "generation": 1,
            "creationTimestamp": _now(),
            "namespace": "default",
        }
        return await self._put(resource, "ADDED", body)

    async def replace(self, resource: str, body: Object, *, touches_spec: bool = True) -> Object:
        """Store the next version of an object; one that was read before it changed is refused."""
        name = body["metadata"]["name"]
        before = self.find(resource, name)
        given = body["metadata"].get("resourceVersion")
        if given and given != before["metadata"]["resourceVersion"]:
            raise conflict(f"{resource} {name!r}")
        kept = ("uid", "creationTimestamp", "namespace", "generation")
        body["metadata"] |= {key: before["metadata"][key] for key in kept}
        if touches_spec and body.get("spec") != before.get("spec"):
            body["metadata"]["generation"] += 1
        if _without_version(body) == _without_version(before):
            return before
        return await self._put(resource, "MODIFIED", body)

    async def delete(self, resource: str, name: str) -> Object:
        body = self.find(resource, name)
        del self.objects[resource, name]
        await self._note("DELETED", resource, body)
        return body

    async def tell_late(self, type_: str, resource: str, body: Object) -> None:
        """Have watches tell what is true no longer."""
        self.version += 1
        self.history.append(Change(self.version, type_, resource, copy.deepcopy(body)))
        async with self.changed:
            self.changed.notify_all()

    async def wait_beyond(self, version: int) -> int:
        """Return the version once it is above that one."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.version > version)
        return self.version

    async def compact(self) -> None:
        """Forget the history: watches that begin before now get 410."""
        self.history.clear()
        self.oldest = self.version

    async def _put(self, resource: str, type_: str, body: Object) -> Object:
        self.objects[resource, body["metadata"]["name"]] = body
        return await self._note(type_, resource, body)

    async def _note(self, type_: str, resource: str, body: Object) -> Object:
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        self.history.append(Change(self.version, type_, resource, copy.deepcopy(body)))
        async with self.changed:
            self.changed.notify_all()
        return body


def matches(body: Object, selector: Mapping[str, str]) -> bool:
    labels = body["metadata"].get("labels", {})
    return all(labels.get(key) == value for key, value in selector.items())


def _without_version(body: Object) -> Object:
    metadata = {key: value for key, value in body["metadata"].items() if key != "resourceVersion"}
    return {**body, "metadata": metadata}


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
